"""Whether labels can be a liver with its tumours: by size, by place, and by the CT beneath them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes.anatomy import Anatomy
from taskct_core.volumes.finding import Finding

_LARGEST_SHARE = 0.6  # of the body's voxels
_LARGEST_ML = 8000.0
_MOST_PARTS = 24
_MOST_OUTSIDE = 0.05  # of the tumours' voxels, in parts that touch no liver
_FLIP_WARNS, _FLIP_REFUSES = 0.8, 0.5  # of the labels' misfit, left by turning them over
_CLIP_HU = (-200.0, 400.0)  # what a misfit counts at most: a rib or a bubble is not the question
_AXES = ("head to foot", "front to back", "left to right")


def check_masks(anatomy: Anatomy) -> Iterator[Finding]:
    """Find labels that are no liver with tumours, or not this CT's."""
    if not anatomy.labels.any():
        return
    yield from _check_size(anatomy)
    yield from _check_swapped(anatomy)
    yield from _check_parts(anatomy)
    yield from _check_turned_over(anatomy)


def volume_ml(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> float:
    """Volume of a mask in millilitres."""
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / 1000)


def _check_size(anatomy: Anatomy) -> Iterator[Finding]:
    labelled = anatomy.labels > 0
    share = int(np.count_nonzero(labelled)) / max(int(np.count_nonzero(anatomy.body)), 1)
    millilitres = volume_ml(labelled, anatomy.spacing_mm)
    if share > _LARGEST_SHARE or millilitres > _LARGEST_ML:
        yield Finding(
            "refused",
            f"liver and tumours fill at most {_LARGEST_SHARE:.0%} of the body and {_LARGEST_ML:.0f} ml",
            f"the labels fill {share:.0%} of the body and {millilitres:.0f} ml ({labelled.mean():.0%} of all voxels)",
            "Check the mask's background value and its rescaling.",
        )


def _check_swapped(anatomy: Anatomy) -> Iterator[Finding]:
    """Tumours lie in a liver. Where the larger label encloses the smaller, their numbers are swapped."""
    liver, tumour = np.count_nonzero(anatomy.liver), np.count_nonzero(anatomy.tumour)
    if not tumour or tumour <= liver:
        return
    with_background = _faces(anatomy.labels, LIVER, 0)
    with_tumour = _faces(anatomy.labels, LIVER, TUMOUR)
    if liver and with_background < with_tumour:
        yield Finding(
            "refused",
            "tumours lie in the liver, not around it",
            f"label {TUMOUR} (tumour) is {tumour / liver:.1f} times as large as label {LIVER} (liver) and encloses it",
            "The two labels look swapped: map them with source.classes, or write them anew.",
        )
        return
    yield Finding(
        "warning",
        "tumours are smaller than the liver around them",
        f"{tumour / (tumour + liver):.0%} of the labelled voxels are tumour",
        "Look at the labels with `taskct inspect`.",
    )


def _faces(labels: NDArray[np.uint8], one: int, other: int) -> int:
    """How many pairs of neighbours have one label and the other."""
    count = 0
    for axis in range(labels.ndim):
        ahead, behind = (
            np.take(labels, range(start, labels.shape[axis] - 1 + start), axis) for start in (1, 0)
        )
        count += int(np.count_nonzero((ahead == one) & (behind == other)))
        count += int(np.count_nonzero((ahead == other) & (behind == one)))
    return count


def _check_parts(anatomy: Anatomy) -> Iterator[Finding]:
    parts, count = ndimage.label(anatomy.labels > 0)
    if count > _MOST_PARTS:
        yield Finding(
            "warning",
            f"a liver with its tumours is one part, or a few (at most {_MOST_PARTS})",
            f"the labels have {count} separate parts",
            "Look at the labels with `taskct inspect`.",
        )
    tumour = anatomy.tumour
    in_liver = np.unique(parts[anatomy.liver])
    outside = np.count_nonzero(tumour & ~np.isin(parts, in_liver))
    if tumour.any() and outside > _MOST_OUTSIDE * np.count_nonzero(tumour):
        yield Finding(
            "warning",
            "tumours lie in the liver",
            f"{outside / np.count_nonzero(tumour):.0%} of the tumours' voxels lie in parts that touch no liver",
            "Check that both masks belong to this CT.",
        )


def _check_turned_over(anatomy: Anatomy) -> Iterator[Finding]:
    """Labels upside down under a right header: turned back, what lies beneath them is much more alike."""
    as_is = _misfit(anatomy.hu, anatomy.labels)
    turns = [axes for count in (1, 2, 3) for axes in combinations(range(3), count)]
    turned = [_misfit(anatomy.hu, np.flip(anatomy.labels, axes)) for axes in turns]
    best = int(np.argmin(turned))
    if as_is == 0 or turned[best] > _FLIP_WARNS * as_is:
        return
    names = " and ".join(_AXES[axis] for axis in turns[best])
    yield Finding(
        "refused" if turned[best] <= _FLIP_REFUSES * as_is else "warning",
        "labels lie on the liver: HU beneath each label are more alike than beneath the labels turned over",
        f"HU under the labels spread by {as_is:.3g}, and by {turned[best]:.3g} with the labels turned over {names}",
        f"The label array looks turned over {names}: write it anew in the CT's orientation.",
    )


def _misfit(hu: NDArray[np.float32], labels: NDArray[np.uint8]) -> float:
    """Root mean square distance of the labelled voxels from their label's median, in HU."""
    squares, count = 0.0, 0
    for label in (LIVER, TUMOUR):
        values = np.clip(hu[labels == label], *_CLIP_HU)
        if values.size:
            squares += float(((values - np.median(values)) ** 2).sum())
            count += values.size
    return float(np.sqrt(squares / max(count, 1)))
