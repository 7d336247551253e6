"""MONAI's segmentation networks at sizes that suit slices: ``(B, 1, H, W)`` -> logits ``(B, C, H, W)``.

``width`` is the number of channels at full resolution, doubled at lower levels; ``depth`` counts the levels.
"""

from __future__ import annotations

from monai.networks.nets import BasicUNet, DynUNet, SegResNet
from torch import nn

from taskct_core.networks import PadToMultiple, without_own_padding


def unet(num_classes: int, width: int = 16) -> nn.Module:
    """MONAI's ``BasicUNet`` with four poolings: 495,939 parameters.

    Not its ``UNet``, whose first convolution strides: that one never sees full resolution, and was seen to
    miss nearly all tumours at 64 pixels where this one finds them.
    """
    features = (width, width, 2 * width, 4 * width, 8 * width, width)
    return PadToMultiple(without_own_padding(BasicUNet(2, 1, num_classes, features=features)), 16)


def segresnet(num_classes: int, width: int = 16, depth: int = 4) -> nn.Module:
    """Residual encoder-decoder with group norm: 985,571 parameters. ``width`` is a multiple of 8."""
    blocks_down = (1, *[2] * (depth - 1))
    network = SegResNet(2, width, 1, num_classes, blocks_down=blocks_down, blocks_up=(1,) * (depth - 1))
    return PadToMultiple(network, 2 ** (depth - 1))


def dynunet(num_classes: int, width: int = 16, depth: int = 5) -> nn.Module:
    """nnU-Net's U-Net: 1,942,083 parameters."""
    strides = [1] + [2] * (depth - 1)
    filters = [width * 2**level for level in range(depth)]
    network = DynUNet(2, 1, num_classes, [3] * depth, strides, strides[1:], filters=filters)
    return PadToMultiple(network, 2 ** (depth - 1))
