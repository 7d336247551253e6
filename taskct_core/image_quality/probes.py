"""Scans of livers with and without inserted lesions, by the dataset's own scanner: what image quality is measured on.

Every place in a liver is scanned five times, each with noise of its own: twice as it is, twice with the lesion, once
with a larger disc of more contrast. A scan has the photons that the dataset's sample of that slice has, its geometry,
its filter and its sinogram, and follows from (seed, patient, slice, place, number of the scan) alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.contracts.rows import Batch, batch_of
from taskct_core.geometry import Geometry
from taskct_core.hounsfield import MU_MAX, MU_PER_HU
from taskct_core.image_quality.config import FEWEST_BACKGROUNDS, ImageQualityConfig
from taskct_core.image_quality.places import Place, choose_places, find_places
from taskct_core.random_streams import random_stream
from taskct_core.schema import (
    FULL_DOSE,
    LABELS,
    PATIENT,
    PHOTONS_PER_RAY,
    PIXEL_SPACING_MM,
    SLICE_INDEX,
)
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.low_dose_scan import LowDoseScan

ABSENT, PRESENT, EDGE = slice(0, 2), slice(2, 4), slice(4, 5)  # which of a probe's five scans are what
SCANS = 5
HU_PER_UNIT = MU_MAX / MU_PER_HU  # of normalised attenuation
_FINER = 8  # parts of a pixel's edge, of which a disc's rim covers some
_MARGIN_MM = 2.0


@dataclass(frozen=True)
class Probe:
    """The five scans of one place.

    Attributes:
        batch: of five samples, with what a reconstructor is called with.
        place: its central pixel.
        spacing_mm: of its pixels.
    """

    batch: Batch
    place: Place
    spacing_mm: float


def disc(shape: tuple[int, ...], centre: tuple[float, float], radius: float) -> NDArray[np.float32]:
    """Share of each pixel that a disc covers; all in pixels."""
    fine = (np.arange(_FINER) + 0.5) / _FINER - 0.5
    rows, columns = (
        (np.arange(size)[:, None] + fine - middle).ravel() ** 2
        for size, middle in zip(shape, centre, strict=True)
    )
    inside = rows[:, None] + columns[None, :] <= radius**2
    parts = inside.reshape(shape[0], _FINER, shape[1], _FINER)
    return parts.mean(axis=(1, 3)).astype(np.float32)


def make_probes(
    batches: Callable[[], Iterable[Batch]],
    geometry: Geometry,
    simulation: SimulationConfig,
    config: ImageQualityConfig,
) -> list[Probe]:
    """Scan the places of a split.

    Args:
        batches: the split's samples, in the same order each time.
        geometry: of the dataset.
        simulation: that made the dataset.
        config: what is inserted, and in how many places.

    Returns:
        As many probes as are asked for, or as the livers have places for; none, with a warning, if those are too few.
    """
    if not config.backgrounds:
        return []
    radius_mm = max(config.lesion_diameter_mm, config.edge_diameter_mm) / 2 + _MARGIN_MM
    places = choose_places(find_places(batches(), radius_mm), config.backgrounds)
    if len(places) < config.backgrounds:
        measured = "of fewer" if len(places) >= FEWEST_BACKGROUNDS else "not"
        warnings.warn(
            f"Image quality is {measured} measured: image_quality.backgrounds asks for {config.backgrounds} places of "
            f"{2 * radius_mm:g} mm in livers, and this split has {len(places)}.",
            stacklevel=2,
        )
    if len(places) < FEWEST_BACKGROUNDS:
        return []
    # The dataset records the photons that a slice got, automatic exposure included.
    scanner = LowDoseScan(geometry, simulation.model_copy(update={"automatic_exposure": False}))
    wanted: dict[tuple[str, int], list[Place]] = {}
    for place in places:
        wanted.setdefault((place.patient, place.slice_index), []).append(place)
    found: dict[Place, Probe] = {}
    for batch in batches():
        for index, key in enumerate(zip(batch[PATIENT], batch[SLICE_INDEX], strict=True)):
            for place in wanted.get((str(key[0]), int(key[1])), []):
                found[place] = _scan(scanner, batch, index, place, config)
    return [found[place] for place in places]


def _scan(scanner: LowDoseScan, batch: Batch, index: int, place: Place, config: ImageQualityConfig) -> Probe:
    image = batch[FULL_DOSE][index, 0].cpu().numpy()
    spacing, photons = float(batch[PIXEL_SPACING_MM][index]), float(batch[PHOTONS_PER_RAY][index])
    centre = place.row, place.column
    lesion = disc(image.shape, centre, config.lesion_diameter_mm / 2 / spacing) * config.lesion_contrast_hu
    edge = disc(image.shape, centre, config.edge_diameter_mm / 2 / spacing) * config.edge_contrast_hu
    inserted = np.stack([np.zeros_like(lesion)] * 2 + [lesion] * 2 + [edge]) / HU_PER_UNIT
    images = np.clip(image + inserted, 0, 1).astype(np.float32)
    keys = (scanner.config.seed, "image quality", place.patient, place.slice_index, place.row, place.column)
    columns = scanner(
        images,
        [random_stream(*keys, number) for number in range(SCANS)],
        photons=[photons] * SCANS,
        path_scales=[spacing / scanner.geometry.pixel_spacing_mm] * SCANS,
    )
    tensors = {
        name: torch.from_numpy(values)[:, None] for name, values in columns.items() if values.ndim == 3
    }
    sample = {
        PATIENT: [place.patient] * SCANS,
        SLICE_INDEX: [place.slice_index] * SCANS,
        LABELS: batch[LABELS][index : index + 1].expand(SCANS, -1, -1),
        PHOTONS_PER_RAY: [photons] * SCANS,
        PIXEL_SPACING_MM: [spacing] * SCANS,
    }
    return Probe(batch_of({**sample, **tensors}), place, spacing)


def half_region(config: ImageQualityConfig, spacing_mm: float) -> int:
    """Pixels from the centre of the region that is measured to its edge: one and a half lesions, or the whole disc."""
    wide_mm = max(1.5 * config.lesion_diameter_mm, 0.75 * config.edge_diameter_mm)
    return math.ceil(wide_mm / spacing_mm)
