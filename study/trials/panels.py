"""The few slices that a report shows as images: chosen once a study, kept as small arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from study.data.batches import Batch, Share
from study.data.feed import Feed
from taskct_core import schema
from taskct_core.contracts.files import write_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.tables import write_arrays

PANEL_SLICES = 3
_BATCH_SIZE = 16


def choose_panel(feeds: dict[str, Feed], count: int = PANEL_SLICES) -> Batch:
    """The slices to show, as one batch: those with the largest tumours, each of another patient if it can.

    They come from the test split where there is one. Nothing but the true labels decides, so no method is
    favoured.
    """
    split = "test" if "test" in feeds else "validation"
    candidates = [row for batch in feeds[split].ordered(_BATCH_SIZE, share=Share()) for row in _rows(batch)]
    candidates.sort(key=_interest, reverse=True)
    first_of_patient: dict[str, Batch] = {}
    for row in candidates:
        first_of_patient.setdefault(row[schema.PATIENT], row)
    firsts = list(first_of_patient.values())
    others = [row for row in candidates if not any(row is first for first in firsts)]
    return _stack((firsts + others)[:count]) | {schema.SPLIT: split}


def _rows(batch: Batch) -> list[Batch]:
    count = len(batch[schema.PATIENT])
    return [{name: values[i] for name, values in batch.items()} for i in range(count)]


def _interest(row: Batch) -> tuple[int, int]:
    labels = row[schema.LABELS]
    return int((labels == schema.TUMOUR).sum()), int((labels > 0).sum())


def _stack(rows: list[Batch]) -> Batch:
    return {
        name: torch.stack([row[name] for row in rows])
        if isinstance(rows[0][name], torch.Tensor)
        else [row[name] for row in rows]
        for name in rows[0]
    }


def write_panel_truth(folder: StudyFolder, panel: Batch) -> None:
    """Write which slices are shown, and their true labels, into a study's folder."""
    slices = [
        {schema.PATIENT: patient, schema.SLICE_INDEX: int(index), schema.SPLIT: panel[schema.SPLIT]}
        for patient, index in zip(panel[schema.PATIENT], panel[schema.SLICE_INDEX], strict=True)
    ]
    write_json(folder.panel_slices, slices)
    write_arrays(folder.panel_truth, label=panel[schema.LABELS].numpy().astype(np.uint8))


def write_panel(path: Path, image: torch.Tensor, prediction: torch.Tensor) -> None:
    """Write what one method makes of the shown slices.

    Args:
        path: of the ``.npz`` file.
        image: ``(K, 1, H, W)``, normalised attenuation.
        prediction: ``(K, H, W)``, the task network's labels.
    """
    write_arrays(
        path,
        image=image.detach().squeeze(1).cpu().numpy().astype(np.float16),
        prediction=prediction.cpu().numpy().astype(np.uint8),
    )
