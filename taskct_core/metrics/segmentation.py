"""Counts of one predicted mask against the truth, from which every Dice and detection policy follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from taskct_core.schema import COMPONENT_COUNTS, LIVER, TUMOUR

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


def segmentation_counts(
    predicted: torch.Tensor, labels: torch.Tensor, *, knows_tumour: bool
) -> dict[str, list[Any]]:
    """Pixel and component counts of every slice.

    Args:
        predicted: ``(B, H, W)`` predicted labels.
        labels: ``(B, H, W)`` true labels.
        knows_tumour: whether the network predicts tumours at all. The tumour columns of one that does not
            are NaN, not zero: it has no opinion to be scored.

    Returns:
        Column of ``schema.COUNTS`` or ``schema.COMPONENT_COUNTS`` -> one value a slice.
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
    tumour_masks = (mask.cpu().numpy() for mask in masks["tumour"])
    components = [_components(true, found) for true, found in zip(*tumour_masks, strict=True)]
    columns |= {name: [counts[i] for counts in components] for i, name in enumerate(COMPONENT_COUNTS)}
    if not knows_tumour:
        for name in columns:
            if name.startswith("tumour_"):
                columns[name] = [np.nan] * len(labels)
    return columns


def _components(true: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[int, int, int]:
    """True components, those of them that are hit, and predicted components that hit nothing."""
    true_labels, num_true = ndimage.label(true, _EIGHT_CONNECTED)
    predicted_labels, num_predicted = ndimage.label(predicted, _EIGHT_CONNECTED)
    overlap = true & predicted
    hit = len(np.unique(true_labels[overlap]))
    return num_true, hit, num_predicted - len(np.unique(predicted_labels[overlap]))
