"""A reader of one's own data: `--set data.source.kind=own_source:boxes --set data.source.path=/folder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taskct_core.volumes import Volume, VolumeReference


@dataclass(frozen=True, kw_only=True)
class ArrayReference(VolumeReference):
    """One patient: an .npz of `hu` and `labels`, (slice, row, column), and `spacing_mm` of the same axes."""

    file: Path

    def read(self) -> Volume:
        with np.load(self.file, allow_pickle=False) as arrays:
            return Volume(
                patient=self.patient,
                hu=arrays["hu"].astype(np.int16),  # Hounsfield units
                labels=arrays["labels"].astype(np.uint8),  # 0 background, 1 liver, 2 tumour
                spacing_mm=tuple(map(float, arrays["spacing_mm"])),
            )


def boxes(path: str, pattern: str = "*.npz") -> list[ArrayReference]:
    """Called with `source.path` and `source.parameters`; reads no voxel."""
    references = []
    for file in sorted(Path(path).glob(pattern)):
        with np.load(file, allow_pickle=False) as arrays:
            references.append(ArrayReference(patient=file.stem, num_slices=len(arrays["labels"]), file=file))
    return references
