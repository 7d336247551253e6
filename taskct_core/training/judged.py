"""Which samples of a batch the task loss takes in: those that have what it compares with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch

from taskct_core.schema import UNLABELLED
from taskct_core.transfer import on_device


@dataclass(frozen=True)
class Judged:
    """Samples of a batch.

    Attributes:
        count: how many they are.
        places: their places in the batch, on the device; None where they are all of it.
    """

    count: int
    places: torch.Tensor | None = None

    @classmethod
    def labelled(cls, labels: torch.Tensor, device: torch.device) -> Self:
        """Those of ``labels (B, H, W)`` that somebody labelled; a slice has all of its labels or none.

        The labels are read where they lie: give those in this process's memory, before they are on a GPU.
        """
        corners = labels[:, 0, 0].tolist()
        places = [place for place, corner in enumerate(corners) if corner != UNLABELLED]
        if len(places) == len(corners):
            return cls(len(corners))
        return cls(len(places), on_device(torch.tensor(places, dtype=torch.int64), device))

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """Their part of ``values (B, ...)``."""
        return values if self.places is None else values.index_select(0, self.places)
