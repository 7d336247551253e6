"""How the learning rate changes over a trial's epochs."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]


def learning_rate_share(schedule: Schedule, epoch: int, epochs: int) -> float:
    """The share of the configured learning rate, in (0, 1], that epoch ``epoch`` (from 1) of ``epochs`` has.

    ``cosine`` falls along half a cosine from 1 towards 0, in steps of an epoch (Loshchilov & Hutter 2017,
    arXiv 1608.03983, without restarts). It follows from the epoch alone, so a resumed trial goes on exactly.
    """
    if schedule == "constant":
        return 1.0
    return (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
