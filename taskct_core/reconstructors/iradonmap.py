"""iRadonMAP-style: learned filtering and back-projection, then a network (He et al. 2020,
doi:10.1109/TMI.2020.2964266)."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.geometry import Geometry
from taskct_core.projection import RayTransform
from taskct_core.projection.filters import filter_sinogram
from taskct_core.reconstructors.dncnn import DnCNN


class IRadonMap(nn.Module):
    """Sinogram -> image, starting as FBP with a Hann filter. 107,818 parameters at width 32 on ``small``.

    As in the paper, one fully connected layer filters every projection, and each ray's share in the
    back-projection is learned; here the back-projector itself is exact and a DnCNN cleans the image.

    Args:
        width: channels of the DnCNN.
        depth: convolutions of the DnCNN.
    """

    inputs = ("sinogram",)
    ramp: torch.Tensor

    def __init__(self, geometry: Geometry, width: int = 32, depth: int = 6) -> None:
        super().__init__()
        self.transform = RayTransform(geometry)
        self.scale = geometry.angle_spacing_rad / (geometry.pixel_spacing_mm / 1000) ** 2
        unit_projections = torch.eye(geometry.num_bins, dtype=torch.float64)
        ramp = filter_sinogram(unit_projections, "hann", 1.0).float()
        self.register_buffer("ramp", ramp, persistent=False)
        self.filter_change = nn.Parameter(torch.zeros(geometry.num_bins, geometry.num_bins))
        self.ray_weights = nn.Parameter(torch.ones(geometry.sinogram_shape))
        self.denoise = DnCNN(width, depth)

    def forward(self, sinogram: torch.Tensor) -> torch.Tensor:
        ramped = sinogram @ self.ramp
        # The change acts on the ramp filter's output, not on its weights: those make a small difference of
        # large sums, which an optimiser that moves every weight by the learning rate would swamp. In units
        # of 1 / bins, one step changes the output by at most the learning rate.
        filtered = ramped + ramped @ self.filter_change / len(self.filter_change)
        filtered = filtered * self.ray_weights
        image: torch.Tensor = self.denoise(self.transform.adjoint(filtered) * self.scale)
        return image
