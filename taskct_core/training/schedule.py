"""How the learning rate changes over a trial: it follows from the step and the epoch alone, so a resumed trial goes on."""

from __future__ import annotations

import math
from collections.abc import Callable

# (epoch from 1, epochs) -> the share of the configured learning rate, in (0, 1]. One line a schedule.
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": lambda _epoch, _epochs: 1.0,
    # Half a cosine from 1 towards 0, in steps of an epoch (Loshchilov & Hutter 2017, arXiv 1608.03983, no restarts).
    "cosine": lambda epoch, epochs: (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2,
}


def warmup_share(step: int, warmup_steps: int) -> float:
    """The share of the learning rate that step ``step`` (from 1) has: linear up to 1 at ``warmup_steps``."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0
