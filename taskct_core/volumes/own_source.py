"""A user's own source of volumes, named in the configuration as ``package.module:Name``.

    def my_patients(path, **parameters):       # or a class's name; called with source.path and source.parameters
        return [MyReference(patient="a", num_slices=80, file=...), ...]

    @dataclass(frozen=True, kw_only=True)
    class MyReference(VolumeReference):
        file: Path

        def read(self) -> Volume: ...          # in the axes and units that Volume states

It gets the same look as every other source: what it reads is checked when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from taskct_core.errors import ConfigError, DataError, TaskctError
from taskct_core.registry import load
from taskct_core.volumes.volume import Volume, VolumeReference


def own_patients(name: str, path: str | Path | None, parameters: Mapping[str, Any]) -> list[VolumeReference]:
    """Call a user's source.

    Raises:
        ConfigError: if it cannot be imported or called so, or gives anything but references.
    """
    source = load(name, {}, "source")
    try:
        references = list(source(path, **parameters))
    except TaskctError:
        raise
    except Exception as error:  # a user's function may raise anything
        raise ConfigError(
            "a source of your own is called with source.path and source.parameters, and lists its patients",
            f"{name}({path!r}, {', '.join(parameters)}): {type(error).__name__}: {error}",
            "See docs/volumes.md.",
        ) from error
    wrong = [reference for reference in references if not isinstance(reference, VolumeReference)]
    if wrong or not references:
        raise ConfigError(
            "a source of your own lists VolumeReference objects, one a patient",
            f"{name} gave {type(wrong[0]).__name__}" if wrong else f"{name} gave none",
            "Derive the references from taskct_core.volumes.VolumeReference.",
        )
    return references


def check_contract(volume: Volume) -> None:
    """Refuse a volume whose arrays are not what ``Volume`` states, whoever read it.

    Raises:
        DataError: naming the array.
    """
    hu, labels = volume.hu, volume.labels
    if hu.ndim != 3 or not hu.size or hu.dtype not in (np.int16, np.float32) or not np.isfinite(hu).all():
        problem = f"hu {hu.dtype} {hu.shape}"
    elif labels.shape != hu.shape or labels.dtype != np.uint8 or labels.max(initial=0) > 2:
        problem = f"labels {labels.dtype} {labels.shape}, up to {labels.max(initial=0)}; hu {hu.shape}"
    elif len(volume.spacing_mm) != 3 or not all(np.isfinite(s) and s > 0 for s in volume.spacing_mm):
        problem = f"spacing_mm {volume.spacing_mm}"
    else:
        return
    raise DataError(
        "a volume has finite int16 or float32 HU and uint8 labels 0 to 2 of one 3-D shape, and three spacings above 0",
        f"{volume.patient}: {problem}",
        "Correct its reader.",
    )
