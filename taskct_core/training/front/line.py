"""A line of networks: both ends learn at once (Pareto manifold learning, Dimitriadis et al. 2023, arXiv 2210.09759)."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from torch import nn

from taskct_core.training.front.drawn import DrawnFront, FrontNetwork


class LineFront(DrawnFront):
    """Alpha is drawn uniformly; the network at alpha lies as far along the line."""

    def make_network(self, plain: nn.Module) -> FrontNetwork:
        return Line(plain)

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.uniform())


class Line(FrontNetwork):
    """Two sets of weights, which begin as one: ``(1 - alpha) plain + alpha end``."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__(plain)
        self.end = deepcopy(plain)

    def parameters_at(self, alpha: float) -> dict[str, torch.Tensor]:
        ends = dict(self.end.named_parameters())
        return {name: torch.lerp(start, ends[name], alpha) for name, start in self.plain.named_parameters()}
