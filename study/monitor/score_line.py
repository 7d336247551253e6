"""The primary metrics of a row, as the command line prints them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from taskct_core.schema import METRICS, PRIMARY_DICE, PRIMARY_PSNR, PRIMARY_SSIM

_CLASS_DICE = ("dice_liver_patient_nnunet", "dice_tumour_patient_nnunet")


def score_line(row: Mapping[str, Any]) -> str:
    """The primary metrics that a row has, as one line; Dice alone where the image is the full-dose image itself."""
    names = [name for name in (PRIMARY_DICE, PRIMARY_PSNR, PRIMARY_SSIM) if row.get(name) is not None]
    return _line([PRIMARY_DICE] if row.get(PRIMARY_PSNR) == math.inf else names, row)


def dice_line(row: Mapping[str, Any]) -> str:
    """The Dice of each class that a row has a number for, as one line: what a task network is judged by."""
    return _line([name for name in _CLASS_DICE if math.isfinite(row.get(name, math.nan))], row)


def _line(names: Sequence[str], row: Mapping[str, Any]) -> str:
    return ", ".join(f"{METRICS[name].label} {row[name]:.3f}" for name in names)
