"""NIfTI folders of any layout: where images and labels lie, and which label numbers mean what.

    images: "imagesTr/*.nii.gz"          labels: "labelsTr/{name}.nii.gz"      MSD, AMOS, nnU-Net
    images: "img/img*.nii.gz"            labels: "label/label{name}.nii.gz"    BTCV
    images: "*/ct.nii.gz"                labels: {liver: "{name}/segmentations/liver.nii.gz"}    TotalSegmentator

``{name}`` is what the wildcards of ``images`` stand for; it is the patient's name, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import LABEL_OF
from taskct_core.volumes.grid_override import NO_OVERRIDES, GridOverrides
from taskct_core.volumes.nifti import is_nifti_name
from taskct_core.volumes.nifti_reference import Classes, NiftiReference, nifti_reference

Labels = str | Mapping[str, str]  # a template, or one for each structure
_WILDCARD = re.compile(r"[*?\[]")


def nifti_patients(
    folder: Path,
    images: str,
    labels: Labels | None,
    overrides: GridOverrides = NO_OVERRIDES,
    *,
    classes: Classes | None = None,
    unlabelled: bool = False,
) -> list[NiftiReference]:
    """Find the images that a pattern names, and the labels of each.

    Args:
        images: pattern of files below the folder, such as "imagesTr/*.nii.gz".
        labels: where an image's labels are: a template with ``{name}``, or one for "liver" and one for "tumour";
            None: nowhere.
        classes: numbers in the label files -> "liver" or "tumour"; see ``NiftiReference``.
        unlabelled: take images whose labels are missing, too.

    Raises:
        ConfigError: if the pattern has no wildcard or a template no ``{name}``.
        DataError: if nothing is found, labels are missing, or headers are unreadable or disagree.
    """
    templates = _templates(labels)
    found = _named(folder, images)
    overrides.check_used(list(found))
    _refuse_template_without_file(folder, list(found), templates)
    return [
        _patient(folder, name, file, templates, classes, unlabelled, overrides)
        for name, file in found.items()
    ]


def _templates(labels: Labels | None) -> dict[str, str]:
    templates = {} if labels is None else {"": labels} if isinstance(labels, str) else dict(labels)
    for structure, template in templates.items():
        if structure not in ("", *LABEL_OF) or "{name}" not in template:
            raise ConfigError(
                'source.labels must be a path with {name}, or such paths for "liver" and "tumour"',
                f"{structure}: {template}" if structure else template,
                'Example: labels: "labelsTr/{name}.nii.gz".',
            )
    return templates


def _refuse_template_without_file(folder: Path, names: list[str], templates: Mapping[str, str]) -> None:
    """A patient may lack a tumour file, but all of them only by a typing error."""
    template = templates.get("tumour")
    if template and not any((folder / template.replace("{name}", name)).is_file() for name in names):
        raise DataError(
            "source.labels must name files that some patient has",
            f"tumour: {folder / template}, which no patient has",
            "Correct the path, or leave tumour out of source.labels.",
        )


def _named(folder: Path, images: str) -> dict[str, Path]:
    """Name -> file of the images, by name."""
    wildcards = list(_WILDCARD.finditer(images))
    if not wildcards or Path(images).is_absolute() or ".." in Path(images).parts:
        raise ConfigError(
            "source.images must be a pattern below source.path with a wildcard for the patient",
            images,
            'Example: images: "imagesTr/*.nii.gz".',
        )
    before = images[: wildcards[0].start()].replace("\\", "/")
    after = re.split(r"[*?\]]", images)[-1]
    files = [file for file in sorted(folder.glob(images)) if file.is_file() and not file.name.startswith(".")]
    found: dict[str, Path] = {}
    for file in filter(is_nifti_name, files):
        path = file.relative_to(folder).as_posix()
        found[path[len(before) : len(path) - len(after)]] = file
    if not found:
        raise DataError(
            "source.images must name NIfTI files (.nii or .nii.gz)",
            f"{folder / images}: {len(files)} files, none of them NIfTI"
            if files
            else f"{folder / images}: none",
            "Check source.path and the pattern.",
        )
    return found


def _patient(
    folder: Path,
    name: str,
    image: Path,
    templates: Mapping[str, str],
    classes: Classes | None,
    unlabelled: bool,
    overrides: GridOverrides,
) -> NiftiReference:
    paths = {
        structure: folder / template.replace("{name}", name) for structure, template in templates.items()
    }
    missing = [path for structure, path in paths.items() if not path.is_file() and structure != "tumour"]
    if missing and not unlabelled:
        raise DataError(
            "each image must have its labels",
            f"{image} without {missing[0]}",
            "Add them, correct source.labels, or take images without labels with source.unlabelled: true.",
        )
    there = {} if missing else {structure: path for structure, path in paths.items() if path.is_file()}
    single = there.pop("", None)
    return nifti_reference(name, image, single, there, classes, overrides.of(name))
