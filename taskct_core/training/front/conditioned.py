"""A network conditioned on alpha by FiLM (Perez et al. 2018, arXiv 1709.07871).

Alpha scales and shifts channels after the norms: instance norm would erase it as a constant input channel. A norm's
scale and shift are parameters of its own, so FiLM changes those, and a network at one alpha is a plain one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from taskct_core.errors import ConfigError
from taskct_core.training.front.drawn import DrawnFront, FrontNetwork

_HIDDEN = 16


class ConditionedFront(DrawnFront):
    """Alpha is drawn from the arcsine law, Beta(1/2, 1/2), which favours the ends: they are hardest to reach."""

    def make_network(self, plain: nn.Module) -> FrontNetwork:
        return Conditioned(plain)

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.beta(0.5, 0.5))


class _Channels(NamedTuple):
    """Parameters that FiLM changes: of a norm, or of a convolution where there are no norms."""

    weight: str
    bias: str | None
    axis: int  # of the weight, along which its output channels lie
    size: int


class Conditioned(FrontNetwork):
    """``weight (1 + scale(alpha))`` and ``bias (1 + scale(alpha)) + shift(alpha)`` for every channel of every norm.

    Architectures without norms have it after their convolutions. Both functions are one small network, zero at first.
    """

    def __init__(self, plain: nn.Module) -> None:
        super().__init__(plain)
        self._channels = _modulated(plain)
        outputs = 2 * sum(channels.size for channels in self._channels)
        last = nn.Linear(_HIDDEN, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.film = nn.Sequential(nn.Linear(1, _HIDDEN), nn.SiLU(), last)

    def parameters_at(self, alpha: float) -> dict[str, torch.Tensor]:
        parameters: dict[str, torch.Tensor] = dict(self.plain.named_parameters())
        device = next(self.film.parameters()).device
        changes = self.film(torch.full((1,), alpha, device=device)).split(
            [size for channels in self._channels for size in (channels.size, channels.size)]
        )
        for channels, scale, shift in zip(self._channels, changes[::2], changes[1::2], strict=True):
            weight = parameters[channels.weight]
            shape = [1] * weight.dim()
            shape[channels.axis] = channels.size
            parameters[channels.weight] = weight * (1 + scale.view(shape))
            if channels.bias is not None:
                parameters[channels.bias] = parameters[channels.bias] * (1 + scale) + shift
        return parameters


def _modulated(plain: nn.Module) -> list[_Channels]:
    modules = list(plain.named_modules())
    norms = [_norm(name, module) for name, module in modules if isinstance(module, _NormBase | nn.GroupNorm)]
    found = [norm for norm in norms if norm is not None]
    found = found or [_convolution(name, module) for name, module in modules if isinstance(module, _ConvNd)]
    if not found:
        raise ConfigError(
            "a conditioned front needs norms with learned scales, or convolutions, to change by alpha",
            f"{type(plain).__name__}, which has none",
            "Choose another front_way, or another architecture.",
        )
    return found


def _norm(name: str, module: nn.Module) -> _Channels | None:
    weight, bias = module.weight, module.bias
    if not isinstance(weight, nn.Parameter) or not isinstance(bias, nn.Parameter):
        return None
    return _Channels(_joined(name, "weight"), _joined(name, "bias"), 0, len(weight))


def _convolution(name: str, module: _ConvNd) -> _Channels:
    axis = 1 if isinstance(module, _ConvTransposeNd) else 0
    bias = None if module.bias is None else _joined(name, "bias")
    return _Channels(_joined(name, "weight"), bias, axis, module.weight.shape[axis])


def _joined(module: str, parameter: str) -> str:
    return f"{module}.{parameter}" if module else parameter
