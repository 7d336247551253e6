"""Random numbers of a study that depend on nothing but its seed and the trial they are for."""

from __future__ import annotations

import numpy as np


def trial_seed(study_seed: int, trial: int) -> int:
    """A 32-bit seed for the proposal of one trial, the same however often a study was interrupted."""
    return int(np.random.SeedSequence([study_seed, trial]).generate_state(1)[0])
