"""How each sampler is made: from its settings, the space and the study's seed, a maker of Optuna's for every proposal."""

from __future__ import annotations

import optuna

from study.search.config import SamplerConfig
from study.search.samplers.bounded import BoundedHistory, BoundedSampler
from study.search.samplers.points import GridPoints, PointSampler, QuasiRandomPoints
from study.search.samplers.reseeded import MakeSampler
from study.search.samplers.resumable import (
    ResumableGPSampler,
    ResumableNSGAIIISampler,
    ResumableNSGAIISampler,
)
from study.search.space import SearchSpace

# Ended trials that a model is fitted to: at least so many, and less than twice as many, however long the study is.
TPE_HISTORY, GP_HISTORY = 320, 120


def tpe(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    """Parameters are drawn together in about half of the trials, and each by itself in the others, by a coin.

    Together pays where they depend on each other, by itself where each matters alone; a search that does both loses on
    neither (benchmarks/search_quality.py).
    """
    history = BoundedHistory(TPE_HISTORY)

    def make(seed: int) -> BoundedSampler:
        together = seed % 2 == 0
        sampler = optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=config.startup_trials,
            multivariate=together,
            group=together,
            constant_liar=True,  # what runs counts as bad, so that trials at a time do not all try one place
        )
        return BoundedSampler(sampler, history)

    return make


def nsga2(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: ResumableNSGAIISampler(seed=seed, population_size=max(2, config.startup_trials))


def nsga3(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: ResumableNSGAIIISampler(seed=seed, population_size=max(2, config.startup_trials))


def gp(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    history = BoundedHistory(GP_HISTORY)
    return lambda seed: BoundedSampler(
        ResumableGPSampler(
            seed=seed, n_startup_trials=config.startup_trials, warn_independent_sampling=False
        ),
        history,
    )


def random(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    return lambda seed: optuna.samplers.RandomSampler(seed=seed)


def quasi_random(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    sampler = PointSampler(QuasiRandomPoints(space, study_seed))
    return lambda _seed: sampler


def grid(config: SamplerConfig, space: SearchSpace, study_seed: int) -> MakeSampler:
    sampler = PointSampler(GridPoints(space, config.grid_points))
    return lambda _seed: sampler
