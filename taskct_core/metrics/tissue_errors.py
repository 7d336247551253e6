"""Errors in HU by tissue, as sums over each slice, from which the bias of any set of slices follows."""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool2d

from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.schema import BACKGROUND, LIVER, TISSUES_HU, TUMOUR

_LABELS = {"liver": LIVER, "tumour": TUMOUR}
_AMONG_LIKE = 3  # edge of the square that must be of one tissue


def tissue_errors(
    image: torch.Tensor, full_dose: torch.Tensor, labels: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Summed error and number of the pixels of every tissue, of each slice.

    Args:
        image, full_dose: ``(B, 1, H, W)`` normalised attenuation.
        labels: ``(B, H, W)``.

    Returns:
        Column of ``schema.ERROR_COUNTS`` -> float64 ``(B,)``; the sums are of HU.
    """
    truth = mu_to_hu(full_dose[:, 0].double() * MU_MAX)
    error = mu_to_hu(image[:, 0].double() * MU_MAX) - truth
    columns = {}
    for tissue, (low, high) in TISSUES_HU.items():
        is_tissue = (labels == _LABELS.get(tissue, BACKGROUND)) & (truth >= low) & (truth <= high)
        among_like = _among_like(is_tissue)
        columns[f"{tissue}_error_sum_hu"] = torch.where(among_like, error, 0).sum((1, 2))
        columns[f"{tissue}_error_pixels"] = among_like.sum((1, 2)).double()
    return columns


def _among_like(mask: torch.Tensor) -> torch.Tensor:
    """The mask without its edge; the image's rim is no edge."""
    others = (~mask)[:, None].float()
    return max_pool2d(others, _AMONG_LIKE, stride=1, padding=_AMONG_LIKE // 2)[:, 0] == 0
