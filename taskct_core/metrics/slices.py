"""Single-slice rows of any way to make images: a trained reconstructor, a reference, an outside model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from taskct_core.contracts.rows import Batch, ImageColumn, SliceRow, batch_of, slice_row
from taskct_core.metrics.image import image_metrics
from taskct_core.metrics.segmentation import segmentation_counts
from taskct_core.metrics.tissue_errors import tissue_errors
from taskct_core.networks import exact_convolutions
from taskct_core.schema import (
    FULL_DOSE,
    LABELS,
    PATIENT,
    PHOTONS_PER_RAY,
    PIXEL_SPACING_MM,
    SLICE_INDEX,
    TUMOUR,
)
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.transfer import ToHost, placed

LossesOfSlice = Callable[[Batch, torch.Tensor, Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]


@torch.no_grad()
@exact_convolutions()
def evaluate(
    batches: Iterable[Batch],
    reconstruct: Callable[[Batch], torch.Tensor],
    task_networks: Mapping[str, TaskNetwork],
    device: torch.device | str = "cpu",
    losses: LossesOfSlice | None = None,
) -> list[SliceRow]:
    """Score images slice by slice. ``metrics.summarise`` turns the rows into the metrics of a split.

    Args:
        batches: with ``full_dose (B, 1, H, W)``, ``labels (B, H, W)``, ``patient``, ``slice_index`` and
            what ``reconstruct`` wants.
        reconstruct: batch on ``device`` -> ``(B, 1, H, W)``. References are such functions too:
            ``lambda batch: batch["full_dose"]``.
        task_networks: column suffix of ``schema.NETWORK_SUFFIXES`` -> network on ``device``.
        losses: further columns of one slice as 0-dim tensors, given the batch of that slice, its image and each
            network's logits.

    Returns:
        One row a slice: patient, slice index, image metrics, and counts for each network.
    """
    rows: list[SliceRow] = []
    was_training = {network: network.training for network in task_networks.values()}
    for network in task_networks.values():
        network.eval()
    scored: _ScoredBatch | None = None
    for host, batch in placed(batches, torch.device(device)):
        following = _ScoredBatch(host, batch, reconstruct(batch), task_networks, losses)
        if scored is not None:
            rows += scored.rows()  # counted here while the device makes the next batch's images
        scored = following
    if scored is not None:
        rows += scored.rows()
    for network, training in was_training.items():
        network.train(training)
    return rows


def evaluate_images(
    task_network: TaskNetwork,
    batches: Iterable[Batch],
    column: ImageColumn,
    device: torch.device | str = "cpu",
) -> list[SliceRow]:
    """Score images that the batches hold already, such as ``full_dose`` and ``fbp``; see ``evaluate``."""
    return evaluate(batches, lambda batch: batch[column], {"": task_network}, device)


class _ScoredBatch:
    """Scores of a batch's images ``(B, 1, H, W)``: what the device computes is queued at once, and read by ``rows``.

    Args:
        host: the batch in this process's memory.
        batch: the same on the device.
        images: on the device.
        task_networks, losses: see ``evaluate``.
    """

    def __init__(
        self,
        host: Batch,
        batch: Batch,
        images: torch.Tensor,
        task_networks: Mapping[str, TaskNetwork],
        losses: LossesOfSlice | None,
    ) -> None:
        self._host = host
        self._knows_tumour = {
            suffix: network.num_classes > TUMOUR for suffix, network in task_networks.items()
        }
        columns = image_metrics(images, batch[FULL_DOSE], batch[LABELS])
        columns |= tissue_errors(images, batch[FULL_DOSE], batch[LABELS])
        logits = {suffix: network(images) for suffix, network in task_networks.items()}
        of_losses = _of_each_slice(losses, batch, images, logits) if losses else {}
        self._names, self._loss_names = list(columns), list(of_losses)
        figures = torch.stack([*columns.values(), *of_losses.values()])
        predicted = [answers.argmax(1).to(torch.uint8) for answers in logits.values()]
        self._results = ToHost([figures, *predicted])

    def rows(self) -> list[SliceRow]:
        """One row a slice."""
        figures, *predicted = self._results.read()
        values = dict(zip([*self._names, *self._loss_names], figures.tolist(), strict=True))
        host = self._host
        columns: dict[str, list[Any]] = {
            PATIENT: [str(name) for name in host[PATIENT]],
            SLICE_INDEX: [int(index) for index in host[SLICE_INDEX]],
            **{name: values[name] for name in self._names},
        }
        if PHOTONS_PER_RAY in host:
            columns[PHOTONS_PER_RAY] = [float(photons) for photons in host[PHOTONS_PER_RAY]]
        for (suffix, knows_tumour), labels in zip(self._knows_tumour.items(), predicted, strict=True):
            counts = segmentation_counts(
                labels,
                host[LABELS],
                knows_tumour=knows_tumour,
                pixel_spacing_mm=host.get(PIXEL_SPACING_MM),
            )
            columns.update({name + suffix: found for name, found in counts.items()})
        columns |= {name: values[name] for name in self._loss_names}
        return [
            slice_row(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ]


def _of_each_slice(
    losses: LossesOfSlice, batch: Batch, images: torch.Tensor, logits: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Column -> float64 ``(B,)``."""
    slices = [
        losses(sample_of(batch, index), images[index : index + 1], _at(logits, index))
        for index in range(len(images))
    ]
    return {name: torch.stack([found[name].double() for found in slices]) for name in slices[0]}


def sample_of(batch: Batch, index: int) -> Batch:
    """One sample of a batch, as a batch of one."""
    return batch_of(_at(batch, index))


def _at(columns: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {name: values[index : index + 1] for name, values in columns.items()}
