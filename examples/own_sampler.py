"""A sampler of one's own: `--set study.sampler.name=own_sampler:Crossover`."""

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial


class Crossover(BaseSampler):
    """Takes each parameter from some trial of the front, or draws it at random.

    Args:
        keep: from `study.sampler.options`: how probable it is that a parameter is taken from the front.
        seed: another one for every proposal; given by the platform.
    """

    def __init__(self, keep: float = 0.5, seed: int | None = None) -> None:
        self._keep = keep
        self._generator = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Parameters that are drawn together, by `sample_relative`: none."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One parameter, of the kind and range that its distribution has."""
        known = [parent.params[param_name] for parent in study.best_trials if param_name in parent.params]
        if known and self._generator.random() < self._keep:
            return known[self._generator.integers(len(known))]
        return self._random.sample_independent(study, trial, param_name, param_distribution)
