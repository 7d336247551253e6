"""Asynchronous successive halving for several objectives (MO-ASHA; Schmucker et al. 2021, arXiv:2106.12639).

At the rungs (epoch ``grace``, ``grace * reduction_factor``, ...) a trial goes on only if it is among the best
``1 / reduction_factor`` of the trials that came to that rung so far. Better is a lower non-domination rank;
within a rank, a larger crowding distance, so that the front is thinned evenly and keeps its ends. With one
objective this is plain ASHA (Li et al. 2020, arXiv:1810.05934).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from study.search.config import StudyConfig
from study.search.pruners.dominance import Points, crowding_distances, non_domination_ranks
from study.search.pruners.pruner import watched_metric
from taskct_core.schema import EPOCH


class ParetoAsha:
    """A :class:`~study.search.pruners.Pruner` by non-domination rank and crowding.

    Args:
        directions: column -> ``maximize`` or ``minimize`` of the metrics that are watched.
        grace_epochs: epoch of the first rung.
        reduction_factor: one in so many trials goes on from a rung, and rungs are so many times apart.
    """

    def __init__(self, directions: Mapping[str, str], grace_epochs: int, reduction_factor: int) -> None:
        self._signs = {name: 1.0 if way == "maximize" else -1.0 for name, way in directions.items()}
        self._grace_epochs = grace_epochs
        self._reduction_factor = reduction_factor
        self._rungs: dict[int, dict[int, list[float]]] = {}  # epoch -> trial -> values, all maximized

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        if self._is_rung(row[EPOCH]):
            values = [sign * float(row.get(name, np.nan)) for name, sign in self._signs.items()]
            self._rungs.setdefault(row[EPOCH], {})[trial] = values

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        self.observe(trial, row)
        if not self._is_rung(row[EPOCH]):
            return None
        rung = self._rungs[row[EPOCH]]
        better = _count_better(np.array(list(rung.values())), list(rung).index(trial))
        if better * self._reduction_factor < len(rung):
            return None
        return f"{better} of the {len(rung)} trials at epoch {row[EPOCH]} were better"

    def _is_rung(self, epoch: int) -> bool:
        rung = self._grace_epochs
        while rung < epoch:
            rung *= self._reduction_factor
        return rung == epoch


def _count_better(points: Points, index: int) -> int:
    """How many points have a lower rank than the one at ``index``, or the same rank in less of a crowd."""
    ranks = non_domination_ranks(points)
    peers = np.flatnonzero(ranks == ranks[index])
    crowding = crowding_distances(points[peers])
    less_crowded = crowding > crowding[peers == index][0]
    return int((ranks < ranks[index]).sum() + less_crowded.sum())


def pareto_asha(config: StudyConfig, directions: Mapping[str, str]) -> ParetoAsha:
    """On all of a study's objectives."""
    watched = {name: directions[name] for name in config.objectives}
    return ParetoAsha(watched, config.pruner.grace_epochs, config.pruner.reduction_factor)


def asha(config: StudyConfig, directions: Mapping[str, str]) -> ParetoAsha:
    """On one metric."""
    metric = watched_metric(config, directions)
    return ParetoAsha(
        {metric: directions[metric]}, config.pruner.grace_epochs, config.pruner.reduction_factor
    )
