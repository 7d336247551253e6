"""A small Restormer: attention over channels (Zamir et al. 2022, arXiv:2111.09881)."""

from __future__ import annotations

from monai.networks.nets.restormer import Restormer

from taskct_core.networks import PadToMultiple
from taskct_core.reconstructors.residual import Residual


class ResidualRestormer(Residual):
    """MONAI's ``Restormer`` with three levels of one block. 217,883 parameters at width 16 (published: 48).

    Args:
        width: channels at full resolution, doubled at each level; even.
    """

    def __init__(self, width: int = 16) -> None:
        network = Restormer(
            2, 1, 1, dim=width, num_blocks=(1, 1, 1), heads=(1, 2, 4), num_refinement_blocks=1
        )
        super().__init__(PadToMultiple(network, multiple=4), last=network.output)
