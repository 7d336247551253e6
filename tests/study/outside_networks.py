"""Denoisers as another laboratory would hand them over; found on the path, as a user's modules are."""

from __future__ import annotations

import torch
from torch import nn


class Window(nn.Module):
    """Clips its images to [floor, ceiling]."""

    def __init__(self, ceiling: float = 1.0) -> None:
        super().__init__()
        self.ceiling = nn.Parameter(torch.tensor(ceiling))

    def forward(self, image: torch.Tensor, floor: float = 0.0) -> torch.Tensor:
        return torch.minimum(image.clamp(min=floor), self.ceiling)


class Halving(nn.Module):
    """Gives images of another size."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[..., ::2, ::2]
