"""Batches as training loops take them, and which of a split's samples a worker takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core import schema
from taskct_core.config import StrictModel
from taskct_core.contracts.rows import Batch, batch_of

Columns = dict[str, NDArray[Any]]  # the first axis is the sample
_IMAGES = (schema.FULL_DOSE, schema.FBP, schema.SINOGRAM)


class Share(StrictModel):
    """Which of the workers that share each split sees it; ``EpochOrder`` says what is whose."""

    rank: int = 0
    world_size: int = 1


def to_batch(columns: Columns) -> Batch:
    """Columns of a shard -> tensors: images ``(B, 1, H, W)`` float32, labels ``(B, H, W)`` uint8; not the bases."""
    batch: dict[str, Any] = {}
    for name, values in columns.items():
        if name in _IMAGES:
            batch[name] = torch.from_numpy(_writable(values)).unsqueeze(1)
        elif name in schema.BASE_COLUMNS:
            continue
        elif name == schema.LABELS:
            batch[name] = torch.from_numpy(_writable(values.astype(np.uint8, copy=False)))
        else:
            batch[name] = values.tolist()
    return batch_of(batch)


def _writable(values: NDArray[Any]) -> NDArray[Any]:
    """Streamed batches are views of shared memory, which torch must not be given."""
    return values if values.flags.writeable and values.flags.c_contiguous else values.copy()
