"""The slices that a trial shows, as pictures for people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.tables import read_arrays
from taskct_core.errors import DataError
from taskct_core.hounsfield import LIVER_WINDOW_HU, MU_MAX, hu_to_mu
from taskct_core.schema import LIVER, TUMOUR

Picture = NDArray[np.uint8]  # (row, column, red green blue)
_TINTS = {LIVER: (0, 160, 0), TUMOUR: (220, 0, 0)}
_TINT_SHARE = 0.35


def pictures_of(trial: TrialFolder) -> dict[str, Picture]:
    """Each shown slice in the liver window, with the predicted liver in green and tumour in red beside it.

    Names are ``slice-0``, ``slice-1``, ...; none where the trial left no panel.
    """
    try:
        panel = read_arrays(trial.panel)
    except (DataError, OSError):
        return {}
    pairs = zip(panel["image"], panel["prediction"], strict=True)
    return {f"slice-{number}": _picture(*pair) for number, pair in enumerate(pairs)}


def _picture(image: NDArray[np.float16], prediction: NDArray[np.uint8]) -> Picture:
    low, high = (hu_to_mu(edge) / MU_MAX for edge in LIVER_WINDOW_HU)
    grey = 255 * ((image.astype(np.float64) - low) / (high - low)).clip(0, 1)
    plain = np.repeat(grey[..., None], 3, axis=-1)
    tinted = plain.copy()
    for label, tint in _TINTS.items():
        where = prediction == label
        tinted[where] = (1 - _TINT_SHARE) * tinted[where] + _TINT_SHARE * np.array(tint)
    return np.concatenate([plain, tinted], axis=1).round().astype(np.uint8)
