"""Image quality of one way to make images, on the probes of a split: columns of a result row, and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.contracts.rows import Batch
from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.image_quality.channels import CHANNELS, region_offsets
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.observer import Detectability, detectability
from taskct_core.image_quality.probes import ABSENT, EDGE, PRESENT, Probe, disc, half_region
from taskct_core.image_quality.spectra import Curve, noise_power, task_transfer
from taskct_core.schema import (
    CURVE,
    DPRIME,
    DPRIME_GABOR,
    FREQUENCY,
    NOISE_FREQUENCY,
    NOISE_HU,
    TRANSFER_FREQUENCY,
    VALUE,
)
from taskct_core.transfer import to_device

Array = NDArray[np.float64]
OBSERVERS = {DPRIME: "laguerre_gauss", DPRIME_GABOR: "gabor"}  # column -> channels
NPS, TTF = "nps", "ttf"  # curves: HU^2 mm^2, and a share


@dataclass(frozen=True)
class ImageQuality:
    """What was measured; without anything in it where there was nothing to measure on.

    Attributes:
        columns: those of ``schema.IMAGE_QUALITY_METRICS``, and the ends of d's intervals as ``<column>_low``, ``_high``.
        curves: ``NPS`` and ``TTF`` over spatial frequency.
    """

    columns: dict[str, float]
    curves: dict[str, Curve]

    def curve_rows(self, identity: Mapping[str, object]) -> list[dict[str, object]]:
        """A row a curve and frequency, with the columns of ``identity`` in front."""
        return [
            {**identity, CURVE: name, FREQUENCY: float(frequency), VALUE: float(value)}
            for name, curve in self.curves.items()
            for frequency, value in zip(curve.frequencies, curve.values, strict=True)
        ]


@torch.no_grad()
def measure(
    probes: Sequence[Probe],
    reconstruct: Callable[[Batch], torch.Tensor],
    config: ImageQualityConfig,
    device: torch.device | str = "cpu",
) -> ImageQuality:
    """Measure image quality.

    Args:
        probes: of ``make_probes``.
        reconstruct: batch on ``device`` -> ``(B, 1, H, W)`` normalised attenuation.
        config: that the probes were made with.
    """
    if not probes:
        return ImageQuality({}, {})
    half = half_region(config, min(probe.spacing_mm for probe in probes))
    regions = [_regions(probe, reconstruct(to_device(probe.batch, device)), half) for probe in probes]
    spacings = [probe.spacing_mm for probe in probes]
    noise = [(scans[0] - scans[1]) / math.sqrt(2) for scans in regions]
    power, transfer = noise_power(noise, spacings), _transfer(regions, spacings, config)
    noise_hu = math.sqrt(float(np.mean([np.var(region) for region in noise])))
    columns = {
        NOISE_HU: noise_hu,
        NOISE_FREQUENCY: power.mean_frequency(),
        TRANSFER_FREQUENCY: transfer.first_below(0.5),
    }
    for column, channels in OBSERVERS.items():
        # Without noise, as in full-dose images, nothing hides a lesion.
        found = _observed(regions, spacings, config, channels) if noise_hu else Detectability(math.nan)
        columns |= {column: found.dprime, f"{column}_low": found.low, f"{column}_high": found.high}
    return ImageQuality(columns, {NPS: power, TTF: transfer})


def _transfer(regions: Sequence[Array], spacings: Sequence[float], config: ImageQualityConfig) -> Curve:
    with_disc = [scans[EDGE].mean(axis=0) - scans[ABSENT].mean(axis=0) for scans in regions]
    (size, _), middle = with_disc[0].shape, (with_disc[0].shape[0] - 1) / 2
    discs = [
        config.edge_contrast_hu
        * disc((size, size), (middle, middle), config.edge_diameter_mm / 2 / spacing).astype(np.float64)
        for spacing in spacings
    ]
    return task_transfer(with_disc, discs, spacings)


def _regions(probe: Probe, images: torch.Tensor, half: int) -> Array:
    """The square about the place in each scan, ``(scan, row, column)`` in HU; the image's rim repeats beyond it."""
    hu = mu_to_hu(images[:, 0].double().cpu().numpy() * MU_MAX)
    padded = np.pad(hu, ((0, 0), (half, half), (half, half)), mode="edge")
    row, column, size = probe.place.row, probe.place.column, 2 * half + 1
    return padded[:, row : row + size, column : column + size]


def _observed(
    regions: Sequence[Array],
    spacings: Sequence[float],
    config: ImageQualityConfig,
    channels: str,
) -> Detectability:
    outputs = []
    for scans, spacing in zip(regions, spacings, strict=True):
        offsets = region_offsets(scans.shape[-1] // 2, spacing)
        functions = CHANNELS[channels](*offsets, config.lesion_diameter_mm) * spacing**2
        outputs.append(np.tensordot(scans, functions, axes=((1, 2), (1, 2))))
    of_place = np.stack(outputs)
    return detectability(of_place[:, PRESENT], of_place[:, ABSENT])
