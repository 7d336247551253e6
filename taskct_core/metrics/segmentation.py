"""Counts of one predicted mask against the truth, from which every score of segmentation and detection follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from taskct_core.metrics.surface import surface_distances
from taskct_core.schema import COMPONENT_COUNTS, LIVER, SURFACE_TOLERANCE_MM, TUMOUR

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


def segmentation_counts(
    predicted: torch.Tensor,
    labels: torch.Tensor,
    *,
    knows_tumour: bool,
    pixel_spacing_mm: Sequence[float] | None = None,
) -> dict[str, list[Any]]:
    """Pixel, component and boundary counts of every slice, and its HD95.

    Args:
        predicted: ``(B, H, W)`` predicted labels.
        labels: ``(B, H, W)`` true labels.
        knows_tumour: whether the network predicts tumours at all. The tumour columns of one that does not
            are NaN, not zero: it has no opinion to be scored.
        pixel_spacing_mm: of each slice; without it there is nothing in mm.

    Returns:
        Column of ``schema.COUNTS``, ``schema.COMPONENT_COUNTS`` or, with spacing, ``schema.SURFACE_COUNTS`` and
        ``hd95_<structure>`` -> one value a slice.
    """
    masks = {
        "liver": (labels >= LIVER, predicted >= LIVER),
        "tumour": (labels == TUMOUR, predicted == TUMOUR),
    }
    columns: dict[str, list[Any]] = {}
    for structure, (true, found) in masks.items():
        parts = {"true": true, "predicted": found, "overlap": true & found}
        for part, mask in parts.items():
            columns[f"{structure}_{part}_pixels"] = mask.sum((1, 2)).tolist()
    arrays = {name: (true.cpu().numpy(), found.cpu().numpy()) for name, (true, found) in masks.items()}
    components = [_components(true, found) for true, found in zip(*arrays["tumour"], strict=True)]
    columns |= {name: [counts[i] for counts in components] for i, name in enumerate(COMPONENT_COUNTS)}
    if pixel_spacing_mm is not None:
        for structure, of_structure in arrays.items():
            columns |= _boundaries(structure, *of_structure, pixel_spacing_mm)
    if not knows_tumour:
        for name in columns:
            if "tumour" in name:
                columns[name] = [np.nan] * len(labels)
    return columns


def _boundaries(
    structure: str, true: NDArray[np.bool_], predicted: NDArray[np.bool_], pixel_spacing_mm: Sequence[float]
) -> dict[str, list[Any]]:
    """Columns of the outlines of one structure; masks are ``(slice, row, column)``."""
    spacings = [float(spacing) for spacing in pixel_spacing_mm]
    distances = [surface_distances(*masks) for masks in zip(true, predicted, spacings, strict=True)]
    diagonal = math.hypot(*true.shape[1:])
    furthest = [diagonal * spacing for spacing in spacings]
    return {
        f"{structure}_surface_pixels": [found.count for found in distances],
        f"{structure}_surface_within": [found.count_within(SURFACE_TOLERANCE_MM) for found in distances],
        f"hd95_{structure}": [
            found.hausdorff(absent=most) for found, most in zip(distances, furthest, strict=True)
        ],
    }


def _components(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[int, int, int]:
    """True components, those of them that are hit, and predicted components that hit nothing."""
    true_labels, num_true = ndimage.label(true, _EIGHT_CONNECTED)
    predicted_labels, num_predicted = ndimage.label(predicted, _EIGHT_CONNECTED)
    overlap = true & predicted
    hit = len(np.unique(true_labels[overlap]))
    return num_true, hit, num_predicted - len(np.unique(predicted_labels[overlap]))
