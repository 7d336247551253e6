"""A trainable that looks learning curves up instead of training: it runs the whole platform in seconds.

The curves have the shape of the real trade-off: PSNR falls and Dice rises with alpha, wider networks learn
better and slower, and a learning rate far from 1e-3 costs both. Each point has noise of its own.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune

from study.trials import epoch_log
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import TrialFolder
from taskct_core.schema import EPOCH, PARAMETERS, PRIMARY_DICE, PRIMARY_PSNR

SPACE: dict[str, Any] = {
    "alpha": {"kind": "uniform", "low": 0.0, "high": 1.0},
    "learning_rate": {"kind": "log", "low": 1e-4, "high": 1e-2},
    "architecture": {
        "kind": "choice",
        "values": {
            "unet": {"width": {"kind": "int", "low": 8, "high": 32, "log": True}},
            "lookup:other": {"depth": {"kind": "int", "low": 2, "high": 6}},
        },
    },
}
DIRECTIONS = {PRIMARY_DICE: "maximize", PRIMARY_PSNR: "maximize", PARAMETERS: "minimize"}


def row_at(values: dict[str, Any], epoch: int) -> dict[str, float]:
    """The row that a trial with these values reports at ``epoch`` (from 1)."""
    alpha = values["alpha"]
    architecture = values.get("architecture", "unet")
    size = sum(values.get("architecture_parameters", {"width": 16}).values())
    off = (math.log10(values.get("learning_rate", 1e-3)) + 3) ** 2
    learned = 1 - math.exp(-epoch / (1 + size / 16))
    digest = hashlib.sha256(json.dumps([values, epoch], sort_keys=True).encode()).digest()
    noise = np.random.default_rng(int.from_bytes(digest[:8], "big")).normal(0, 0.003, 2)
    best_dice = 0.9 - 0.4 * (1 - alpha) ** 2 - 0.1 * off + (0.02 if architecture == "unet" else 0)
    best_psnr = 36 - 6 * alpha**2 - 2 * off + math.log2(size) / 4
    return {
        EPOCH: epoch,
        PRIMARY_DICE: best_dice * learned + noise[0],
        PRIMARY_PSNR: 20 + (best_psnr - 20) * learned + 10 * noise[1],
        PARAMETERS: 1000.0 * size,
    }


def lookup_trainable(
    epochs: int = 4,
    *,
    seconds_per_epoch: float = 0.0,
    faults: dict[int, Callable[[Path, int], dict[str, float] | None]] | None = None,
) -> Callable[[dict[str, Any]], None]:
    """Make a trainable that reports ``epochs`` epochs.

    Args:
        faults: trial -> what happens before each of its epochs is logged: called with the trial's folder and
            the epoch, it may raise, kill its process, or return columns that replace the epoch's.
    """

    def look_up(config: dict[str, Any]) -> None:
        folder = open_folder(config["folder"])
        for logged in epoch_log.read(folder):
            tune.report(logged)
        for epoch in range(len(epoch_log.read(folder)) + 1, epochs + 1):
            time.sleep(seconds_per_epoch)
            row: dict[str, Any] = row_at(config["values"], epoch)
            fault = (faults or {}).get(config["trial"])
            if fault is not None:
                row |= fault(folder, epoch) or {}
            epoch_log.append(folder, row)
            tune.report(row)

    return look_up


def raise_once(at_epoch: int) -> Callable[[Path, int], None]:
    """A fault that raises the first time its trial comes to an epoch."""

    def fault(folder: Path, epoch: int) -> None:
        if epoch == at_epoch and _is_first_time(folder):
            raise RuntimeError("a passing failure")

    return fault


def raise_always(error: Exception, at_epoch: int = 1) -> Callable[[Path, int], None]:
    """A fault that raises ``error`` whenever its trial comes to an epoch."""

    def fault(folder: Path, epoch: int) -> None:
        if epoch == at_epoch:
            raise error

    return fault


def die_once(at_epoch: int) -> Callable[[Path, int], None]:
    """A fault that kills the worker process the first time its trial comes to an epoch."""

    def fault(folder: Path, epoch: int) -> None:
        if epoch == at_epoch and _is_first_time(folder):
            os.kill(os.getpid(), signal.SIGKILL)

    return fault


def hang(at_epoch: int) -> Callable[[Path, int], None]:
    """A fault that never comes to an end."""

    def fault(folder: Path, epoch: int) -> None:
        while epoch == at_epoch:
            time.sleep(3600)

    return fault


def fill_disk(at_epoch: int) -> Callable[[Path, int], None]:
    """A fault that leaves no room for the epoch log: whatever is written to it meets a full disk."""

    def fault(folder: Path, epoch: int) -> None:
        if epoch == at_epoch:
            log = folder / TrialFolder.epoch_log
            log.unlink(missing_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            log.symlink_to("/dev/full")

    return fault


def report_instead(
    columns: dict[str, float], at_epoch: int
) -> Callable[[Path, int], dict[str, float] | None]:
    """A fault that reports other values at an epoch."""
    return lambda folder, epoch: columns if epoch == at_epoch else None


def _is_first_time(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "fault_happened"
    if mark.exists():
        return False
    mark.touch()
    return True
