"""The channelised Hotelling observer: how well the best linear reader of some channels tells lesions from none.

Signal and place are known exactly, the background is one of many (SKE, BKS; Barrett & Myers, Foundations of Image
Science, 2004, section 14.3). With the difference D of the mean channel outputs and their covariance S, the mean of both
classes', its detectability is d' = sqrt(D^T S^-1 D).

Estimated from few images that is too high, for two reasons that are taken out here. D holds noise: of its square, in
units of S, as much as the backgrounds' own differences scatter about D. And S^-1 is too large, since the template fits
the noise of its images: by how much is measured on each background with the S of all others, which knows nothing of it.
For normal outputs and as many independent images as there are, these are the corrections of Wunderlich & Noo (2009, IEEE
Trans. Med. Imaging 28:1198); so measured they also hold where the images of a background share much or little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Detectability:
    """d' with the ends of its 95 % interval over backgrounds; NaN where there are too few of them."""

    dprime: float
    low: float = math.nan
    high: float = math.nan


def detectability(present: Array, absent: Array) -> Detectability:
    """d' of an ensemble, with an interval over backgrounds.

    The interval is Student's t with the jackknife's standard error of d'^2 (Tukey 1958). A bootstrap, its percentiles and
    BCa's as much as its standard error, does not do here: a draw holds fewer distinct backgrounds, from which its template
    learns less, so that of few backgrounds its d' are of a worse observer.

    Args:
        present: channel outputs with the lesion, ``(background, scan, channel)``.
        absent: of the same backgrounds without it.
    """
    ensemble = _Ensemble.of(present, absent)
    count, inflation = ensemble.backgrounds, ensemble.inflation()
    if math.isnan(inflation):
        return Detectability(math.nan)
    squares, _ = ensemble.squares(np.ones((1, count)))
    squared = float(squares[0]) / inflation
    dprime = math.sqrt(max(squared, 0.0))
    without, inflations = ensemble.squares(1 - np.eye(count))
    if not inflations.any():  # nothing scatters
        return Detectability(dprime)
    error = math.sqrt((count - 1) * float(np.var(without / inflations.mean()))) / inflation
    spread = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * error
    low, high = (math.sqrt(max(end, 0.0)) for end in (squared - spread, squared + spread))
    return Detectability(dprime, low, high)


@dataclass(frozen=True)
class _Ensemble:
    """Sums over the scans of each background, from which every resample's d' follows.

    Attributes:
        outputs: of both classes, ``(class, background, scan, channel)``.
        sums: over scans, ``(class, background, channel)``.
        products: ``(background, channel, channel)``, of both classes together.
    """

    outputs: Array
    sums: Array
    products: Array

    @classmethod
    def of(cls, present: Array, absent: Array) -> _Ensemble:
        both = np.stack([present, absent]).astype(float)
        both -= both.mean(axis=(0, 1, 2))  # keeps digits: backgrounds are bright
        return cls(both, both.sum(axis=2), np.einsum("kbsi,kbsj->bij", both, both))

    @property
    def backgrounds(self) -> int:
        return self.outputs.shape[1]

    @property
    def scans(self) -> int:
        """Of a background, with the lesion and as many without."""
        return self.outputs.shape[2]

    def squares(self, times: Array) -> tuple[Array, Array]:
        """d'^2 of resamples, without what noise adds to it, but with the inflation of S^-1.

        Args:
            times: how often each background is drawn, ``(draw, background)``.

        Returns:
            d'^2 of each draw, and by how much its S^-1 is larger than that of the whole ensemble.
        """
        means, covariance = self._moments(times)
        inverse = _inverse(covariance)
        difference = means[0] - means[1]
        signal = np.einsum("di,dij,dj->d", difference, inverse, difference)
        drawn = times.sum(axis=1)
        own = (self.sums[0] - self.sums[1]) / self.scans  # each background's difference
        squared = np.einsum("db,bi,bj->dij", times, own, own, optimize=True)
        scatter = squared - drawn[:, None, None] * np.einsum("di,dj->dij", difference, difference)
        noise = np.einsum("dij,dji->d", inverse, scatter) / (drawn * (drawn - 1))
        _, whole = self._moments(np.ones((1, self.backgrounds)))
        return signal - noise, np.einsum("dij,ji->d", inverse, whole[0]) / len(whole[0])

    def inflation(self) -> float:
        """By how much S^-1 of all backgrounds is too large on average; NaN with too few of them.

        With n backgrounds it is 1 / (1 - a / n), as for a Wishart matrix; a follows from those of n - 1.
        """
        count, channels = self.backgrounds, self.outputs.shape[-1]
        if self.scans * (count - 1) <= channels or count < 3:
            return math.nan
        means, covariance = self._moments(1 - np.eye(count))
        inverse = _inverse(covariance)
        apart = self.outputs - means[:, :, None, :]
        alone = np.einsum("kbsi,kbsj->bij", apart, apart) / (2 * self.scans)
        alone *= (count - 1) / count  # the mean of the others scatters, too
        held_out = float(np.einsum("bij,bji->", inverse, alone)) / (count * channels)
        if held_out <= 0:  # nothing scatters
            return 1.0
        remaining = 1 - (count - 1) / count * (1 - 1 / held_out)
        return 1 / remaining if remaining > 0 else math.nan

    def _moments(self, times: Array) -> tuple[Array, Array]:
        """Means ``(class, draw, channel)`` and covariances ``(draw, channel, channel)`` of resamples."""
        images = self.scans * times.sum(axis=1)
        means = np.einsum("db,kbi->kdi", times, self.sums) / images[:, None]
        scatter = np.tensordot(times, self.products, axes=1)
        scatter -= images[:, None, None] * np.einsum("kdi,kdj->dij", means, means)
        covariance: Array = scatter / (2 * images - 2)[:, None, None]
        return means, covariance


def _inverse(covariance: Array) -> Array:
    """Pseudo-inverses: channels that never change, as of a network that draws the same for all, tell nothing."""
    return np.linalg.pinv(covariance, rcond=1e-12, hermitian=True).astype(np.float64)
