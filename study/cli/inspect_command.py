"""``taskct inspect``: looks at every patient before anything is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.options import SetOption, say_loading

if TYPE_CHECKING:
    from study.config import SourceConfig
    from study.inspection import PatientLook

_FOUND_PROBLEMS = 1


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder of CT volumes, or an experiment's YAML file.")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path(
        "inspection.html"
    ),
    processes: Annotated[
        int | None, typer.Option(min=1, help="Patients looked at at a time; one a processor if not given.")
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Look at every patient of a folder: a page with a picture of each, its figures and what is wrong.

    For each patient: shape, spacing, orientation, where air, fat, soft tissue and bone lie in HU, volume and HU of
    liver and tumours, warnings, and the masks outlined. The same checks run in `simulate`.

    The layout is found by itself (LiTS, DICOM, imagesTr/labelsTr); `--set` names it, with the keys of `data.source`:
    `--set kind=nifti --set 'images=*/ct.nii.gz' --set 'classes={5: liver}'`. Exits with 1 if a patient is refused.
    """
    say_loading()
    from study.inspection import inspect_source, write_page
    from study.inspection.layout import source_of
    from study.monitor.progress import console, progress
    from taskct_core.contracts.files import check_writable
    from taskct_core.volumes import list_patients

    check_writable(output.absolute().parent)
    source = source_of(path, overrides or [])
    references = list_patients(**source.keywords())
    with progress("Looking at patients", len(references)) as advance:
        looks = inspect_source(references, lambda look: advance(1, look.patient), processes)
    for look in looks:
        console.print(_line(look), markup=False)
        for finding in look.findings:
            if finding.severity != "note":
                console.print(f"  {finding.severity}: {finding.found}", style="yellow", markup=False)
    write_page(output, _title(path, source), looks)
    console.print(f"Page: {output}")
    if any(look.verdict == "refused" for look in looks):
        raise typer.Exit(_FOUND_PROBLEMS)


def _title(path: Path, source: SourceConfig) -> str:
    return f"{path.absolute().name} ({source.kind})"


def _line(look: PatientLook) -> str:
    if not look.shape:
        return f"{look.patient}: not read"
    size = " x ".join(map(str, look.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in look.spacing_mm)
    parts = [f"{look.patient}: {size} voxels of {spacing} mm, stored {look.stored_axes or '-'}"]
    for name, structure in (("liver", look.liver), ("tumours", look.tumour)):
        if structure is not None:
            parts.append(f"{name} {structure.millilitres:.4g} ml at {structure.hu[1]:.0f} HU")
    return ", ".join([*parts, "" if look.labelled else "not labelled"]).rstrip(", ")
