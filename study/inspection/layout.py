"""Which source a path is: an experiment's, or a folder whose layout is found by what lies in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.config import SourceConfig, apply_override, load_experiment
from taskct_core.errors import ConfigError
from taskct_core.volumes.lits import FILE_NAME
from taskct_core.volumes.nifti import is_nifti_name


def source_of(path: Path, overrides: list[str]) -> SourceConfig:
    """The source that a path is, with ``KEY=VALUE`` overrides of its keys.

    Args:
        path: an experiment's YAML file, or a folder of volumes.
        overrides: of ``data.source``, such as ``classes={1: liver}``.

    Raises:
        ConfigError: if a value is not valid, or nothing tells what the folder holds.
    """
    if path.suffix in (".yaml", ".yml"):
        prefixed = [f"data.source.{override}" for override in overrides]
        return load_experiment(path, prefixed).data.source
    values: dict[str, Any] = {}
    for override in overrides:
        apply_override(values, override)
    found = {} if "kind" in values or not path.is_dir() else _layout(path)
    return SourceConfig.parse({"kind": "lits", "unlabelled": True, **found, "path": str(path), **values})


def _layout(folder: Path) -> dict[str, Any]:
    """The keys of the source that a folder looks like."""
    names = [file.name for file in sorted(folder.rglob("*.nii*"))]
    if any(FILE_NAME.fullmatch(name) for name in names):
        return {"kind": "lits"}
    if (folder / "imagesTr").is_dir():
        ending = ".nii" if any((folder / "imagesTr").glob("*.nii")) else ".nii.gz"
        labels = {"labels": f"labelsTr/{{name}}{ending}"} if (folder / "labelsTr").is_dir() else {}
        return {"kind": "nifti", "images": f"imagesTr/*{ending}", **labels}
    direct = [file for file in sorted(folder.iterdir()) if file.is_file() and is_nifti_name(file)]
    if direct:
        ending = ".nii.gz" if direct[0].name.endswith(".nii.gz") else ".nii"
        return {"kind": "nifti", "images": f"*{ending}"}
    if names and not any(name in ("labels.nii", "labels.nii.gz") for name in names):
        raise ConfigError(
            "the layout of a folder of NIfTI files must be named unless it is LiTS's or imagesTr/labelsTr",
            f"{folder}: {len(names)} NIfTI files, such as {names[0]}",
            "Example: --set kind=nifti --set 'images=*/ct.nii.gz' --set 'labels={name}/seg.nii.gz'.",
        )
    return {"kind": "dicom"}
