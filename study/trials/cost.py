"""What a trained network costs to use: seconds a slice and memory, for constraints and for the table.

Both depend on the machine and on what else it does, unlike every other column of an epoch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from taskct_core import schema
from taskct_core.contracts.rows import Batch

_REPETITIONS = 3
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what the kernel takes for: forget the highest resident memory so far


class CostMeter:
    """Measures one trial's cost on its device.

    Args:
        device: that the trial runs on.
        shown: the slices to reconstruct, as one batch; empty for no latency.
    """

    def __init__(self, device: torch.device, shown: Batch) -> None:
        self._device = device
        self._shown = shown
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with suppress(OSError):  # a sandbox may forbid it: the peak is then that of the process's life
                _CLEAR.write_text(_RESET_PEAK)

    def columns(self, reconstruct: Callable[[Batch], torch.Tensor]) -> dict[str, Any]:
        """Seconds to reconstruct a slice, the least of a few repetitions, and the peak memory in MB so far."""
        columns: dict[str, Any] = {schema.PEAK_MEMORY_MB: self._peak_memory_mb()}
        if self._shown:
            seconds = min(self._seconds(reconstruct) for _ in range(_REPETITIONS))
            columns[schema.SECONDS_PER_SLICE] = seconds / len(self._shown[schema.PATIENT])
        return columns

    def _seconds(self, reconstruct: Callable[[Batch], torch.Tensor]) -> float:
        self._synchronize()
        start = time.perf_counter()
        reconstruct(self._shown)
        self._synchronize()
        return time.perf_counter() - start

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _peak_memory_mb(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), flags=re.MULTILINE)
        return float(kilobytes) * 1024 / 1e6
