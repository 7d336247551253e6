"""Learned Primal-Dual (Adler & Öktem 2018, doi:10.1109/TMI.2018.2799231)."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.geometry import Geometry
from taskct_core.reconstructors.unrolled import UnitNormTransform, update_network


class LearnedPrimalDual(nn.Module):
    """Alternating learned updates of sinogram and image. 126,610 parameters at width 32 (5 iterations).

    The image starts from the FBP, not from zero as published, which saves it the first iterations.

    Args:
        width: channels of the update networks.
        iterations: pairs of updates (published: 10).
        memory: channels of image and of sinogram that are carried along.
    """

    inputs = ("fbp", "sinogram")

    def __init__(self, geometry: Geometry, width: int = 32, iterations: int = 5, memory: int = 5) -> None:
        super().__init__()
        if memory < 2:
            raise ValueError("memory must be at least 2")
        self.transform = UnitNormTransform(geometry)
        self.memory = memory
        steps = range(iterations)
        self.dual_updates = nn.ModuleList([update_network(memory + 2, memory, width) for _ in steps])
        self.primal_updates = nn.ModuleList([update_network(memory + 1, memory, width) for _ in steps])

    def forward(self, fbp: torch.Tensor, sinogram: torch.Tensor) -> torch.Tensor:
        data = self.transform.scale(sinogram)
        primal = fbp.repeat(1, self.memory, 1, 1)
        dual = torch.zeros_like(data).repeat(1, self.memory, 1, 1)
        for dual_update, primal_update in zip(self.dual_updates, self.primal_updates, strict=True):
            projected = self.transform(primal[:, 1:2].contiguous())
            dual = dual + dual_update(torch.cat([dual, projected, data], dim=1))
            backprojected = self.transform.adjoint(dual[:, :1].contiguous())
            primal = primal + primal_update(torch.cat([primal, backprojected], dim=1))
        return primal[:, :1]
