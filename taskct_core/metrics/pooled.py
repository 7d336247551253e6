"""Scores that follow from sums of counts: over a patient's slices, or over those of a whole split.

``summary`` sums the counts of all slices; ``analysis`` sums those of drawn ones, so that intervals are of the same
score. Undefined is NaN, which means skip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taskct_core.schema import COMPONENT_COUNTS, STRUCTURES, TISSUES_HU

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PooledScore:
    """A score of counts.

    Attributes:
        counts: columns of slices, which are summed.
        score: the sums of each, in any one shape -> the score in that shape.
        over: ``patients``: the mean over patients of each one's score; ``split``: the score of all slices.
    """

    counts: tuple[str, ...]
    score: Callable[..., Array]
    over: Literal["patients", "split"]


def _share(part: Array, whole: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _surface_dice(pixels: Array, within: Array) -> Array:
    return _share(within, pixels)


def _volume_error(true: Array, predicted: Array) -> Array:
    return 100 * _share(np.abs(predicted - true), true)


def _recall(true: Array, hit: Array) -> Array:
    return _share(hit, true)


def _lesion_f1(true: Array, hit: Array, false: Array) -> Array:
    """2 TP / (2 TP + FN + FP), with TP the hit lesions of the truth."""
    return _share(2 * hit, hit + true + false)


def _bias(sum_hu: Array, pixels: Array) -> Array:
    return np.abs(signed_bias(sum_hu, pixels))


def signed_bias(sum_hu: Array, pixels: Array) -> Array:
    """Mean error in HU; positive where images are too bright."""
    return _share(sum_hu, pixels)


POOLED: dict[str, PooledScore] = (
    {
        "tumour_recall": PooledScore(COMPONENT_COUNTS[:2], _recall, "split"),
        "tumour_f1": PooledScore(COMPONENT_COUNTS, _lesion_f1, "split"),
    }
    | {
        name: score
        for structure in STRUCTURES
        for name, score in {
            f"surface_dice_{structure}": PooledScore(
                (f"{structure}_surface_pixels", f"{structure}_surface_within"), _surface_dice, "patients"
            ),
            f"volume_error_{structure}": PooledScore(
                (f"{structure}_true_pixels", f"{structure}_predicted_pixels"), _volume_error, "patients"
            ),
        }.items()
    }
    | {
        f"bias_{tissue}": PooledScore((f"{tissue}_error_sum_hu", f"{tissue}_error_pixels"), _bias, "split")
        for tissue in TISSUES_HU
    }
)
