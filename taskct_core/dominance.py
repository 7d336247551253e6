"""Pareto dominance, the one rule of every front: of a study's trials, of a rung, of one trained network.

Points are rows of a ``(..., objective)`` array of costs: every objective is to be minimised. A point with a NaN dominates
none and is dominated by none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.floating[Any]]


def dominates(one: Costs, other: Costs) -> NDArray[np.bool_]:
    """Whether a point is as good as another in every objective and better in one; equal points are not.

    Args:
        one: ``(..., objective)``.
        other: of a shape that broadcasts with it.

    Returns:
        Their shape without the objectives.

    >>> dominates(np.array([[1.0, 2.0], [2.0, 1.0]]), np.array([1.0, 3.0])).tolist()
    [True, False]
    """
    is_better: NDArray[np.bool_] = np.logical_and((one <= other).all(axis=-1), (one < other).any(axis=-1))
    return is_better


def non_dominated(costs: Costs) -> NDArray[np.bool_]:
    """Return ``(point,)``: True where no other of ``(point, objective)`` dominates it. False for a point with a NaN.

    Equal points do not dominate each other, so ties on the front are all True.
    """
    front = np.zeros(len(costs), dtype=bool)
    remaining = np.flatnonzero(~np.isnan(costs).any(axis=1))
    # The lexicographically smallest of the points left cannot be dominated by any of the others.
    remaining = remaining[np.lexsort(costs[remaining].T[::-1])]
    while remaining.size:
        best = costs[remaining[0]]
        front[remaining[(costs[remaining] == best).all(axis=1)]] = True
        remaining = remaining[(costs[remaining] < best).any(axis=1)]
    return front
