"""Pruners: which trials are stopped early, decided from the values of all trials at an epoch.

A pruner's factory takes (StudyConfig, column -> ``maximize`` or ``minimize``) and returns a
:class:`study.search.pruners.pruner.Pruner` with nothing observed yet. One line a pruner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from taskct_core.registry import load

if TYPE_CHECKING:
    from study.search.config import StudyConfig
    from study.search.pruners.pruner import Pruner

PRUNERS = {
    "none": "study.search.pruners.pruner:never_prune",
    "pareto_asha": "study.search.pruners.pareto_asha:pareto_asha",
    "asha": "study.search.pruners.pareto_asha:asha",
    "median": "study.search.pruners.median:median",
}


def make_pruner(config: StudyConfig, directions: Mapping[str, str]) -> Pruner:
    """The pruner that ``config.pruner`` names, with nothing observed yet.

    Raises:
        ConfigError: if the metric it watches is unknown.
    """
    pruner: Pruner = load(config.pruner.name, PRUNERS, "pruner")(config, directions)
    return pruner
