"""Samplers: which trial is proposed next.

A sampler's factory takes (SamplerConfig, SearchSpace, the study's seed) and returns what makes Optuna's sampler for one
proposal from that proposal's seed; see :mod:`study.search.samplers.factories`. One line a sampler. A user's own and
OptunaHub's are Optuna samplers as they are: :mod:`study.search.samplers.own`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskct_core.registry import load

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from study.search.config import SamplerConfig
    from study.search.space import SearchSpace

SAMPLERS = {
    "tpe": "study.search.samplers.factories:tpe",
    "nsga2": "study.search.samplers.factories:nsga2",
    "nsga3": "study.search.samplers.factories:nsga3",
    "gp": "study.search.samplers.factories:gp",
    "qmc": "study.search.samplers.factories:quasi_random",
    "random": "study.search.samplers.factories:random",
    "grid": "study.search.samplers.factories:grid",
}


def make_sampler(
    config: SamplerConfig, space: SearchSpace, study_seed: int, past: Sequence[FrozenTrial] = ()
) -> BaseSampler:
    """The sampler that ``config`` names, for Optuna; its proposals depend on storage, seed and ``past`` alone.

    ``past``: trials of another study, which it sees before those of the study.

    Raises:
        ConfigError: if a sampler of the user's own cannot be made.
    """
    from study.search.samplers.own import own_sampler
    from study.search.samplers.reseeded import ReseededSampler

    if config.name in SAMPLERS:
        make = load(config.name, SAMPLERS, "sampler")(config, space, study_seed)
    else:
        make = own_sampler(config.name, config.options)
    return ReseededSampler(make, study_seed, past)
