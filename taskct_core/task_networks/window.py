"""The display window as the first layer of a task network, with a gradient everywhere."""

from __future__ import annotations

import torch
from torch import nn

from taskct_core.hounsfield import MU_MAX, hu_to_mu

# The slope outside the window, as a share of the slope inside. A plain clamp has no gradient there, so a
# reconstruction that has left the window (or starts from zeros) could never be pulled back in.
OUTER_SLOPE = 0.01


class HUWindow(nn.Module):
    """Normalised attenuation -> 0 at the window's lower edge, 1 at its upper, nearly flat beyond.

    With y the position in the window, the output is ``clamp(y, 0, 1) + OUTER_SLOPE * (y - clamp(y, 0, 1))``.
    The liver window is 11 % of the normalised range: without it, a network would hardly see the liver.
    """

    def __init__(self, low_hu: float, high_hu: float) -> None:
        super().__init__()
        self.low = hu_to_mu(low_hu) / MU_MAX
        self.width = hu_to_mu(high_hu) / MU_MAX - self.low

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        position = (image - self.low) / self.width
        inside = position.clamp(0, 1)
        return inside + OUTER_SLOPE * (position - inside)
