"""SegResNet as a post-processor: residual blocks in an encoder-decoder (Myronenko 2018, arXiv:1810.11654)."""

from __future__ import annotations

from monai.networks.nets import SegResNet

from taskct_core.networks import PadToMultiple
from taskct_core.reconstructors.residual import Residual


class ResidualSegResNet(Residual):
    """MONAI's ``SegResNet`` with two down-samplings. 238,785 parameters at width 16.

    Args:
        width: channels at full resolution, doubled at each level; a multiple of 8, for the group norm.
    """

    def __init__(self, width: int = 16) -> None:
        network = SegResNet(2, width, 1, 1, blocks_down=(1, 2, 2), blocks_up=(1, 1))
        super().__init__(PadToMultiple(network, multiple=4), last=network.conv_final[-1])
