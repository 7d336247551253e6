"""Errors in HU by tissue, as sums over each slice, from which the bias of any set of slices follows."""

from __future__ import annotations

import torch
from torch.nn.functional import max_pool2d

from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.schema import BACKGROUND, LABEL_OF, TISSUES_HU

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
    tissues = _tissues(truth, labels)
    columns = {}
    for number, tissue in enumerate(TISSUES_HU, start=1):
        counted = tissues == number
        columns[f"{tissue}_error_sum_hu"] = torch.where(counted, error, 0).sum((1, 2))
        columns[f"{tissue}_error_pixels"] = counted.sum((1, 2)).double()
    return columns


def _tissues(truth_hu: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """``(B, H, W)``: the number of the tissue among which a pixel lies, 0 at edges and of none; the image's rim is no edge."""
    tissues = torch.zeros_like(truth_hu, dtype=torch.float32)
    for number, (tissue, (low, high)) in enumerate(TISSUES_HU.items(), start=1):
        is_tissue = (labels == LABEL_OF.get(tissue, BACKGROUND)) & (truth_hu >= low) & (truth_hu <= high)
        tissues.masked_fill_(is_tissue, number)
    highest, lowest = (
        sign * max_pool2d(sign * tissues[:, None], _AMONG_LIKE, stride=1, padding=_AMONG_LIKE // 2)[:, 0]
        for sign in (1, -1)
    )
    return torch.where(highest == lowest, tissues, 0)
