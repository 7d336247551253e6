"""Surface Dice, HD95, lesion-wise F1 and volume error against MONAI, closed forms and cases counted by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray

from taskct_core.metrics import summarise
from taskct_core.metrics.segmentation import segmentation_counts
from taskct_core.metrics.surface import surface_distances
from taskct_core.schema import PATIENT, SLICE_INDEX, SURFACE_TOLERANCE_MM

Mask = NDArray[np.bool_]
SPACINGS = {"slice": (0.8, 0.8), "anisotropic slice": (0.7, 1.9), "volume": (5.0, 0.8, 0.8)}


def blob(shape: tuple[int, ...], seed: int) -> Mask:
    """A ragged ellipsoid, so that distances of many sizes occur; it touches an edge of the array for some seeds."""
    random = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    centre, radii = random.uniform(-0.3, 0.3, len(shape)), random.uniform(0.4, 0.7, len(shape))
    distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True))
    mask: Mask = distance + random.normal(0, 0.15, shape) < 1
    return mask


def monai(function: Any, true: Mask, predicted: Mask, **options: Any) -> float:
    found, truth = (torch.from_numpy(mask)[None, None].float() for mask in (predicted, true))
    return float(function(found, truth, include_background=True, **options))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", SPACINGS)
def test_agrees_with_monai(kind: str, seed: int) -> None:
    spacing = SPACINGS[kind]
    shape = (7, 24, 30) if len(spacing) == 3 else (40, 48)
    true, predicted = blob(shape, seed), blob(shape, seed + 10)
    found = surface_distances(true, predicted, spacing)
    for tolerance in (1.0, 3.0):
        expected = monai(compute_surface_dice, true, predicted, class_thresholds=[tolerance], spacing=spacing)
        assert found.dice(tolerance) == pytest.approx(expected, rel=0.01)
    for percent in (95, 100):
        expected = monai(compute_hausdorff_distance, true, predicted, percentile=percent, spacing=spacing)
        assert found.hausdorff(percent) == pytest.approx(expected, rel=0.01)


def test_concentric_balls_lie_as_far_apart_as_their_radii_differ() -> None:
    """Of an anisotropic volume; a voxel's centre is at most half a voxel off the surface."""
    spacing = (2.0, 1.0, 1.0)
    z, y, x = np.meshgrid(*(np.arange(-half, half + 1) for half in (20, 40, 40)), indexing="ij")
    radius = np.sqrt((2 * z) ** 2 + y**2 + x**2)
    found = surface_distances(radius <= 30, radius <= 22, spacing)
    assert found.hausdorff() == pytest.approx(8, abs=1)
    assert found.dice(9.5) == 1 and found.dice(6.0) == 0


def test_empty_masks() -> None:
    full, empty = blob((12, 12), 0), np.zeros((12, 12), dtype=bool)
    both = surface_distances(empty, empty, 1.0)
    assert math.isnan(both.dice(3.0)) and math.isnan(both.hausdorff(absent=17.0))
    for true, predicted in ((full, empty), (empty, full)):
        one = surface_distances(true, predicted, 1.0)
        assert one.dice(3.0) == 0 and one.hausdorff(absent=17.0) == 17.0


def rows_of(predicted: torch.Tensor, labels: torch.Tensor, patients: list[str]) -> list[dict[str, Any]]:
    counts = segmentation_counts(predicted, labels, knows_tumour=True, pixel_spacing_mm=[2.0] * len(labels))
    return [
        {PATIENT: name, SLICE_INDEX: index, **{column: values[index] for column, values in counts.items()}}
        for index, name in enumerate(patients)
    ]


def squares() -> tuple[torch.Tensor, torch.Tensor]:
    """Patient a: the liver is 4 x 4 and found 4 x 2 of it; patient b: nothing there, one false pixel of tumour."""
    labels, predicted = torch.zeros(3, 10, 10, dtype=torch.long), torch.zeros(3, 10, 10, dtype=torch.long)
    labels[0, 2:6, 2:6] = 1
    predicted[0, 2:6, 2:4] = 1
    labels[1, 4, 4] = predicted[1, 4, 4] = 2
    predicted[2, 0, 0] = 2
    return predicted, labels


def test_scores_of_patients_by_hand() -> None:
    predicted, labels = squares()
    summary = summarise(rows_of(predicted, labels, ["a", "a", "b"]))
    # Slice 0: 12 boundary pixels of the truth, of which the column at 5 lies 4 mm off and that at 4 lies 2 mm; all 8 of
    # the prediction lie within 3 mm. Slice 1: 1 and 1. Patient b: one false pixel.
    assert SURFACE_TOLERANCE_MM == 3
    assert summary["surface_dice_liver"] == pytest.approx(((12 - 4 + 8 + 2) / (12 + 8 + 2) + 0) / 2)
    assert summary["surface_dice_tumour"] == pytest.approx((1 + 0) / 2)
    diagonal = 2 * math.hypot(10, 10)
    assert summary["hd95_tumour"] == pytest.approx((0 + diagonal) / 2)
    assert summary["hd95_liver"] == pytest.approx((4 + 0 + diagonal) / 3)
    assert summary["volume_error_liver"] == pytest.approx(100 * 8 / 17)  # b has no liver
    assert summary["volume_error_tumour"] == pytest.approx(0)
    assert summary["tumour_f1"] == pytest.approx(2 * 1 / (2 * 1 + 0 + 1))


def test_without_tumours_anywhere_they_have_no_score() -> None:
    labels = torch.ones(2, 10, 10, dtype=torch.long)
    summary = summarise(rows_of(labels, labels, ["a", "b"]))
    assert summary["surface_dice_liver"] == 1 and summary["hd95_liver"] == 0
    for name in ("surface_dice_tumour", "hd95_tumour", "volume_error_tumour", "tumour_f1"):
        assert math.isnan(summary[name])


def test_a_network_that_knows_no_tumour_has_no_score_of_them() -> None:
    predicted, labels = squares()
    counts = segmentation_counts(predicted, labels, knows_tumour=False, pixel_spacing_mm=[1.0] * 3)
    assert np.isnan(counts["hd95_tumour"]).all() and np.isnan(counts["tumour_surface_pixels"]).all()
    assert not np.isnan(counts["hd95_liver"][0])
