"""Rows of single slices -> the columns of ``schema.METRICS`` for the split they make up, but for those of
``schema.IMAGE_QUALITY_METRICS``, which are measured on inserted lesions.

Reads the columns that ``slices.score_slices`` makes. The Dice of a slice or patient follows from pixel
counts alone: 2 * overlap / (true + predicted).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskct_core.contracts.rows import SliceRow
from taskct_core.metrics.pooled import POOLED, PooledScore
from taskct_core.schema import (
    COUNTS,
    DICE_SCOPES,
    EMPTY_POLICIES,
    METRICS,
    NETWORK_SUFFIXES,
    PATIENT,
    SEGMENTATION_METRICS,
    STRUCTURES,
)

Array = NDArray[np.float64]

_PARTS = ("true", "predicted", "overlap")
_MEANS_OVER_SLICES = tuple(f"hd95_{structure}" for structure in STRUCTURES)


def summarise(rows: Sequence[SliceRow]) -> dict[str, float]:
    """Average single-slice rows to one value a metric column.

    Segmentation columns with a suffix of ``schema.NETWORK_SUFFIXES`` appear where the rows have counts of
    that network. A metric that is undefined in every slice is NaN, such as a tumour Dice where no slice
    has a tumour and the policy skips those.
    """
    patients = np.asarray([row[PATIENT] for row in rows])
    summary = {name: _mean(_column(rows, name)) for name in METRICS if name.startswith(("psnr_", "ssim_"))}
    summary |= {
        name: _pooled_score(rows, "", patients, pooled)
        for name, pooled in POOLED.items()
        if name not in SEGMENTATION_METRICS
    }
    for suffix in NETWORK_SUFFIXES:
        if suffix == "" or (rows and COUNTS[0] + suffix in rows[0]):
            metrics = _segmentation_metrics(rows, suffix)
            summary.update({name + suffix: value for name, value in metrics.items()})
    return summary


def dice(true: Array, predicted: Array, overlap: Array, empty: str) -> Array:
    """Dice from pixel counts under an empty policy of ``schema.EMPTY_POLICIES``; NaN means skipped."""
    with np.errstate(invalid="ignore"):
        scores = 2 * overlap / (true + predicted)
    if empty == "lits":
        scores[true + predicted == 0] = 1.0
    if empty == "monai":
        scores[true == 0] = np.nan
    return scores


def _segmentation_metrics(rows: Sequence[SliceRow], suffix: str) -> dict[str, float]:
    per_slice = {name: _column(rows, name + suffix) for name in COUNTS}
    patients = np.asarray([row[PATIENT] for row in rows])
    per_patient = {name: _pool(values, patients) for name, values in per_slice.items()}
    metrics: dict[str, float] = {}
    for scope, counts in zip(DICE_SCOPES, (per_slice, per_patient), strict=True):
        for empty in EMPTY_POLICIES:
            scores = {structure: _mean(_dice_of(structure, counts, empty)) for structure in STRUCTURES}
            alike = [score for structure, score in scores.items() if _is_alike(structure, counts, empty)]
            scores["mean"] = _mean(np.asarray(alike, dtype=np.float64))
            metrics |= {f"dice_{name}_{scope}_{empty}": score for name, score in scores.items()}
    metrics |= {
        name: _pooled_score(rows, suffix, patients, pooled)
        for name, pooled in POOLED.items()
        if name in SEGMENTATION_METRICS
    }
    metrics |= {name: _mean(_column(rows, name + suffix)) for name in _MEANS_OVER_SLICES}
    metrics["tumour_false_positives"] = _mean(_column(rows, "tumour_components_false" + suffix))
    return metrics


def _pooled_score(
    rows: Sequence[SliceRow], suffix: str, patients: NDArray[Any], pooled: PooledScore
) -> float:
    groups = patients if pooled.over == "patients" else np.full(len(rows), "all")
    return _mean(pooled.score(*(_pool(_column(rows, name + suffix), groups) for name in pooled.counts)))


def _is_alike(structure: str, counts: Mapping[str, Array], empty: str) -> bool:
    """Whether every prediction of these slices has a Dice of the structure, so that means over it are alike.

    Where the truth has none of it, a prediction without it has no Dice and one with it has 0: the mean would be of
    other structures, and half as large for a single false pixel.
    """
    return empty == "lits" or bool(counts[f"{structure}_true_pixels"].sum() > 0)


def _dice_of(structure: str, counts: Mapping[str, Array], empty: str) -> Array:
    true, predicted, overlap = (counts[f"{structure}_{part}_pixels"] for part in _PARTS)
    return dice(true, predicted, overlap, empty)


def _column(rows: Sequence[SliceRow], name: str) -> Array:
    return np.asarray([row.get(name, math.nan) for row in rows], dtype=np.float64)


def _pool(counts: Array, patients: NDArray[Any]) -> Array:
    names = np.unique(patients)
    return np.asarray([counts[patients == name].sum() for name in names], dtype=np.float64)


def _mean(values: Array) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
