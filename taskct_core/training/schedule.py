"""How the learning rate changes over a trial, and the moving average of weights that is scored.

Both follow from the step and the epoch alone, so a resumed trial goes on exactly.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

Schedule = Literal["constant", "cosine"]


def learning_rate_share(schedule: Schedule, epoch: int, epochs: int) -> float:
    """The share of the configured learning rate, in (0, 1], that epoch ``epoch`` (from 1) of ``epochs`` has.

    ``cosine`` falls along half a cosine from 1 towards 0, in steps of an epoch (Loshchilov & Hutter 2017,
    arXiv 1608.03983, without restarts).
    """
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2


def warmup_share(step: int, warmup_steps: int) -> float:
    """The share of the learning rate that step ``step`` (from 1) has: linear up to 1 at ``warmup_steps``."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``module`` whose parameters are an exponential moving average of its own.

    ``update_parameters(module)`` after each step takes it one step further; buffers are copied. The decay of step
    ``t`` is ``min(decay, (1 + t) / (10 + t))``, so that a short training does not score its random start.

    Args:
        decay: in (0, 1), of one step once the average has come into its stride.
    """

    def average(averaged: torch.Tensor, current: torch.Tensor, seen: torch.Tensor | int) -> torch.Tensor:
        step_decay = min(decay, (1 + float(seen)) / (10 + float(seen)))
        return averaged.lerp(current, 1 - step_decay)

    return AveragedModel(module, avg_fn=average)
