"""What all post-processing reconstructors share: image = FBP + correction."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """``fbp + network(fbp)``, which at the start is the FBP itself.

    The network's last layer starts at zero: a fresh network would otherwise add random errors a hundred
    times larger than the noise, which the first epochs, and early pruning with them, would be spent on.

    Args:
        network: ``(B, 1, H, W) -> (B, 1, H, W)``.
        last: the layer that makes the network's output.
    """

    inputs = ("fbp",)

    def __init__(self, network: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.network = network
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, fbp: torch.Tensor) -> torch.Tensor:
        correction: torch.Tensor = self.network(fbp)
        return fbp + correction
