"""``taskct reconstruct`` and ``taskct export-model``: a network of a study, used outside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import TrustOption, say_loading
from taskct_core.contracts.files import open_folder

StudyArgument = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        parser=open_folder,
        help="The study's folder, OUTPUT/NAME/study (or OUTPUT/NAME); a path or URL.",
    ),
]
TrialOption = Annotated[
    int | None, typer.Option(help="Use this trial. Default: the one that is recommended.")
]
AlphaOption = Annotated[float | None, typer.Option(help="Use the trial whose alpha is nearest.")]
BestOption = Annotated[
    str | None,
    typer.Option(metavar="METRIC", help="Use the trial that is best in a metric, e.g. psnr_lodopab."),
]


def reconstruct(
    folder: StudyArgument,
    scan: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A low-dose CT: a NIfTI file, a folder of one DICOM series, or sinograms as .npy "
            "(slice, angle, detector; line integrals / mu_max).",
        ),
    ],
    output: Annotated[
        Path,
        typer.Argument(metavar="OUTPUT", help="A .nii or .nii.gz file, else a folder for a DICOM series."),
    ],
    trial: TrialOption = None,
    alpha: AlphaOption = None,
    best: BestOption = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write what the task network finds, too: .nii.gz; 1 liver, 2 tumour."
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: a GPU if there is one.")] = None,
    trust: TrustOption = False,
) -> None:
    """Reconstruct a low-dose scan with a network that a study has trained: images in HU, on the scan's own grid.

    A scan that is unlike the training data (pixel size, noise, body) is told with both numbers; one that is not in
    HU is refused. Research only: not for diagnosis.
    """
    say_loading()
    from study.cli.study_actions import apply_network

    apply_network(folder, scan, output, (trial, alpha, best), masks, device, trust)


def export_model(
    folder: StudyArgument,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write into; made if needed.")],
    trial: TrialOption = None,
    alpha: AlphaOption = None,
    best: BestOption = None,
    trust: TrustOption = False,
) -> None:
    """Write a reconstructor for use elsewhere: safetensors with a card, ONNX where it can be, a MONAI bundle.

    ONNX needs `pip install taskct[onnx]`.
    """
    say_loading()
    from study.cli.study_actions import write_model

    write_model(folder, output, (trial, alpha, best), trust)
