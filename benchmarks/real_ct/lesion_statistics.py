"""Are synthetic lesions like real tumours? Size, contrast and texture of both, in one patient's slices.

    python benchmarks/real_ct/lesion_statistics.py runs/real_ct/ct                 # real tumours of volume-1
    python benchmarks/real_ct/lesion_statistics.py runs/real_ct/ct --json FILE

Of every 2-D component of tumour, as a slice shows it: ``diameter_mm`` of the disc of its area; ``contrast_hu``, its median
less that of the liver around it; ``grain_ratio``, the spread of HU within 1.5 mm of smoothing inside over that of the
liver; ``rim_mm``, over which HU rise from a quarter to three quarters of the contrast. Medians, and the quarters around
them. Synthetic ones lie in the same liver, whose real tumours are filled with its median first, and in that of the
healthy volume-3.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import numpy as np
from bench_record import write_result
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_dilation,
    binary_erosion,
    distance_transform_edt,
    find_objects,
    gaussian_filter,
    label,
)

from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes import list_patients
from taskct_core.volumes.lesioned import insert_lesions
from taskct_core.volumes.sources import read_volume
from taskct_core.volumes.volume import Volume

SMALLEST_MM2 = 30.0
AROUND_MM = 12.0
RIM_MM = 6.0  # either side of the border, where the rim is looked for
SMOOTHING_MM = 1.5
DRAWS = 8
MEASURES = ("diameter_mm", "contrast_hu", "grain_ratio", "rim_mm")


def measure(hu: NDArray[Any], labels: NDArray[np.uint8], spacing_mm: float) -> list[dict[str, float]]:
    """One row a tumour component of a slice."""
    smooth = gaussian_filter(hu.astype(np.float32), SMOOTHING_MM / spacing_mm)
    lesions, _ = label(labels == TUMOUR)
    rows = []
    for number, box in enumerate(find_objects(lesions), start=1):
        near = _widened(box, round((AROUND_MM + RIM_MM) / spacing_mm))  # all else is too far away to matter
        row = _measure_one(hu[near], smooth[near], labels[near], lesions[near] == number, spacing_mm)
        rows += [row] if row else []
    return rows


def _widened(box: tuple[slice, ...], pixels: int) -> tuple[slice, ...]:
    return tuple(slice(max(span.start - pixels, 0), span.stop + pixels) for span in box)


def _measure_one(
    hu: NDArray[Any],
    smooth: NDArray[Any],
    labels: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    spacing_mm: float,
) -> dict[str, float] | None:
    """Measures of one component; None where it is too small, or has too little liver around it, to be measured."""
    area_mm2 = float(inside.sum()) * spacing_mm**2
    around = binary_dilation(inside, iterations=round(AROUND_MM / spacing_mm)) & (labels == LIVER)
    core = binary_erosion(inside, iterations=max(1, round(2 / spacing_mm)))
    if area_mm2 < SMALLEST_MM2 or around.sum() < 20 or core.sum() < 10:
        return None
    contrast = float(np.median(hu[core]) - np.median(hu[around]))
    return {
        "diameter_mm": float(2 * np.sqrt(area_mm2 / np.pi)),
        "contrast_hu": contrast,
        "grain_ratio": float(smooth[core].std() / smooth[around].std()),
        "rim_mm": _rim(smooth, inside, around, contrast, spacing_mm),
    }


def _rim(
    smooth: NDArray[Any], inside: NDArray[Any], around: NDArray[Any], contrast: float, spacing_mm: float
) -> float:
    """Millimetres over which the mean HU go from 25 % to 75 % of the contrast, from inside to outside."""
    depth = (distance_transform_edt(inside) - distance_transform_edt(~inside)) * spacing_mm
    liver = float(np.median(smooth[around]))
    places = np.arange(-RIM_MM, RIM_MM + 0.01, 0.5)
    near = inside | around
    if contrast == 0:
        return float("nan")
    shares = [
        float((smooth[near & (np.abs(depth - place) <= 0.5)].mean() - liver) / contrast)
        if (near & (np.abs(depth - place) <= 0.5)).any()
        else np.nan
        for place in places
    ]
    high = [place for place, share in zip(places, shares, strict=True) if share >= 0.75]
    low = [place for place, share in zip(places, shares, strict=True) if share <= 0.25]
    return float(min(high) - max(low)) if high and low and min(high) > max(low) else float("nan")


def of_volume(volume: Volume) -> list[dict[str, float]]:
    """Rows of a volume's own tumours."""
    spacing = float(volume.spacing_mm[1])
    slices = np.flatnonzero((volume.labels == TUMOUR).any((1, 2)))
    return [row for z in slices for row in measure(volume.hu[z], volume.labels[z], spacing)]


def synthetic(volume: Volume) -> list[dict[str, float]]:
    """Rows of synthetic lesions in every fourth slice of the volume's liver, its real tumours filled first."""
    spacing = float(volume.spacing_mm[1])
    rows = []
    for z in np.flatnonzero((volume.labels == LIVER).any((1, 2)))[::4]:
        hu, labels = volume.hu[z].copy(), volume.labels[z].copy()
        hu[labels == TUMOUR] = np.median(hu[labels == LIVER])
        labels[labels == TUMOUR] = 0  # so that none is put where the filled ones are without grain
        for draw in range(DRAWS):
            rng = np.random.default_rng([int(z), draw])
            slab_mm = (3.0, spacing, spacing)
            changed = insert_lesions(hu[None], labels[None], slab_mm, rng, count=2, large_first=False)
            rows += measure(changed[0][0], changed[1][0], spacing)
    return rows


def quarters(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Count, and the quartiles of each measure."""
    found: dict[str, Any] = {"components": len(rows)}
    for name in MEASURES:
        values = [row[name] for row in rows if np.isfinite(row[name])]
        found[name] = [round(float(q), 2) for q in np.percentile(values, [25, 50, 75])] if values else []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    patients = {
        reference.patient: reference
        for reference in list_patients(kind="lits", path=str(options.folder), orientation="LPS")
    }
    ill, healthy = (read_volume(patients[name]) for name in ("volume-1", "volume-3"))
    result = {
        "real": quarters(of_volume(ill)),
        "synthetic_in_the_same_liver": quarters(synthetic(ill)),
        "synthetic_in_volume_3": quarters(synthetic(healthy)),
    }
    for name, values in result.items():
        print(name, values)
    if options.json:
        write_result(options.json, result)


if __name__ == "__main__":
    main()
