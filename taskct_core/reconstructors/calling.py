"""Calling a reconstructor on a batch of samples, and checking what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from taskct_core.contracts.rows import Batch
from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import FULL_DOSE


def reconstruct(
    reconstructor: Callable[..., torch.Tensor], inputs: tuple[str, ...], batch: Batch, architecture: str
) -> torch.Tensor:
    """Images ``(B, 1, H, W)`` of a batch, in normalised attenuation.

    Args:
        reconstructor: a module, or what calls one.
        inputs: names of the batch's tensors that it is called with.
        batch: samples, as the feeds give them.
        architecture: its name, for messages.

    Raises:
        DataError: if the batch lacks a tensor that the architecture needs.
        ConfigError: if the result has not the full-dose image's shape.
    """
    missing = [name for name in inputs if name not in batch]
    if missing:
        raise DataError(
            f"the architecture {architecture!r} needs {', '.join(inputs)} in every sample",
            f"samples without {', '.join(missing)}",
            "Simulate with simulation.store_sinogram: true, or choose another architecture.",
        )
    columns: Mapping[str, object] = batch
    image = reconstructor(*(columns[name] for name in inputs))
    if image.shape != batch[FULL_DOSE].shape:
        raise ConfigError(
            "a reconstructor must return images of the full-dose image's shape",
            f"{tuple(image.shape)} from {architecture!r} for {tuple(batch[FULL_DOSE].shape)}",
            "Give it one output channel, and the image's height and width.",
        )
    return image
