"""A user's loss that is a plain function of two tensors, as the module that training wants."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection

import torch
from torch import nn

from taskct_core.errors import ConfigError


def is_plain_loss(candidate: object, offered: Collection[str]) -> bool:
    """Whether a callable is itself a loss: a function that must be given two things that nobody offers."""
    if not inspect.isfunction(candidate):
        return False
    parameters = inspect.signature(candidate).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [
        p for p in parameters if p.default is p.empty and p.kind in positional and p.name not in offered
    ]
    return len(needed) == 2


class PlainLoss(nn.Module):
    """Calls a function ``(prediction, truth) -> scalar tensor``.

    Args:
        function: of the user's.
        name: as the configuration has it.
    """

    def __init__(self, function: Callable[..., torch.Tensor], name: str) -> None:
        super().__init__()
        self._function = function
        self._name = name
        self.takes_probabilities = getattr(function, "takes_probabilities", False)

    def forward(self, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        loss = self._function(prediction, truth)
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ConfigError(
                "a loss must be one number, as a tensor", f"{shape} from {self._name!r}", "Return its mean."
            )
        return loss
