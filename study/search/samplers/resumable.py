"""Optuna's samplers that keep notes in storage, made to draw a trial's parameters again as they did before.

A driver can die between a draw and the storing of the last parameter. The next one draws again, and must come
to the same parameters although the notes of the first draw are there now.
"""

from __future__ import annotations

import json
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler, NSGAIIISampler, NSGAIISampler
from optuna.trial import FrozenTrial

# Under which GPSampler (Optuna 5.0) stores a trial's joint draw, in numbered pieces.
_STORED_DRAW = "gp:relative_params"


class ResumableGPSampler(GPSampler):
    """GPSampler would take an adopted trial's own stored draw for that of another running trial."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        stored = study._storage.get_trial(trial._trial_id).system_attrs
        pieces = sorted((name for name in stored if name.startswith(_STORED_DRAW)), key=_place)
        if pieces:
            draw: dict[str, Any] = json.loads("".join(stored[name] for name in pieces))
            return draw
        return super().sample_relative(study, trial, search_space)


class ResumableNSGAIISampler(NSGAIISampler):
    """Puts the parents of a generation in the order in which Optuna reads them back from its notes."""

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().select_parent(study, generation), key=lambda trial: trial.number)


class ResumableNSGAIIISampler(NSGAIIISampler):
    """As :class:`ResumableNSGAIISampler`."""

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        return sorted(super().select_parent(study, generation), key=lambda trial: trial.number)


def _place(name: str) -> int:
    return int(name.rpartition(":")[2])
