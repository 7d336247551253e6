"""What a user of the platform writes: an objective, a trainable, a network. Workers find it on PYTHONPATH."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from ray import tune
from torch import nn

from study import objective
from study.trials import epoch_log
from taskct_core.schema import EPOCH, PRIMARY_DICE, PRIMARY_PSNR

WORST_PSNR = "own_plugins:worst_psnr"


@objective("maximize")
def worst_psnr(rows: Sequence[Mapping[str, Any]]) -> float:
    """The PSNR of the worst slice."""
    return min(float(row[PRIMARY_PSNR]) for row in rows)


@objective("minimize")
def broken(rows: Sequence[Mapping[str, Any]]) -> float:
    """Looks for a column that no row has."""
    return float(rows[0]["no_such_column"])


def undeclared(rows: Sequence[Mapping[str, Any]]) -> float:
    """Says not which way is better."""
    return float(len(rows))


def trainable(proposal: dict[str, Any], inputs: Any) -> None:
    """Logs two epochs of made-up scores of the real validation slices."""
    folder = Path(proposal["folder"])
    slices = sum(len(batch["patient"]) for batch in inputs.feeds["validation"].ordered(4, share=_whole()))
    for epoch in (1, 2):
        row = {EPOCH: epoch, WORST_PSNR: epoch + proposal["values"]["alpha"], PRIMARY_DICE: 1 / slices}
        epoch_log.append(folder, row)
        tune.report(row)


class Recording(nn.Module):
    """Writes down which images one of several workers trains with, in ``folder / HOST``: a line for each, its digest."""

    inputs = ("fbp",)

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._file = Path(folder) / platform.node()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, fbp: torch.Tensor) -> torch.Tensor:
        if self.training and torch.distributed.is_initialized():
            with self._file.open("a", encoding="ascii") as file:
                file.writelines(f"{digest(image)}\n" for image in fbp.detach().cpu().numpy())
        return fbp + self.layer(fbp)


def digest(image: NDArray[np.float32]) -> str:
    """Of an image's values."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def _whole() -> Any:
    from study.data.batches import Share

    return Share()
