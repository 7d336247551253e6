"""MS-D: mixed-scale dense network (Pelt & Sethian 2018, doi:10.1073/pnas.1715832114)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

from taskct_core.reconstructors.residual import Residual

_DILATIONS = 10  # layer i dilates by i mod 10 + 1, as published


class MSD(Residual):
    """Few channels, each seen by all later layers, at mixed dilations. 4,247 parameters at depth 30, width 1.

    Args:
        width: channels a layer adds.
        depth: layers (published: 100).
    """

    def __init__(self, width: int = 1, depth: int = 30) -> None:
        network = _MixedScaleDense(width, depth)
        super().__init__(network, network.last)


class _MixedScaleDense(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for layer in range(depth):
            dilation = layer % _DILATIONS + 1
            convolution = nn.Conv2d(1 + layer * width, width, 3, padding=dilation, dilation=dilation)
            nn.init.kaiming_normal_(convolution.weight)
            self.layers.append(convolution)
        self.last = nn.Conv2d(1 + depth * width, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = image
        for layer in self.layers:
            features = torch.cat([features, relu(layer(features))], dim=1)
        output: torch.Tensor = self.last(features)
        return output
