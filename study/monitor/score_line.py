"""The primary metrics of a row, as the command line prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from taskct_core.schema import METRICS, PRIMARY_DICE, PRIMARY_PSNR, PRIMARY_SSIM


def score_line(row: Mapping[str, Any]) -> str:
    """The primary metrics that a row has, as one line; Dice alone where the image is the full-dose image itself."""
    names = [name for name in (PRIMARY_DICE, PRIMARY_PSNR, PRIMARY_SSIM) if row.get(name) is not None]
    if row.get(PRIMARY_PSNR) == math.inf:
        names = [PRIMARY_DICE]
    return ", ".join(f"{METRICS[name].label} {row[name]:.3f}" for name in names)
