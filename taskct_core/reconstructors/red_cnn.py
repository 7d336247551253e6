"""RED-CNN: residual encoder-decoder at full resolution (Chen et al. 2017, doi:10.1109/TMI.2017.2715284)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import relu

from taskct_core.reconstructors.residual import Residual

_LAYERS = 5
_KERNEL = 5  # unpadded: an image needs sides of more than _LAYERS * (_KERNEL - 1) = 20 pixels


class REDCNN(Residual):
    """Five convolutions, five transposed ones, and shortcuts. 206,689 parameters at width 32 (published: 96).

    Args:
        width: channels of the hidden layers.
    """

    def __init__(self, width: int = 32) -> None:
        network = _EncoderDecoder(width)
        super().__init__(network, network.decoder[-1])


class _EncoderDecoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = [(width, width)] * (_LAYERS - 1)
        self.encoder = nn.ModuleList([nn.Conv2d(i, o, _KERNEL) for i, o in [(1, width), *inner]])
        self.decoder = nn.ModuleList([nn.ConvTranspose2d(i, o, _KERNEL) for i, o in [*inner, (width, 1)]])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        shortcuts = []
        for number, layer in enumerate(self.encoder):
            image = relu(layer(image))
            if number in (1, 3):
                shortcuts.append(image)
        for number, layer in enumerate(self.decoder):
            image = layer(image)
            if number in (0, 2):
                image = image + shortcuts.pop()
            if number < _LAYERS - 1:
                image = relu(image)
        return image
