"""The moving average of a module's weights, which is what is scored and kept."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

_STEPS, _MODULE = "n_averaged", "module."  # names in checkpoints


class WeightAverage:
    """A copy of a module whose parameters are an exponential moving average of its own; buffers are copied.

    The decay of step ``t`` is ``min(decay, (1 + t) / (10 + t))``, so that a short training does not score its random
    start. Steps are counted here, not on the device, which would have to be waited for in every step.

    Args:
        module: that is averaged; the average begins at its first ``update``.
        decay: in (0, 1), of one step once the average has come into its stride.

    Attributes:
        module: the copy.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = deepcopy(module)
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take the average one step further, towards the weights that ``module`` has now."""
        averaged: list[torch.Tensor] = list(self.module.parameters())
        current: list[torch.Tensor] = list(module.parameters())
        share = 1.0
        if self._steps:
            share -= min(self._decay, (1 + self._steps) / (10 + self._steps))
            torch._foreach_lerp_(averaged, current, share)
        else:
            torch._foreach_copy_(averaged, current)
        for copied, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            copied.copy_(buffer)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """The average and its number of steps, as PyTorch's ``AveragedModel`` names them."""
        weights = {_MODULE + name: tensor for name, tensor in self.module.state_dict().items()}
        return {_STEPS: torch.tensor(self._steps), **weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state_dict``, or from that of an ``AveragedModel``, which checkpoints of earlier versions hold."""
        self._steps = int(state[_STEPS])
        weights = {
            name.removeprefix(_MODULE): tensor for name, tensor in state.items() if name.startswith(_MODULE)
        }
        self.module.load_state_dict(weights)
