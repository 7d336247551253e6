"""Mode ``front``: one trial that answers for every alpha; the ways to train one are named in ``modes.FRONT_WAYS``.

Whatever the way, a trained front is a path of networks of one plain architecture, from position 0 (image loss alone)
to 1. Which position answers for an alpha is chosen on validation (:mod:`taskct_core.training.front.path`).
"""

from taskct_core.training.front.base import FrontTraining
from taskct_core.training.front.building import build_trial_training, trained_reconstructor
from taskct_core.training.front.path import Candidate, FrontPath

__all__ = ["Candidate", "FrontPath", "FrontTraining", "build_trial_training", "trained_reconstructor"]
