"""Asynchronous successive halving for several objectives, after MO-ASHA (Schmucker et al. 2021, arXiv:2106.12639).

At the rungs (epoch ``grace``, ``grace * reduction_factor``, ...) a trial goes on only if it is among the best
``1 / reduction_factor`` of the trials that came to that rung so far. Better is who is dominated by fewer of them
(Fonseca and Fleming 1993), and ties go on: a trial that none dominates is never stopped, wherever on the front it lies.
Choosing among equals by how crowded they are, as MO-ASHA does, thins out the front itself by scores that are early
and noisy. With one objective this is plain ASHA (Li et al. 2020, arXiv:1810.05934).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from study.search.config import StudyConfig
from study.search.dominance import Points
from study.search.pruners.pruner import watched_metric
from taskct_core.dominance import dominates
from taskct_core.schema import EPOCH


class Rung:
    """The trials that came to an epoch, each with the number of others that dominate it.

    A new trial costs one comparison with each of the others, so that a rung of 10,000 decides in a fraction of a
    millisecond.
    """

    def __init__(self, objectives: int) -> None:
        self._places: dict[int, int] = {}  # trial -> its row below
        self._costs: Points = np.empty((0, objectives))
        self._dominated_by = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._costs)

    def add(self, trial: int, point: Points) -> None:
        """Take note of a trial's values, all to be maximized; one with a NaN is dominated by all without.

        A trial that is here already, as one that was adopted may be, keeps its first values.
        """
        if trial in self._places:
            return
        cost = np.full_like(point, np.inf) if np.isnan(point).any() else -point
        self._dominated_by[dominates(cost, self._costs)] += 1
        self._dominated_by = np.append(self._dominated_by, np.count_nonzero(dominates(self._costs, cost)))
        self._costs = np.vstack([self._costs, cost])
        self._places[trial] = len(self._places)

    def better_than(self, trial: int) -> int:
        """How many are dominated by fewer."""
        return int(np.count_nonzero(self._dominated_by < self._dominated_by[self._places[trial]]))


class ParetoAsha:
    """A :class:`~study.search.pruners.pruner.Pruner` by the number of trials that dominate one.

    Args:
        directions: column -> ``maximize`` or ``minimize`` of the metrics that are watched.
        grace_epochs: epoch of the first rung.
        reduction_factor: one in so many trials goes on from a rung, and rungs are so many times apart.
    """

    def __init__(self, directions: Mapping[str, str], grace_epochs: int, reduction_factor: int) -> None:
        self._signs = {name: 1.0 if way == "maximize" else -1.0 for name, way in directions.items()}
        self._grace_epochs = grace_epochs
        self._reduction_factor = reduction_factor
        self._rungs: dict[int, Rung] = {}  # by epoch

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        if self._is_rung(row[EPOCH]):
            point = np.array([sign * float(row.get(name, np.nan)) for name, sign in self._signs.items()])
            self._rungs.setdefault(row[EPOCH], Rung(len(self._signs))).add(trial, point)

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        self.observe(trial, row)
        if not self._is_rung(row[EPOCH]):
            return None
        rung = self._rungs[row[EPOCH]]
        better = rung.better_than(trial)
        if better * self._reduction_factor < len(rung):
            return None
        return f"{better} of the {len(rung)} trials at epoch {row[EPOCH]} were better"

    def _is_rung(self, epoch: int) -> bool:
        rung = self._grace_epochs
        while rung < epoch:
            rung *= self._reduction_factor
        return rung == epoch


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
