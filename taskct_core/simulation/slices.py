"""Slices of a volume -> low-dose samples: a pure function of the slice, its identity and the settings.

The steps are LoDoPaB-CT's: dequantise, convert to attenuation, normalise and clip, interpolate to a
finer grid, project, draw Poisson counts, replace zero counts, take the logarithm, divide by mu_max.
Every slice draws from its own random stream, keyed by seed, patient and slice index, and is computed
alone in a fixed order, so results do not depend on batch, order, process or thread count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taskct_core.errors import ConfigError, DataError
from taskct_core.geometry import PRESETS, Geometry, with_field_of_view
from taskct_core.geometry.field_of_view import FieldOfView, field_of_view
from taskct_core.hounsfield import HU_RANGE
from taskct_core.random_streams import random_stream
from taskct_core.schema import LABELS, PATIENT, PIXEL_SPACING_MM, SLICE_INDEX
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.fresh_base import Base
from taskct_core.simulation.low_dose_scan import LowDoseScan, in_chunks
from taskct_core.simulation.photons import normalise_hu
from taskct_core.volumes.body import BodyBox


def geometry_of(config: SimulationConfig) -> Geometry:
    """The scan that a dataset is stored in: the preset, with the configured angles and the scanner's field; or
    that of the user's ODL ray transform.

    Raises:
        ConfigError: if the scanner's field of view is not known yet, or the ODL ray transform cannot be used.
    """
    if config.ray_transform is not None:
        return _odl_scan_of(config)
    preset = PRESETS[config.preset]
    scan = dataclasses.replace(preset, num_angles=config.num_angles or preset.num_angles)
    if config.field_of_view != "scanner":
        return scan
    if config.field_of_view_mm is None:
        raise ConfigError(
            "a scanner has one field of view for all slices",
            "field_of_view_mm = None",
            "Set field_of_view_mm to the edge in mm; `taskct simulate` finds the smallest that holds every body.",
        )
    return with_field_of_view(scan, config.field_of_view_mm)


def _odl_scan_of(config: SimulationConfig) -> Geometry:
    from taskct_core.projection.odl_bridge import odl_scan

    scan = odl_scan(str(config.ray_transform), unit_mm=config.ray_transform_unit_mm)
    height, width = scan.image_shape
    if height != width:
        raise ConfigError(
            "the ODL ray transform of a dataset must have a square image",
            f"{height} x {width} pixels",
            "Give its domain as many rows as columns.",
        )
    field_mm = config.field_of_view_mm
    if field_mm is not None and not np.isclose(field_mm, height * scan.pixel_spacing_mm, rtol=1e-5):
        raise ConfigError(
            f"the ODL ray transform has a field of view of {height * scan.pixel_spacing_mm:g} mm",
            f"field_of_view_mm = {field_mm:g}",
            "Leave field_of_view_mm unset, or correct ray_transform_unit_mm.",
        )
    return scan


def simulate_slices(
    hu: NDArray[np.generic],
    labels: NDArray[np.uint8],
    *,
    spacing_mm: tuple[float, float],
    patient: str,
    slice_indices: Sequence[int],
    config: SimulationConfig,
    body: BodyBox | None = None,
    with_base: bool = False,
) -> dict[str, NDArray[np.generic]]:
    """Simulate the low-dose scan of some slices of one patient.

    Sinograms are given in the lengths of ``geometry_of(config)`` under every field-of-view policy, so
    that ``RayTransform(geometry_of(config))`` of the full-dose image is the noise-free sinogram. With
    ``true_size`` the counts are those of the body's real width; the pixel spacing column tells it.

    Args:
        hu: ``(slice, height, width)``, int16 or float, Hounsfield units.
        labels: uint8 of the same shape.
        spacing_mm: ``(row, column)`` distances.
        patient: names the patient; part of the random key.
        slice_indices: position of each slice in its volume; part of the random key.
        body: of the patient; the scanner's field is centred on it. None: on the slices' centre.
        with_base: add ``schema.BASE_COLUMNS``, from which ``taskct_core.simulation.fresh`` draws.

    Returns:
        The sample columns of ``taskct_core.schema``; the first axis counts slices.

    Raises:
        ConfigError: if the scanner's field of view is not known.
        DataError: if shapes disagree, values are not finite or HU are outside the physical range.
    """
    _check_slices(hu, labels, spacing_mm, slice_indices)
    scan = LowDoseScan(geometry_of(config), config)
    centre_mm = body.centre_mm if body is not None else (0.0, 0.0)
    view = field_of_view(config.field_of_view, hu.shape[1:], spacing_mm, scan.geometry, centre_mm)
    if config.field_of_view != "scanner":  # the scanner's is chosen to hold the body
        view.warn_if_body_cut(hu, patient)
    base = Base(view, config.field_of_view, body) if with_base else None
    parts = []
    for chunk in in_chunks(len(hu)):
        streams = [random_stream(config.seed, patient, index) for index in slice_indices[chunk]]
        parts.append(_simulate(hu[chunk], labels[chunk], streams, view, scan, base))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        PATIENT: np.full(len(hu), patient),
        SLICE_INDEX: np.asarray(slice_indices, np.int32),
        **columns,
        PIXEL_SPACING_MM: np.full(len(hu), view.pixel_spacing_mm, np.float32),
    }


def _simulate(
    hu: NDArray[np.generic],
    labels: NDArray[np.uint8],
    streams: list[np.random.Generator],
    view: FieldOfView,
    scan: LowDoseScan,
    base: Base | None,
) -> dict[str, NDArray[np.generic]]:
    photons = [scan.draw_photons(rng) for rng in streams]
    values = [_dequantised(image, scan.config, rng) for image, rng in zip(hu, streams, strict=True)]
    full_dose = np.stack([normalise_hu(view.image(image)).astype(np.float32) for image in values])
    columns = scan(full_dose, streams, photons=photons, path_scales=[view.path_scale] * len(hu))
    scanned_labels = np.stack([view.labels(label) for label in labels])
    base_columns = {} if base is None else base.columns(values, labels, scanned_labels)
    return {**columns, LABELS: scanned_labels, **base_columns}


def _dequantised(
    hu: NDArray[np.generic], config: SimulationConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    values = hu.astype(np.float64)
    return values + rng.random(values.shape) if config.dequantisation_noise else values


def _check_slices(
    hu: NDArray[np.generic],
    labels: NDArray[np.uint8],
    spacing_mm: tuple[float, float],
    slice_indices: Sequence[int],
) -> None:
    if hu.ndim != 3 or hu.size == 0 or labels.shape != hu.shape or len(slice_indices) != len(hu):
        raise DataError(
            "hu and labels must be (slice, height, width) with one slice index each",
            f"hu {hu.shape}, labels {labels.shape}, {len(slice_indices)} indices",
            "Pass matching, non-empty arrays.",
        )
    if hu.dtype.kind not in "iuf" or labels.dtype != np.uint8:
        raise DataError(
            "hu must hold real numbers and labels uint8",
            f"hu {hu.dtype}, labels {labels.dtype}",
            "Convert them first.",
        )
    low, high = float(hu.min()), float(hu.max())
    if not HU_RANGE[0] <= low <= high <= HU_RANGE[1]:  # false for NaN too
        raise DataError(
            f"HU must be finite and lie in [{HU_RANGE[0]:.0f}, {HU_RANGE[1]:.0f}]",
            f"values from {low} to {high}",
            "Check the rescale slope and intercept of the scan.",
        )
    if len(spacing_mm) != 2 or not all(np.isfinite(s) and s > 0 for s in spacing_mm):
        raise DataError(
            "spacing_mm must be (row, column), both positive", f"{spacing_mm}", "Check the header."
        )
