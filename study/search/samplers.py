"""Samplers by name, and the wrapper that makes their proposals independent of interruptions.

Optuna's samplers carry a random state that is lost when a driver dies. Here every proposal is made by fresh
samplers seeded from the study's seed and the trial's number, so that all it depends on is in storage.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from study.search import SAMPLERS
from study.search.config import SamplerConfig
from study.search.points import GridPoints, PointSampler, QuasiRandomPoints
from study.search.resumable import ResumableGPSampler, ResumableNSGAIIISampler, ResumableNSGAIISampler
from study.search.seeds import derived_seed
from study.search.space import SearchSpace
from taskct_core.registry import load

MakeSampler = Callable[[int], BaseSampler]  # seed of a proposal -> the sampler that makes it


def tpe(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: optuna.samplers.TPESampler(
        seed=seed, n_startup_trials=config.startup_trials, multivariate=True, group=True
    )


def nsga2(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: ResumableNSGAIISampler(seed=seed, population_size=max(2, config.startup_trials))


def nsga3(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: ResumableNSGAIIISampler(seed=seed, population_size=max(2, config.startup_trials))


def gp(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: ResumableGPSampler(
        seed=seed, n_startup_trials=config.startup_trials, warn_independent_sampling=False
    )


def random(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: optuna.samplers.RandomSampler(seed=seed)


def quasi_random(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    points = QuasiRandomPoints(space, study_seed)
    return lambda seed: PointSampler(points)


def grid(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    points = GridPoints(space, config.grid_points)
    return lambda seed: PointSampler(points)


def make_sampler(config: SamplerConfig, space: SearchSpace, study_seed: int) -> BaseSampler:
    """The sampler that ``config`` names, for Optuna; its proposals depend on storage and seed alone."""
    return ReseededSampler(load(config.name, SAMPLERS, "sampler")(config, space, study_seed), study_seed)


class ReseededSampler(BaseSampler):
    """Delegates to fresh samplers, seeded from the study's seed, the trial's number and what they draw.

    Parameters that are drawn together come from one sampler; each that is drawn by itself has its own, so that
    a driver that died between two of them changes neither.
    """

    def __init__(self, make: MakeSampler, study_seed: int) -> None:
        self._make = make
        self._study_seed = study_seed
        self._together: tuple[int, BaseSampler] | None = None  # (trial, sampler of its joint draw)

    def _fresh(self, trial: FrozenTrial, purpose: str) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return self._make(derived_seed(self._study_seed, trial.number, purpose))

    def _joint(self, trial: FrozenTrial) -> BaseSampler:
        if self._together is None or self._together[0] != trial.number:
            self._together = (trial.number, self._fresh(trial, ""))
        return self._together[1]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._joint(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._joint(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        sampler = self._fresh(trial, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._joint(trial).after_trial(study, trial, state, values)
