"""The windows of filtered back-projection by name. One line a filter; importing them does not import PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Window over |frequency| as a share of the cut-off, in [0, 1].
FILTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "ram-lak": lambda share: share.new_ones(share.shape),
    "shepp-logan": lambda share: (share / 2).sinc(),
    "cosine": lambda share: (share * (math.pi / 2)).cos(),
    "hamming": lambda share: 0.54 + 0.46 * (share * math.pi).cos(),
    "hann": lambda share: 0.5 + 0.5 * (share * math.pi).cos(),
}
