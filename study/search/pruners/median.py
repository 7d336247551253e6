"""The median stopping rule on one metric (Golovin et al. 2017, Google Vizier, section 3.2.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from study.search.config import StudyConfig
from study.search.pruners.pruner import watched_metric
from taskct_core.schema import EPOCH

MINIMUM_TRIALS = 3  # that came as far, before a trial is compared with them


class MedianRule:
    """Stops a trial whose best value so far is worse than the median of the others' running means.

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

    def observe(self, trial: int, row: Mapping[str, Any]) -> None:
        value = self._sign * float(row.get(self._metric, math.nan))
        self._curves.setdefault(trial, {})[row[EPOCH]] = -math.inf if math.isnan(value) else value

    def reason_to_stop(self, trial: int, row: Mapping[str, Any]) -> str | None:
        self.observe(trial, row)
        epoch = row[EPOCH]
        means = [
            float(np.mean([value for e, value in curve.items() if e <= epoch]))
            for other, curve in self._curves.items()
            if other != trial and max(curve) >= epoch
        ]
        if epoch < self._grace_epochs or len(means) < MINIMUM_TRIALS:
            return None
        best, median = max(self._curves[trial].values()), float(np.median(means))
        if best >= median:
            return None
        return (
            f"best {self._metric} {self._sign * best:.4g} until epoch {epoch} is worse than "
            f"the median {self._sign * median:.4g} of {len(means)} trials"
        )


def median(config: StudyConfig, directions: Mapping[str, str]) -> MedianRule:
    """On the metric that the configuration names."""
    metric = watched_metric(config, directions)
    return MedianRule(metric, directions[metric], config.pruner.grace_epochs)
