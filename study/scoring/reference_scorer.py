"""Tunes, makes and scores references piece by piece: a few slices, or a few settings, at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from study.data.batches import Share
from study.trials.inputs import TrialInputs, load_audit
from study.trials.repeats import Repeats, folds_of
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.rows import Batch, SliceRow
from taskct_core.image_quality.measure import ImageQuality, measure
from taskct_core.metrics.slices import evaluate
from taskct_core.projection import RayTransform
from taskct_core.reconstructors.calling import reconstruct
from taskct_core.reconstructors.classical import CLASSICAL, Settings, mean_psnr
from taskct_core.reconstructors.imported import load_reference_network
from taskct_core.task_networks import load_task_network

IMAGES = {"full_dose": schema.FULL_DOSE, "fbp": schema.FBP}  # references that the dataset holds
_TUNING_SLICES = 8


class ReferenceScorer:
    """What scoring references needs, once a process.

    Args:
        inputs: what the study's trials share; of a cross-validation those of each fold.
    """

    def __init__(self, inputs: TrialInputs | Repeats) -> None:
        self._folds = folds_of(inputs)
        self._shared = next(iter(self._folds.values()))
        network, _ = load_task_network(open_folder(self._shared.task_network), self._shared.trust)
        self._judges = {"": network}
        audit, _ = load_audit(self._shared)
        if audit is not None:
            self._judges[schema.AUDIT_NETWORK_SUFFIX] = audit
        self._transform = RayTransform(self._shared.geometry)
        self._networks = {config.name: load_reference_network(config) for config in self._shared.references}
        self._tuning_of: dict[int | None, Batch] = {}

    def _tuning(self, fold: int | None) -> Batch:
        """Some validation slices, the same each time."""
        if fold not in self._tuning_of:
            feed = self._folds[fold].feeds["validation"]
            slices = feed.shuffled(_TUNING_SLICES, seed=0, epoch=0, share=Share())
            self._tuning_of[fold] = next(iter(slices))
        return self._tuning_of[fold]

    def has_sinograms(self) -> bool:
        """Whether the dataset holds what iterative references are made from."""
        return schema.SINOGRAM in self._tuning(next(iter(self._folds)))

    def psnr(self, method: str, settings: Settings, fold: int | None = None) -> float:
        """Mean PSNR [dB] of an iterative reference with some settings, on the tuning slices."""
        tuning = self._tuning(fold)
        return mean_psnr(method, self._transform, tuning[schema.SINOGRAM], tuning[schema.FULL_DOSE], settings)

    def rows(
        self, method: str, settings: Settings, split: str, share: Share, fold: int | None = None
    ) -> list[SliceRow]:
        """Scores of a share of a split's slices."""
        inputs = self._folds[fold]
        batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=share)
        return evaluate(batches, lambda batch: self._image(method, settings, batch), self._judges)

    def panel(
        self, method: str, settings: Settings, fold: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image ``(K, 1, H, W)`` and predicted labels ``(K, H, W)`` of a fold's slices that reports show."""
        image = self._image(method, settings, self._folds[fold].panel)
        return image, self._judges[""].predict(image)

    def image_quality(
        self, method: str, settings: Settings, split: str, fold: int | None = None
    ) -> ImageQuality:
        """Image quality of a reference on a split's inserted lesions."""
        inputs = self._folds[fold]
        return measure(
            inputs.probes.get(split, []),
            lambda batch: self._image(method, settings, batch),
            inputs.image_quality,
        )

    def parameters(self, method: str) -> int:
        """How many numbers a reference has learned, as far as is known: an ONNX file does not tell."""
        network = self._networks.get(method)
        return 0 if network is None else sum(parameter.numel() for parameter in network.parameters())

    @torch.no_grad()
    def _image(self, method: str, settings: Settings, batch: Batch) -> torch.Tensor:
        if method in IMAGES:
            stored: torch.Tensor = dict(batch)[IMAGES[method]]  # type: ignore[assignment]  # a column of images
            return stored
        if method in self._networks:
            network = self._networks[method]
            return reconstruct(network, network.inputs, batch, method)
        return CLASSICAL[method](self._transform, batch[schema.SINOGRAM], **settings)


Piece = Callable[[ReferenceScorer], Any]


def timed(piece: Piece, scorer: ReferenceScorer) -> tuple[Any, float]:
    """What a piece gives, and the processor's seconds that it took."""
    start = time.process_time()
    return piece(scorer), time.process_time() - start
