"""Learned gradient descent (Adler & Öktem 2017, doi:10.1088/1361-6420/aa9581)."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.geometry import Geometry
from taskct_core.reconstructors.unrolled import UnitNormTransform, update_network


class LearnedGradient(nn.Module):
    """Learned steps along the gradient of the data misfit, from the FBP on. 65,470 parameters at width 32.

    Args:
        width: channels of the update networks.
        iterations: updates, each with weights of its own.
        memory: channels that are carried along beside the image.
    """

    inputs = ("fbp", "sinogram")

    def __init__(self, geometry: Geometry, width: int = 32, iterations: int = 5, memory: int = 5) -> None:
        super().__init__()
        self.transform = UnitNormTransform(geometry)
        self.memory = memory
        self.updates = nn.ModuleList(
            [update_network(memory + 2, memory + 1, width) for _ in range(iterations)]
        )

    def forward(self, fbp: torch.Tensor, sinogram: torch.Tensor) -> torch.Tensor:
        data = self.transform.scale(sinogram)
        image = fbp
        memory = fbp.new_zeros(len(fbp), self.memory, *fbp.shape[2:])
        for update in self.updates:
            gradient = self.transform.adjoint(self.transform(image) - data)
            step = update(torch.cat([image, gradient, memory], dim=1))
            image, memory = image + step[:, :1], torch.relu(memory + step[:, 1:])
        return image
