"""U-Net post-processing of the FBP (FBPConvNet: Jin et al. 2017, doi:10.1109/TIP.2017.2713099)."""

from __future__ import annotations

from typing import Literal

from monai.networks.nets import BasicUNet

from taskct_core.networks import PadToMultiple, without_own_padding
from taskct_core.reconstructors.residual import Residual


class ResidualUNet(Residual):
    """MONAI's ``BasicUNet`` with four poolings. 495,905 parameters at width 16.

    Args:
        width: channels of the full-resolution level; the levels have 1, 1, 2, 4, 8 times as many.
        norm: instance norm works at every batch size and has no running statistics.
    """

    def __init__(self, width: int = 16, norm: Literal["instance", "batch"] = "instance") -> None:
        features = (width, width, 2 * width, 4 * width, 8 * width, width)
        network = BasicUNet(2, 1, 1, features=features, norm=(norm, {"affine": True}))
        super().__init__(PadToMultiple(without_own_padding(network), multiple=16), last=network.final_conv)
