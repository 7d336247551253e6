"""Optuna's Gaussian-process sampler, made to repeat the draw of a trial that it drew before."""

from __future__ import annotations

import json
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.trial import FrozenTrial

# Under which GPSampler (Optuna 5.0) stores a trial's joint draw, in numbered pieces.
_STORED_DRAW = "gp:relative_params"


class ResumableGPSampler(GPSampler):
    """GPSampler treats every running trial with a stored draw as pending, an adopted trial's own included.

    A driver that died after the draw and before the last parameter would so get other ones; the stored draw
    is the draw.
    """

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        stored = study.get_trials(deepcopy=False)[trial.number].system_attrs
        pieces = sorted((name for name in stored if name.startswith(_STORED_DRAW)), key=_place)
        if pieces:
            draw: dict[str, Any] = json.loads("".join(stored[name] for name in pieces))
            return draw
        return super().sample_relative(study, trial, search_space)


def _place(name: str) -> int:
    return int(name.rpartition(":")[2])
