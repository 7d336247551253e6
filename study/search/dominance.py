"""Orders of points under several objectives, all maximized: non-domination ranks and crowding distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskct_core.dominance import non_dominated

Points = NDArray[np.float64]  # (point, objective), all maximized


def non_domination_ranks(points: Points) -> NDArray[np.int64]:
    """Rank 0 for points that no other dominates, 1 for those that only rank 0 dominates, and so on.

    Deb et al. 2002 (NSGA-II), section III.A. Points with a NaN share the rank after all others.
    """
    ranks = np.full(len(points), len(points), dtype=np.int64)
    left = np.flatnonzero(~np.isnan(points).any(axis=1))
    rank = 0
    while left.size:
        front = non_dominated(-points[left])
        ranks[left[front]] = rank
        left = left[~front]
        rank += 1
    return ranks


def crowding_distances(points: Points) -> NDArray[np.float64]:
    """How far apart a point's neighbours lie, summed over objectives scaled to [0, 1]; infinite at the ends.

    Deb et al. 2002 (NSGA-II), section III.B.
    """
    count, objectives = points.shape
    distances = np.zeros(count)
    for column in range(objectives):
        values = points[:, column]
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        distances[order[[0, -1]]] = np.inf
        if span > 0 and count > 2:
            distances[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
    return distances
