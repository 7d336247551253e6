"""The wrapper that makes a sampler's proposals independent of interruptions.

Optuna's samplers carry a random state that is lost when a driver dies. Here every proposal is made by fresh
samplers seeded from the study's seed and the trial's number, so that all it depends on is in storage.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from study.search.samplers.seen_study import SeenStudy, with_past

MakeSampler = Callable[[int], BaseSampler]  # seed of a proposal -> the sampler that makes it


class ReseededSampler(BaseSampler):
    """Delegates to fresh samplers, seeded from the study's seed, the trial's number and what they draw.

    Parameters that are drawn together come from one sampler; each that is drawn by itself has its own, so that
    a driver that died between two of them changes neither.
    """

    def __init__(self, make: MakeSampler, study_seed: int, past: Sequence[FrozenTrial] = ()) -> None:
        self._make = make
        self._past = past  # trials of another study, which are seen before those of the study
        self._shown: SeenStudy | None = None
        self._study_seed = study_seed
        self._together: tuple[int, BaseSampler] | None = None  # (trial, sampler of its joint draw)

    def _seen(self, study: optuna.Study) -> optuna.Study:
        """The study as its samplers see it."""
        if not self._past:
            return study
        if self._shown is None:
            self._shown = with_past(study, self._past)
        return self._shown

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
        return self._joint(trial).infer_relative_search_space(self._seen(study), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._joint(trial).sample_relative(self._seen(study), trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:  # noqa: ANN401  as Optuna declares it
        sampler = self._fresh(trial, param_name)
        return sampler.sample_independent(self._seen(study), trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._joint(trial).after_trial(study, trial, state, values)


def derived_seed(study_seed: int, trial: int, purpose: str) -> int:
    """A 32-bit seed for one purpose within one trial, the same however often a study was interrupted."""
    digest = hashlib.sha256(f"{study_seed}/{trial}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
