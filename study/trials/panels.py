"""The few slices that a report shows as images: chosen once a study, kept as small arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from study.data.batches import Share
from study.data.feed import Feed
from taskct_core import schema
from taskct_core.contracts.files import write_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import Batch, batch_of
from taskct_core.contracts.tables import read_arrays, write_arrays
from taskct_core.errors import DataError
from taskct_core.metrics.slices import sample_of

PANEL_SLICES = 6  # of other patients, of whom a report shows a typical one and the worst
SLICES_A_FOLD = 3
_BATCH_SIZE = 16


def choose_panel(feeds: dict[str, Feed], count: int = PANEL_SLICES) -> Batch:
    """The slices to show, as one batch: those with the largest tumours, each of another patient if it can.

    They come from the test split where there is one. Nothing but the true labels decides, so no method is
    favoured.
    """
    split = "test" if "test" in feeds else "validation"
    kept: list[Batch] = []  # no more than may be shown: a split need not fit into memory
    for batch in feeds[split].ordered(_BATCH_SIZE, share=Share()):
        samples = [sample_of(batch, index) for index in range(len(batch[schema.PATIENT]))]
        firsts, others = _most_interesting(kept + samples)
        kept = firsts[:count] + others[:count]
    return batch_of({**_joined(kept[:count]), schema.SPLIT: split})


def _most_interesting(samples: list[Batch]) -> tuple[list[Batch], list[Batch]]:
    """The most interesting sample of each patient and the other samples, each from the most interesting on."""
    samples = sorted(samples, key=_interest, reverse=True)
    first_of_patient: dict[str, Batch] = {}
    for sample in samples:
        first_of_patient.setdefault(sample[schema.PATIENT][0], sample)
    firsts = list(first_of_patient.values())
    return firsts, [sample for sample in samples if not any(sample is first for first in firsts)]


def _interest(sample: Batch) -> tuple[int, int]:
    labels = sample[schema.LABELS]
    return int((labels == schema.TUMOUR).sum()), int((labels > 0).sum())


def _joined(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: torch.cat([sample[name] for sample in samples])
        if isinstance(samples[0][name], torch.Tensor)
        else [value for sample in samples for value in sample[name]]
        for name in samples[0]
    }


def write_panel_truth(folder: StudyFolder, panels: Sequence[Batch]) -> None:
    """Write which slices are shown, those of each fold after another, and their true labels, into a study's folder."""
    slices = [
        {schema.PATIENT: patient, schema.SLICE_INDEX: int(index), schema.SPLIT: panel[schema.SPLIT]}
        for panel in panels
        for patient, index in zip(panel[schema.PATIENT], panel[schema.SLICE_INDEX], strict=True)
    ]
    write_json(folder.panel_slices, slices)
    labels = torch.cat([panel[schema.LABELS] for panel in panels])
    write_arrays(folder.panel_truth, label=labels.numpy().astype(np.uint8))


def join_panels(sources: Sequence[Path], target: Path) -> None:
    """Write what the runs of a trial on each fold made of their slices, one after another.

    Nothing is written unless every run has left its panel: images are an aid, and no trial fails for them.
    """
    try:
        parts = [read_arrays(path) for path in sources]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in ("image", "prediction")}
    except (OSError, DataError, KeyError, ValueError):
        return
    write_arrays(target, **joined)


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
