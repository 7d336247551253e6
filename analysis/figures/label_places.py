"""Where words stand beside points that are near each other, so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# A label's letter and line as shares of the axes: of the chart on a phone's first screen, which is 90 pixels high.
_LETTER, _LINE = 0.03, 0.12
_LEGIBLE = 0.3  # the share of a label that others may hide


def place_labels(
    points: NDArray[np.float64], texts: Sequence[str], sides: Sequence[str], heights: Sequence[str]
) -> list[str | None]:
    """A corner for each label, in order, where it meets the least of those before.

    Args:
        points: ``(labels, 2)``, as shares of the axes.
        sides: "left" and "right", the one to prefer first.
        heights: "top" and "bottom", likewise.

    Returns:
        Plotly's ``textposition`` of each, such as "top right"; None where no corner leaves it legible.
    """
    taken: list[NDArray[np.float64]] = []
    corners: list[str | None] = []
    for point, text in zip(points, texts, strict=True):
        boxes = {f"{height} {side}": _box(point, text, side, height) for side in sides for height in heights}
        hidden = {
            corner: round(sum(_overlap(box, other) for other in taken) / (len(text) * _LETTER * _LINE), 1)
            for corner, box in boxes.items()
        }
        corner = min(hidden, key=lambda each: hidden[each])
        if hidden[corner] > _LEGIBLE:
            corners.append(None)
            continue
        corners.append(corner)
        taken.append(boxes[corner])
    return corners


def _box(point: NDArray[np.float64], text: str, side: str, height: str) -> NDArray[np.float64]:
    """Left, low, right and high end of a label at a corner of its point."""
    extent = np.array([_LETTER * len(text), _LINE])
    low = point - extent * [side == "left", height == "bottom"]
    return np.concatenate([low, low + extent])


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Area that two boxes share."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.prod(np.maximum(sides, 0)))
