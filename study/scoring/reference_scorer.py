"""Tunes, makes and scores references piece by piece: a few slices, or a few settings, at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch

from study.data.batches import Share
from study.trials.trial import TrialInputs
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.metrics.slices import evaluate
from taskct_core.projection import RayTransform
from taskct_core.reconstructors.classical import CLASSICAL, Settings, mean_psnr
from taskct_core.task_networks import load_task_network

IMAGES = {"full_dose": schema.FULL_DOSE, "fbp": schema.FBP}  # references that the dataset holds
_TUNING_SLICES = 8


class ReferenceScorer:
    """What scoring references needs, once a process.

    Args:
        inputs: what the study's trials share.
    """

    def __init__(self, inputs: TrialInputs) -> None:
        self._inputs = inputs
        self._task_network, _ = load_task_network(open_folder(inputs.task_network), inputs.trust)
        self._transform = RayTransform(inputs.geometry)

    @cached_property
    def _tuning(self) -> Batch:
        """Some validation slices, the same each time."""
        slices = self._inputs.feeds["validation"].shuffled(_TUNING_SLICES, seed=0, epoch=0, share=Share())
        return next(iter(slices))

    def has_sinograms(self) -> bool:
        """Whether the dataset holds what iterative references are made from."""
        return schema.SINOGRAM in self._tuning

    def psnr(self, method: str, settings: Settings) -> float:
        """Mean PSNR [dB] of an iterative reference with some settings, on the tuning slices."""
        tuning = self._tuning
        return mean_psnr(method, self._transform, tuning[schema.SINOGRAM], tuning[schema.FULL_DOSE], settings)

    def rows(self, method: str, settings: Settings, split: str, share: Share) -> list[SliceRow]:
        """Scores of a share of a split's slices."""
        batches = self._inputs.feeds[split].ordered(self._inputs.evaluation_batch_size, share=share)
        return evaluate(batches, lambda batch: self._image(method, settings, batch), {"": self._task_network})

    def panel(self, method: str, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
        """Image ``(K, 1, H, W)`` and predicted labels ``(K, H, W)`` of the slices that reports show."""
        image = self._image(method, settings, self._inputs.panel)
        return image, self._task_network.predict(image)

    def _image(self, method: str, settings: Settings, batch: Batch) -> torch.Tensor:
        if method in IMAGES:
            stored: torch.Tensor = dict(batch)[IMAGES[method]]  # type: ignore[assignment]  # a column of images
            return stored
        return CLASSICAL[method](self._transform, batch[schema.SINOGRAM], **settings)


Piece = Callable[[ReferenceScorer], Any]


def timed(piece: Piece, scorer: ReferenceScorer) -> tuple[Any, float]:
    """What a piece gives, and the processor's seconds that it took."""
    start = time.process_time()
    return piece(scorer), time.process_time() - start
