"""How the learning rate changes over a trial: it follows from the step and the epoch alone, so a resumed trial goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """How the learning rate falls over a stretch of epochs.

    Attributes:
        share: (epoch from 1, epochs) -> the share of the configured learning rate, in (0, 1].
        each_phase: whether the stretch is a phase of the training mode, or all of the trial.
    """

    share: Callable[[int, int], float]
    each_phase: bool = False


def _half_cosine(epoch: int, epochs: int) -> float:
    """From 1 towards 0, in steps of an epoch (Loshchilov & Hutter 2017, arXiv 1608.03983)."""
    return (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


SCHEDULES: dict[str, Schedule] = {
    "constant": Schedule(lambda _epoch, _epochs: 1.0),
    "cosine": Schedule(_half_cosine),
    # A second phase begins at the full rate again; under `cosine` it is left with what is almost 0.
    "cosine_each_phase": Schedule(_half_cosine, each_phase=True),
}


def warmup_share(step: int, warmup_steps: int) -> float:
    """The share of the learning rate that step ``step`` (from 1) has: linear up to 1 at ``warmup_steps``."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0
