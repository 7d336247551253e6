"""Task losses that small lesions weigh in as much as large ones."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, label
from torch import nn

from taskct_core.losses.task import dice_cross_entropy
from taskct_core.schema import TUMOUR
from taskct_core.transfer import on_device

_MISSED, _FALSE, _GAMMA = 0.7, 0.3, 4 / 3
_SMOOTHING = 1.0  # pixels
_EIGHT_CONNECTED = np.ones((3, 3), int)


class FocalTversky(nn.Module):
    """(1 - Tversky index)^(3/4) of each class and slice (Abraham & Khan 2019), so that poor ones weigh more.

    Missed pixels count 0.7, false ones 0.3; the background is left out, and one pixel of smoothing makes an absent
    structure cost nothing once none of it is predicted.
    """

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        predicted = logits.softmax(1)[:, 1:]
        truth = torch.zeros_like(logits).scatter_(1, labels, 1)[:, 1:]
        overlap = (predicted * truth).sum((2, 3))
        missed, false = truth.sum((2, 3)) - overlap, predicted.sum((2, 3)) - overlap
        index = (overlap + _SMOOTHING) / (overlap + _MISSED * missed + _FALSE * false + _SMOOTHING)
        # Near 0 the power has no finite slope.
        return (1 - index).clamp_min(1e-6).pow(1 / _GAMMA).mean() - 1e-6 ** (1 / _GAMMA)


class LesionDiceCrossEntropy(nn.Module):
    """``dice_ce`` + 1 - the soft Dice of each lesion, averaged over a slice's lesions and over slices.

    A lesion is an 8-connected component of tumour pixels. Its Dice is taken over the pixels that no other lesion is
    nearer to, so that each has one place of its own and counts once, whatever its size (after the blob loss of Kofler
    et al. 2023). A slice without tumour has the Dice of the whole slice.
    """

    def __init__(self) -> None:
        super().__init__()
        self._whole = dice_cross_entropy()

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self._whole(logits, labels)
        if logits.shape[1] <= TUMOUR:  # the network knows no tumours
            return loss
        tumour = logits.softmax(1)[:, TUMOUR]
        truth = labels[:, 0] == TUMOUR
        # Lesions are found by this process: a wait for the device in every batch.
        slices = [
            self._of_slice(predicted, mask, *_cells(found))
            for predicted, mask, found in zip(tumour, truth, truth.cpu().numpy(), strict=True)
        ]
        return loss + torch.stack(slices).mean()

    def _of_slice(
        self, predicted: torch.Tensor, truth: torch.Tensor, cells: np.ndarray, count: int
    ) -> torch.Tensor:
        cell = on_device(torch.from_numpy(cells), predicted.device).flatten()
        zero = predicted.new_zeros(count)
        sums = [
            zero.index_add(0, cell, values.flatten())
            for values in (predicted * truth, predicted, truth.to(predicted.dtype))
        ]
        overlap, total, true = sums
        return (1 - (2 * overlap + _SMOOTHING) / (total + true + _SMOOTHING)).mean()


def _cells(truth: np.ndarray) -> tuple[np.ndarray, int]:
    """The number of the nearest lesion for each pixel, from 0 on, and how many there are; one cell without lesions."""
    lesions, count = label(truth, structure=_EIGHT_CONNECTED)
    if count <= 1:
        return np.zeros(truth.shape, np.int64), 1
    rows, columns = distance_transform_edt(lesions == 0, return_distances=False, return_indices=True)
    return lesions[rows, columns].astype(np.int64) - 1, int(count)
