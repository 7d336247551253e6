"""Fresh samples: the slices of the train split moved, scanned and reconstructed anew in every epoch.

    visits = visits_of_epoch(tumour_pixels > 0, tumour_share, seed=seed, epoch=epoch)   # which samples, how often
    draw = FreshScanner(geometry, simulation)                                           # once a process
    samples = draw(bases, seed=seed, epoch=epoch)                                       # once a batch

``bases`` are rows of a train shard, of which a draw needs the columns ``draw.reads``; ``samples`` has the columns of
stored samples: ``patient``, ``slice_index``, ``full_dose``, ``fbp``, ``labels``, ``photons_per_ray``,
``pixel_spacing_mm`` and, with ``store_sinogram``, ``sinogram``. A sample follows from
(seed, epoch, patient, slice) and the number of its visit alone: it has the same bits in whatever batch, order,
process or number of threads it is drawn.

A draw turns, scales and shifts the patient in the scanner, no further than the field of view holds the body; puts
other synthetic lesions into the liver and varies the dose if asked (``simulation.fresh_draw``); and scans as
``taskct_core.simulation.slices`` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taskct_core.geometry import Geometry
from taskct_core.random_streams import random_stream
from taskct_core.schema import (
    BASE_HU,
    BASE_LABELS,
    BODY_HEIGHT_MM,
    BODY_WIDTH_MM,
    FULL_DOSE,
    LABELS,
    PATIENT,
    PIXEL_SPACING_MM,
    SLICE_INDEX,
    UNLABELLED,
)
from taskct_core.simulation.config import FreshDrawConfig, SimulationConfig
from taskct_core.simulation.fresh_base import FINER
from taskct_core.simulation.low_dose_scan import LowDoseScan, in_chunks
from taskct_core.simulation.movement import Mover, draw_movement
from taskct_core.simulation.photons import normalise_hu
from taskct_core.volumes.lesioned import insert_lesions

Columns = Mapping[str, NDArray[Any]]
SLICE_SPACING_MM = 3.0  # of the slab that lesions are drawn in; a slice shows one section of it
MOST_LESIONS = 3  # that a slice gets


def visits_of_epoch(
    has_tumour: NDArray[np.bool_], tumour_share: float, *, seed: int, epoch: int
) -> NDArray[np.int64]:
    """How often an epoch visits each sample, so that at least a share of its visits shows a tumour.

    Slices without a tumour, drawn at random, give way to further visits of slices with one. The number of visits
    is that of the samples; without tumours, or with enough of them, every sample is visited once.

    Args:
        has_tumour: of each sample, in an order that the epoch does not depend on, such as by patient and slice.
    """
    visits = np.ones(len(has_tumour), np.int64)
    with_tumour, without = np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)
    missing = min(math.ceil(tumour_share * len(has_tumour)) - len(with_tumour), len(without))
    if len(with_tumour) == 0 or missing <= 0:
        return visits
    rng = random_stream("visits", seed, epoch)
    visits[rng.permutation(without)[:missing]] = 0
    order = rng.permutation(with_tumour)
    np.add.at(visits, np.resize(order, missing), 1)
    return visits


def columns_of_bases(draw: FreshDrawConfig) -> tuple[str, ...]:
    """The columns of a train shard that such draws need."""
    identity = (PATIENT, SLICE_INDEX, PIXEL_SPACING_MM)
    if _is_still(draw):
        return (*identity, FULL_DOSE, LABELS)
    return (*identity, BASE_HU, BASE_LABELS, BODY_HEIGHT_MM, BODY_WIDTH_MM)


def _is_still(draw: FreshDrawConfig) -> bool:
    """Whether photons alone are drawn anew: then the stored full-dose images are scanned."""
    return not (draw.turn_degrees or draw.scale or draw.shift_mm or draw.lesion_share)


class FreshScanner:
    """Draws fresh samples from bases.

    Args:
        geometry: of the dataset (``dataset.json``).
        config: that the dataset was simulated with, and how its slices change (``fresh_draw``).
    """

    def __init__(self, geometry: Geometry, config: SimulationConfig) -> None:
        self._config = config
        self._scan = LowDoseScan(geometry, config)
        self._mover = Mover(geometry.image_shape[0])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of a train shard that a draw needs."""
        return columns_of_bases(self._config.fresh_draw)

    def __call__(
        self, bases: Columns, *, seed: int, epoch: int, visits: NDArray[np.integer] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Scan slices anew.

        Args:
            bases: rows of a train shard with the columns of ``reads``; the first axis counts slices.
            seed: of the trial.
            epoch: of the trial.
            visits: for slices that an epoch visits several times, which of the visits this is, from 0 on;
                another number is another draw. None: the first.
        """
        count = len(bases[PATIENT])
        visits = np.zeros(count, np.int64) if visits is None else visits
        streams = [
            random_stream("fresh", seed, epoch, str(patient), int(index), int(visit))
            for patient, index, visit in zip(bases[PATIENT], bases[SLICE_INDEX], visits, strict=True)
        ]
        parts = [
            self._draw({name: bases[name][chunk] for name in self.reads}, streams[chunk])
            for chunk in in_chunks(count)
        ]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        identity = {name: np.asarray(bases[name]) for name in (PATIENT, SLICE_INDEX, PIXEL_SPACING_MM)}
        return {**identity, **columns}

    def _draw(self, bases: Columns, streams: list[np.random.Generator]) -> dict[str, NDArray[Any]]:
        photons = [self._draw_photons(rng) for rng in streams]
        if _is_still(self._config.fresh_draw):
            images, labels = bases[FULL_DOSE], bases[LABELS]
        else:
            slices = [self._draw_slice(bases, row, rng) for row, rng in enumerate(streams)]
            images, labels = (np.stack(parts) for parts in zip(*slices, strict=True))
        path_scales = [float(mm) / self._scan.geometry.pixel_spacing_mm for mm in bases[PIXEL_SPACING_MM]]
        columns = self._scan(np.ascontiguousarray(images), streams, photons=photons, path_scales=path_scales)
        return {**columns, LABELS: labels}

    def _draw_photons(self, rng: np.random.Generator) -> float:
        low, high = np.log(self._config.fresh_draw.dose_factor)
        return float(np.float32(self._scan.draw_photons(rng) * np.exp(rng.uniform(low, high))))

    def _draw_slice(
        self, bases: Columns, row: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """One slice moved: its full-dose image and labels on the scanner's pixels."""
        draw, spacing_mm = self._config.fresh_draw, float(bases[PIXEL_SPACING_MM][row])
        hu, labels = bases[BASE_HU][row], bases[BASE_LABELS][row]
        if rng.random() < draw.lesion_share:
            base_mm = spacing_mm / FINER
            hu, labels = _with_lesions(hu, labels, base_mm, rng)
        half_body_mm = float(bases[BODY_HEIGHT_MM][row]) / 2, float(bases[BODY_WIDTH_MM][row]) / 2
        half_field_mm = spacing_mm * self._scan.geometry.image_shape[0] / 2
        movement = draw_movement(draw, half_body_mm, half_field_mm, rng)
        full_dose = normalise_hu(self._mover.image(hu, movement, spacing_mm)).astype(np.float32)
        moved = self._mover.labels(labels, movement, spacing_mm)
        return full_dose, np.full_like(moved, UNLABELLED) if labels[0, 0] == UNLABELLED else moved


def _with_lesions(
    hu: NDArray[np.int16], labels: NDArray[np.uint8], spacing_mm: float, rng: np.random.Generator
) -> tuple[NDArray[np.int16 | np.float32], NDArray[np.uint8]]:
    count = int(rng.integers(1, MOST_LESIONS + 1))
    slab_mm = (SLICE_SPACING_MM, spacing_mm, spacing_mm)
    changed_hu, changed_labels = insert_lesions(
        hu[None], labels[None], slab_mm, rng, count, large_first=False
    )
    return changed_hu[0], changed_labels[0]
