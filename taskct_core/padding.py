"""Networks with strides want sides that these divide: pad before, crop after."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PadToMultiple(nn.Module):
    """Runs ``network`` on an image whose sides are padded to multiples, and crops its output back.

    The border is replicated, so a padded image has no artificial edge. Shapes: ``(B, C, H, W)``.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        output: torch.Tensor = self.network(image)
        return output[..., :height, :width]
