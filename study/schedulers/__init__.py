"""Schedulers: which trials are stopped early, decided from the values of all trials at an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from study.config import StudyConfig
from study.schedulers.median import MedianRule
from study.schedulers.pareto_asha import ParetoAsha
from study.schedulers.pruner import NeverPrune, Pruner
from taskct_core.errors import ConfigError

Directions = Mapping[str, str]  # column -> maximize or minimize


def _pareto_asha(config: StudyConfig, directions: Directions) -> Pruner:
    watched = {name: directions[name] for name in config.objectives}
    return ParetoAsha(watched, config.pruner.grace_epochs, config.pruner.reduction_factor)


def _asha(config: StudyConfig, directions: Directions) -> Pruner:
    metric = _watched_metric(config, directions)
    watched = {metric: directions[metric]}
    return ParetoAsha(watched, config.pruner.grace_epochs, config.pruner.reduction_factor)


def _median(config: StudyConfig, directions: Directions) -> Pruner:
    metric = _watched_metric(config, directions)
    return MedianRule(metric, directions[metric], config.pruner.grace_epochs)


PRUNERS: dict[str, Callable[[StudyConfig, Directions], Pruner]] = {
    "none": lambda config, directions: NeverPrune(),
    "pareto_asha": _pareto_asha,
    "asha": _asha,
    "median": _median,
}


def make_pruner(config: StudyConfig, directions: Directions) -> Pruner:
    """The pruner that ``config.pruner`` names, with nothing observed yet.

    Raises:
        ConfigError: if the metric it watches is unknown.
    """
    return PRUNERS[config.pruner.name](config, directions)


def _watched_metric(config: StudyConfig, directions: Directions) -> str:
    metric = config.pruner.metric or config.objectives[0]
    if metric not in directions:
        valid = ", ".join(directions)
        raise ConfigError(f"pruner.metric must be a known column ({valid})", metric, "Correct its name.")
    return metric
