"""Single-slice rows of any way to make images: a trained reconstructor, a reference, an outside model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from taskct_core.contracts.rows import Batch, ImageColumn, SliceRow, batch_of, slice_row
from taskct_core.metrics.image import image_metrics
from taskct_core.metrics.segmentation import segmentation_counts
from taskct_core.metrics.tissue_errors import tissue_errors
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

LossesOfSlice = Callable[[Batch, torch.Tensor, Mapping[str, torch.Tensor]], dict[str, float]]


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The batch with its tensors on ``device``."""
    return batch_of(
        {
            name: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }
    )


@torch.no_grad()
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
        losses: further columns of one slice, given the batch of that slice, its image and each network's logits.

    Returns:
        One row a slice: patient, slice index, image metrics, and counts for each network.
    """
    rows: list[SliceRow] = []
    was_training = {network: network.training for network in task_networks.values()}
    for network in task_networks.values():
        network.eval()
    for batch in batches:
        batch = to_device(batch, device)
        rows += score_slices(batch, reconstruct(batch), task_networks, losses)
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


def score_slices(
    batch: Batch,
    images: torch.Tensor,
    task_networks: Mapping[str, TaskNetwork],
    losses: LossesOfSlice | None = None,
) -> list[SliceRow]:
    """One row for each of a batch's images ``(B, 1, H, W)``; see ``evaluate``."""
    metrics = image_metrics(images, batch[FULL_DOSE], batch[LABELS])
    errors = tissue_errors(images, batch[FULL_DOSE], batch[LABELS])
    columns: dict[str, list[Any]] = {
        PATIENT: [str(name) for name in batch[PATIENT]],
        SLICE_INDEX: [int(index) for index in batch[SLICE_INDEX]],
        **{name: values.tolist() for name, values in (metrics | errors).items()},
    }
    if PHOTONS_PER_RAY in batch:
        columns[PHOTONS_PER_RAY] = [float(photons) for photons in batch[PHOTONS_PER_RAY]]
    logits = {suffix: network(images) for suffix, network in task_networks.items()}
    for suffix, network in task_networks.items():
        predicted = logits[suffix].argmax(1)
        counts = segmentation_counts(
            predicted,
            batch[LABELS],
            knows_tumour=network.num_classes > TUMOUR,
            pixel_spacing_mm=batch.get(PIXEL_SPACING_MM),
        )
        columns.update({name + suffix: values for name, values in counts.items()})
    rows = [
        slice_row(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    ]
    if losses is None:
        return rows
    return [
        slice_row(row, losses(sample_of(batch, index), images[index : index + 1], _at(logits, index)))
        for index, row in enumerate(rows)
    ]


def sample_of(batch: Batch, index: int) -> Batch:
    """One sample of a batch, as a batch of one."""
    return batch_of(_at(batch, index))


def _at(columns: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {name: values[index : index + 1] for name, values in columns.items()}
