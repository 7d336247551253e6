"""The median stopping rule on one metric (Golovin et al. 2017, Google Vizier, section 3.2.2)."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping
from typing import Any

import numpy as np

from study.search.config import StudyConfig
from study.search.pruners.pruner import watched_metric
from taskct_core.schema import EPOCH

MINIMUM_TRIALS = 3  # that came as far, before a trial is compared with them


class MedianRule:
    """Stops a trial whose best value so far is worse than the median of the others' running means.

    Running means are kept sorted by epoch, so that a decision costs the same however many trials there are.

    Args:
        metric: the column that is watched.
        direction: ``maximize`` or ``minimize``.
        grace_epochs: epochs that every trial may run.
    """

    def __init__(self, metric: str, direction: str, grace_epochs: int) -> None:
        self._metric = metric
        self._sign = 1.0 if direction == "maximize" else -1.0
        self._grace_epochs = grace_epochs
        self._curves: dict[int, dict[int, float]] = {}  # trial -> epoch -> value, maximized
        # Epoch -> running means until then of the trials that came as far, sorted.
        self._means: dict[int, list[float]] = {}

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        value = self._sign * float(row.get(self._metric, math.nan))
        epoch, curve = row[EPOCH], self._curves.setdefault(trial, {})
        if epoch in curve:
            return
        if epoch not in self._means:  # others may have passed it without a report
            others = [other for other in self._curves.values() if other and min(other) < epoch < max(other)]
            self._means[epoch] = sorted(_mean(other, epoch) for other in others)
        for passed in self._means:
            if curve and max(curve) < passed < epoch:
                insort(self._means[passed], _mean(curve, passed))
        curve[epoch] = -math.inf if math.isnan(value) else value
        insort(self._means[epoch], _mean(curve, epoch))

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        self.observe(trial, row)
        epoch, curve = row[EPOCH], self._curves[trial]
        means = self._means[epoch]
        if epoch < self._grace_epochs or len(means) <= MINIMUM_TRIALS:
            return None
        best, median = max(curve.values()), _median_without(means, _mean(curve, epoch))
        if best >= median:
            return None
        return (
            f"best {self._metric} {self._sign * best:.4g} until epoch {epoch} is worse than "
            f"the median {self._sign * median:.4g} of {len(means) - 1} trials"
        )


def _mean(curve: Mapping[int, float], epoch: int) -> float:
    """Of a curve's values until an epoch."""
    return float(np.mean([value for at, value in curve.items() if at <= epoch]))


def _median_without(means: list[float], own: float) -> float:
    """The median of sorted values without one of them."""
    place, others = bisect_left(means, own), len(means) - 1
    low, high = ((others - 1) // 2, others // 2)
    return (means[low + (low >= place)] + means[high + (high >= place)]) / 2


def median(config: StudyConfig, directions: Mapping[str, str]) -> MedianRule:
    """On the metric that the configuration names."""
    metric = watched_metric(config, directions)
    return MedianRule(metric, directions[metric], config.pruner.grace_epochs)
