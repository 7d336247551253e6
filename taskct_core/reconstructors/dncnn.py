"""DnCNN: a stack of convolutions predicts the noise (Zhang et al. 2017, doi:10.1109/TIP.2017.2662206)."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from taskct_core.reconstructors.residual import Residual


class DnCNN(Residual):
    """74,849 parameters at width 32, depth 10 (published: 64 and 17).

    Instance norm in place of the paper's batch norm: each slice is normalised on its own, so a batch spread
    over workers trains alike.

    Args:
        width: channels of the hidden layers.
        depth: convolutions, the first and last included; at least 2.
    """

    def __init__(self, width: int = 32, depth: int = 10) -> None:
        if depth < 2:
            raise ValueError("depth must be at least 2")
        layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True)]
        for before, after in pairwise([width] * (depth - 1)):
            normalise = nn.InstanceNorm2d(after, affine=True)
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), normalise, nn.ReLU(inplace=True)]
        last = nn.Conv2d(width, 1, 3, padding=1)
        super().__init__(nn.Sequential(*layers, last), last)
