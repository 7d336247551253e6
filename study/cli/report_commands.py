"""Commands that score and show what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import TrustOption, say_loading
from study.cli.study_commands import StudyFolder
from taskct_core.contracts import folders
from taskct_core.contracts.files import check_file_writable, check_writable, is_remote, open_folder

DataOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        parser=open_folder,
        help="Dataset folder to score on, a path or URL. Default: the study's own.",
    ),
]
ScoredOption = Annotated[
    list[int] | None, typer.Option(help="Trial to score; may be repeated. Default: the front.")
]
SplitOption = Annotated[str, typer.Option(help="Split of the dataset: train, validation or test.")]
AuditOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        parser=open_folder,
        help="Folder of a second task network, which took no part in training, to judge as well.",
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A reconstructor trained elsewhere, to be scored as well: its weights, .safetensors or a "
        "state_dict that torch.save wrote. Needs --architecture.",
    ),
]
ArchitectureOption = Annotated[
    str | None,
    typer.Option(help="That reconstructor's architecture: a built-in one, or package.module:Name."),
]
ParametersOption = Annotated[str, typer.Option(metavar="YAML", help="Its parameters, e.g. '{width: 16}'.")]
BackgroundsOption = Annotated[
    int,
    typer.Option(
        help="Measure image quality, too: places in livers that lesions are inserted in before the scan, such as 40."
    ),
]
DiameterOption = Annotated[float, typer.Option(help="Diameter of those lesions in mm.")]
ContrastOption = Annotated[float, typer.Option(help="Their contrast in HU.")]


def evaluate(
    folder: StudyFolder,
    data: DataOption = None,
    trial: ScoredOption = None,
    split: SplitOption = "test",
    audit: AuditOption = None,
    checkpoint: CheckpointOption = None,
    architecture: ArchitectureOption = None,
    architecture_parameters: ParametersOption = "{}",
    backgrounds: BackgroundsOption = 0,
    lesion_mm: DiameterOption = 10.0,
    lesion_hu: ContrastOption = -30.0,
    trust: TrustOption = False,
) -> None:
    """Score trained trials, and the full-dose and FBP references, on any dataset: another dose, other patients.

    Nothing is trained. The scores are printed and appended to evaluations.parquet in the study's folder, with
    the dataset's hash and dose in every row, so that results on different data never mix silently.
    """
    say_loading()
    from study.cli import study_actions

    outside = None if checkpoint is None else (checkpoint, architecture, architecture_parameters)
    study = study_actions.find_study(folder)
    check_writable(study)
    lesions = {"backgrounds": backgrounds, "lesion_diameter_mm": lesion_mm, "lesion_contrast_hu": lesion_hu}
    study_actions.evaluate_trials(study, data, trial, split, audit, outside, trust, lesions)


def report(
    folder: StudyFolder,
    out: Annotated[Path | None, typer.Option(help="HTML file to write. Default: report.html in DIR.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it again whenever the results change.")
    ] = False,
    whereabouts: Annotated[
        bool, typer.Option("--whereabouts", help="Tell hosts, users and absolute paths in it, too.")
    ] = False,
) -> None:
    """Write one self-contained HTML: Pareto fronts, alpha curves, trials, and images with predicted masks.

    It opens without a network, and works on a study that is still running.
    """
    say_loading()
    from study.cli import study_actions

    study = study_actions.find_study(folder)
    check_file_writable(study / folders.StudyFolder.report if out is None else open_folder(out))
    if watch:
        study_actions.watch_study_report(study, out, whereabouts)
    else:
        study_actions.write_study_report(study, out, whereabouts)


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", parser=open_folder, help="Two or more studies' folders."),
    ],
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("comparison.html"),
    side_by_side: Annotated[
        bool,
        typer.Option(
            "--side-by-side", help="Compare across doses or data, each study in a chart of its own."
        ),
    ] = False,
) -> None:
    """Write one HTML page on several studies: two task networks, two search spaces, two doses.

    Studies on different data, dose or metric policy are refused, naming the difference, unless they are asked
    for side by side.
    """
    say_loading()
    from study.cli import study_actions

    check_file_writable(open_folder(out))
    study_actions.write_study_comparison(
        [study_actions.find_study(folder) for folder in folders], out, side_by_side
    )


def export(
    folder: StudyFolder,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write into. Default: export, beside the study's.")
    ] = None,
    figures: Annotated[
        list[str] | None,
        typer.Option(
            help="Figure format: png, svg, pdf or html; may be repeated. Default: svg where it can be written, else html."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            help="Write the network of a front trial at this alpha as plain weights, and nothing else."
        ),
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option(help="Trial that --alpha means. Default: the front trial of the largest hypervolume."),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Write a study's figures, its tables (CSV, LaTeX, Markdown) and its front as YAML files ready to run.

    With --alpha: reconstructor.safetensors and reconstructor.json, the network that a trial of mode front has there.

    png, svg and pdf need kaleido (`pip install taskct[export]`) and an installed Chromium or Chrome.
    """
    say_loading()
    from study.cli import study_actions

    study = study_actions.find_study(folder)
    if out is None:
        out = Path("export") if is_remote(study) else study.parent / "export"
    check_writable(out.absolute())
    if alpha is not None:
        study_actions.export_trained_network(study, out, alpha, trial, trust)
        return
    study_actions.export_study(study, out, figures)
