"""Batches to the device that trains, and results back, so that the device is never waited for.

A GPU works through a queue. What reads one of its values (``.item()``, ``.cpu()``, ``if tensor``), and a copy from
memory that is not page-locked, holds this process until the queue is empty, and the queue empty until it goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch

from taskct_core.contracts.rows import Batch, batch_of

_BATCHES_AHEAD = 2


class Placed(NamedTuple):
    """A batch that is used on a device.

    Attributes:
        host: as it came, in this process's memory.
        batch: with its tensors on the device.
    """

    host: Batch
    batch: Batch


def on_device(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A tensor on ``device``, through page-locked memory where that is a GPU: the copy is queued, not waited for."""
    is_upload = torch.device(device).type == "cuda" and tensor.device.type == "cpu"
    source = tensor.pin_memory() if is_upload else tensor
    return source.to(device, non_blocking=True)


def to_device(batch: Batch, device: torch.device | str) -> Batch:
    """The batch with its tensors on ``device``."""
    return batch_of(
        {
            name: on_device(value, device) if isinstance(value, torch.Tensor) else value
            for name, value in batch.items()
        }
    )


def placed(batches: Iterable[Batch], device: torch.device) -> Iterator[Placed]:
    """The batches on ``device``; a GPU is given the next ones on a stream of their own while it computes."""
    if device.type != "cuda":
        yield from (Placed(batch, to_device(batch, device)) for batch in batches)
        return
    copying = torch.cuda.Stream(device)
    ahead: deque[tuple[Placed, torch.cuda.Event]] = deque()
    for batch in batches:
        with torch.cuda.stream(copying):
            ahead.append((Placed(batch, to_device(batch, device)), copying.record_event()))
        if len(ahead) > _BATCHES_AHEAD:
            yield _arrived(*ahead.popleft(), torch.cuda.current_stream(device))
    while ahead:
        yield _arrived(*ahead.popleft(), torch.cuda.current_stream(device))


def _arrived(ready: Placed, copied: torch.cuda.Event, stream: torch.cuda.Stream) -> Placed:
    """The batch, which what is queued on ``stream`` from now on may use."""
    stream.wait_event(copied)
    for value in ready.batch.values():
        if isinstance(value, torch.Tensor):
            value.record_stream(stream)  # its memory is not given away before what uses it has run
    return ready


class ToHost:
    """Tensors of one device on their way into this process's memory, behind what is queued there so far."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._tensors = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
        device = tensors[0].device
        is_queued = device.type == "cuda"
        self._copied = torch.cuda.current_stream(device).record_event() if is_queued else None

    def read(self) -> list[torch.Tensor]:
        """The tensors in this process's memory; waits until they are there, but not for what was queued after them."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensors
