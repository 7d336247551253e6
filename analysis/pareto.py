"""Fronts of several objectives: non-dominated set, hypervolume, knee, gap closed. Pure functions.

Points are rows of a ``(point, objective)`` array. A direction is ``"maximize"`` or ``"minimize"``, one an
objective. A point with a NaN in any objective belongs to no front and dominates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskct_core import dominance
from taskct_core.errors import ConfigError

Points = NDArray[np.floating[Any]]


def non_dominated(points: Points, directions: Sequence[str]) -> NDArray[np.bool_]:
    """Return ``(point,)``: True where no other point is at least as good in all and better in one.

    Equal points do not dominate each other, so ties on the front are all True.

    >>> dice_and_psnr = np.array([[0.80, 30.0], [0.70, 33.0], [0.65, 31.0]])
    >>> non_dominated(dice_and_psnr, ["maximize", "maximize"]).tolist()
    [True, True, False]
    """
    return dominance.non_dominated(as_costs(points, directions))


def hypervolume(points: Points, reference: Sequence[float], directions: Sequence[str]) -> float:
    """Volume that the points dominate up to the reference point; exact, for 1 to 3 objectives.

    Points that are no better than the reference in some objective, and points with NaN, add nothing.

    Raises:
        ConfigError: for more than three objectives.
    """
    if len(directions) > 3:
        raise ConfigError(
            "hypervolume is computed for at most 3 objectives",
            f"{len(directions)}",
            "Choose up to three objectives of the study.",
        )
    corner = as_costs(np.asarray([reference], dtype=float), directions)[0]
    gains = corner - as_costs(points, directions)
    gains = gains[(gains > 0).all(axis=1)]  # NaN compares False, so such points drop out here
    if not len(gains):
        return 0.0
    return float({1: _length, 2: _area, 3: _volume}[len(directions)](gains))


def _length(gains: Points) -> float:
    return float(gains.max())


def _area(gains: Points) -> float:
    """Union of the rectangles [0, a] x [0, b], swept from the widest to the narrowest."""
    order = gains[np.argsort(-gains[:, 0], kind="stable")]
    tallest = np.maximum.accumulate(order[:, 1])
    widths = order[:, 0] - np.append(order[1:, 0], 0.0)
    return float(widths @ tallest)


def _volume(gains: Points) -> float:
    """Union of boxes as slabs along the third axis, each of which is a union of rectangles."""
    order = gains[np.argsort(-gains[:, 2], kind="stable")]
    depths = order[:, 2] - np.append(order[1:, 2], 0.0)
    return sum(depths[i] * _area(order[: i + 1, :2]) for i in np.flatnonzero(depths > 0))


def knee(points: Points, directions: Sequence[str]) -> int | None:
    """The row of the front that bulges farthest beyond the line (plane) through its extremes.

    Objectives are scaled to [0, 1] over the front; there the distance to the plane through the extremes
    grows with the sum of the scaled objectives (Das 1999, Structural Optimization 18:107-115).
    None where no knee exists: fewer than three points, or none beyond that line.
    """
    costs = as_costs(points, directions)
    front = np.flatnonzero(non_dominated(points, directions))
    if len(np.unique(costs[front], axis=0)) < 3:
        return None
    gains = -costs[front]
    spread = np.ptp(gains, axis=0)
    if (spread == 0).any():
        return None
    scaled = (gains - gains.min(axis=0)) / spread
    best = int(np.argmax(scaled.sum(axis=1)))
    return int(front[best]) if scaled[best].sum() > 1 + 1e-9 else None


def gap_closed(score: float, lower: float, upper: float) -> float:
    """Share of the way from the lower to the upper bound; NaN where the bounds are equal or not finite."""
    gap = upper - lower
    return (score - lower) / gap if np.isfinite([score, gap]).all() and gap != 0 else float("nan")


def as_costs(points: Points, directions: Sequence[str]) -> Points:
    """The points as float64 with every objective to be minimised."""
    points = np.asarray(points, dtype=float)
    points = points.reshape(-1, len(directions)) if points.size == 0 else points
    return points * np.array([-1.0 if direction == "maximize" else 1.0 for direction in directions])
