"""MONAI's segmentation networks at sizes that suit slices: ``(B, 1, H, W)`` -> logits ``(B, C, H, W)``."""

from __future__ import annotations

from monai.networks.nets import UNet
from torch import nn

from taskct_core.padding import PadToMultiple


def unet(num_classes: int, width: int = 16, depth: int = 5) -> nn.Module:
    """Residual U-Net of ``depth`` levels; ``width`` channels at full resolution, doubled at each level."""
    channels = [width * 2**level for level in range(depth)]
    network = UNet(2, 1, num_classes, channels=channels, strides=[2] * (depth - 1), num_res_units=2)
    return PadToMultiple(network, 2 ** (depth - 1))
