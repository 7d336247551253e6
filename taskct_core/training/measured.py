"""What the steps of an epoch measure: it stays on the device, and is read some dozens of steps at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import torch

from taskct_core.errors import DataError, TrainingError

Measured = dict[str, torch.Tensor]  # losses and gradient norms by column; 0-dim float64, on the device

READ_EVERY = 50  # steps; reading waits until the device has worked off what is queued


class _Step(NamedTuple):
    number: int  # from 1
    samples: int
    names: tuple[str, ...]
    values: torch.Tensor  # of the names, on the device


class Means:
    """Means over samples of what the steps of an epoch measured; each over the samples it was measured on.

    Args:
        epoch: from 1, for messages.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._unread: list[_Step] = []
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._samples = 0
        self._steps = 0

    def add(self, measured: Measured, samples: int) -> None:
        """Take in the next step's figures, means over its ``samples``.

        Raises:
            TrainingError: if a figure of one of the last ``READ_EVERY`` steps is not finite, naming step and values.
        """
        self._steps += 1
        self._unread.append(
            _Step(self._steps, samples, tuple(measured), torch.stack(list(measured.values())))
        )
        if len(self._unread) >= READ_EVERY:
            self._read()

    def result(self) -> dict[str, float]:
        """The means, and ``samples``: how many there were in all.

        Raises:
            TrainingError: as ``add``.
            DataError: if there was no step.
        """
        if not self._steps:
            raise DataError(
                "an epoch needs training samples", "none", "Give the train split a patient (data.split)."
            )
        self._read()
        means = {name: self._sums[name] / self._counts[name] for name in self._sums}
        return means | {"samples": self._samples}

    def _read(self) -> None:
        steps, self._unread = self._unread, []
        if not steps:
            return
        values = iter(torch.cat([step.values for step in steps]).tolist())
        for step in steps:
            self._take_in(step, {name: next(values) for name in step.names})

    def _take_in(self, step: _Step, measured: dict[str, float]) -> None:
        if not all(map(math.isfinite, measured.values())):
            values = ", ".join(f"{name} = {value:.6g}" for name, value in measured.items())
            raise TrainingError(
                "losses and gradients must stay finite",
                f"{values} at step {step.number} of epoch {self._epoch}",
                "Lower the learning rate, or choose another loss or architecture.",
            )
        self._samples += step.samples
        for name, value in measured.items():
            self._sums[name] += step.samples * value
            self._counts[name] += step.samples
