"""Filters of filtered back-projection, built from the spatial ramp kernel (Kak & Slaney 1988, eq. 61)."""

from __future__ import annotations

import functools
import math

import scipy.fft
import torch
from torch import Tensor

from taskct_core.errors import ConfigError
from taskct_core.filter_windows import FILTERS

PROJECTIONS_AT_ONCE = 128  # whose padded spectra stay in a processor's cache, which halves the time


def filter_sinogram(sinogram: Tensor, filter_name: str, frequency_scaling: float) -> Tensor:
    """Ramp-filter along the detector (last axis), in units of one over the bin spacing.

    Args:
        filter_name: a key of ``FILTERS``.
        frequency_scaling: cut-off as a share of the Nyquist frequency, in (0, 1].

    Raises:
        ConfigError: if the filter is unknown or the scaling out of range.
    """
    check_filter(filter_name, frequency_scaling)
    if sinogram.numel() == 0:  # MKL transforms no empty batch
        return sinogram.clone()
    response = _response(sinogram.shape[-1], filter_name, frequency_scaling).to(sinogram)
    projections = sinogram.flatten(0, -2)
    at_once = len(projections) if sinogram.is_cuda else PROJECTIONS_AT_ONCE
    return torch.cat([_convolve(part, response) for part in projections.split(at_once)]).view_as(sinogram)


def check_filter(filter_name: str, frequency_scaling: float) -> None:
    """Refuse what ``filter_sinogram`` does not know.

    Raises:
        ConfigError: if the filter is unknown or the scaling out of range.
    """
    if filter_name not in FILTERS:
        raise ConfigError(
            f"an FBP filter must be one of {', '.join(FILTERS)}", repr(filter_name), "Choose one of them."
        )
    if not 0 < frequency_scaling <= 1:
        raise ConfigError(
            "frequency_scaling must lie in (0, 1]", f"{frequency_scaling!r}", "1 keeps all frequencies."
        )


def _convolve(projections: Tensor, response: Tensor) -> Tensor:
    padded = 2 * (len(response) - 1)
    spectrum = torch.fft.rfft(projections, n=padded) * response
    return torch.fft.irfft(spectrum, n=padded)[:, : projections.shape[1]]


@functools.lru_cache(maxsize=64)
def _response(num_bins: int, filter_name: str, frequency_scaling: float) -> Tensor:
    """float64 frequency response, of half the even padded length plus one.

    The spatial kernel 1/4, -1/(pi k)^2 (k odd) keeps the mean: a ramp sampled in frequency zeroes it
    and loses 10 % of the scale.
    """
    padded = 2 * scipy.fft.next_fast_len(num_bins, real=True)
    offset = torch.arange(padded, dtype=torch.float64)
    offset = torch.minimum(offset, padded - offset)
    kernel = torch.where(offset % 2 == 1, -1 / (math.pi * offset.clamp(min=1)) ** 2, 0.0)
    kernel[0] = 0.25
    ramp = torch.fft.rfft(kernel).real
    share = torch.linspace(0, 1, len(ramp), dtype=torch.float64) / frequency_scaling
    return torch.where(share <= 1, ramp * FILTERS[filter_name](share), 0.0)
