"""Slices of a volume -> low-dose samples: a pure function of the slice, its identity and the settings.

The steps are LoDoPaB-CT's: dequantise, convert to attenuation, normalise and clip, interpolate to a
finer grid, project, draw Poisson counts, replace zero counts, take the logarithm, divide by mu_max.
Every slice draws from its own random stream, keyed by seed, patient and slice index, and is computed
alone in a fixed order, so results do not depend on batch, order, process or thread count.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from taskct_core.config import SimulationConfig
from taskct_core.dose import HU_RANGE, MU_MAX, count_photons, normalise_hu, observe_counts
from taskct_core.errors import DataError
from taskct_core.field_of_view import FieldOfView, field_of_view
from taskct_core.geometry import PRESETS, ParallelBeam
from taskct_core.projection import RayTransform
from taskct_core.projection.guarded import project_guarded
from taskct_core.schema import (
    FBP,
    FULL_DOSE,
    LABELS,
    PATIENT,
    PHOTONS_PER_RAY,
    PIXEL_SPACING_MM,
    SINOGRAM,
    SLICE_INDEX,
)

SLICES_AT_ONCE = 4  # bounds the memory; the sparse product gains little beyond it


def geometry_of(config: SimulationConfig) -> ParallelBeam:
    """The scan that a dataset is stored in: the preset, with the configured number of angles."""
    preset = PRESETS[config.preset]
    return dataclasses.replace(preset, num_angles=config.num_angles or preset.num_angles)


def simulate_slices(
    hu: NDArray[np.generic],
    labels: NDArray[np.uint8],
    *,
    spacing_mm: tuple[float, float],
    patient: str,
    slice_indices: Sequence[int],
    config: SimulationConfig,
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

    Returns:
        The sample columns of ``taskct_core.schema``; the first axis counts slices.

    Raises:
        DataError: if shapes disagree, values are not finite or HU are outside the physical range.
    """
    _check_slices(hu, labels, spacing_mm, slice_indices)
    geometry = geometry_of(config)
    view = field_of_view(config.field_of_view, hu.shape[1:], spacing_mm, geometry)
    view.warn_if_body_cut(hu, patient)
    parts = []
    for start in range(0, len(hu), SLICES_AT_ONCE):
        chunk = slice(start, start + SLICES_AT_ONCE)
        streams = [_random_stream(config.seed, patient, index) for index in slice_indices[chunk]]
        parts.append(_simulate(hu[chunk], labels[chunk], streams, view, geometry, config))
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
    geometry: ParallelBeam,
    config: SimulationConfig,
) -> dict[str, NDArray[np.generic]]:
    photons = [_draw_photons(config, rng) for rng in streams]
    full_dose = np.stack(
        [_full_dose(image, view, config, rng) for image, rng in zip(hu, streams, strict=True)]
    )
    images = torch.from_numpy(full_dose)
    transform = RayTransform(geometry)
    if config.inverse_crime_guard:
        noise_free = project_guarded(geometry, images).numpy()
    else:
        noise_free = transform(images[:, None])[:, 0].numpy()
    sinograms = np.stack(
        [
            _observe(sinogram, view.path_scale, count, config, rng)
            for sinogram, count, rng in zip(noise_free, photons, streams, strict=True)
        ]
    )
    fbp = transform.fbp(
        torch.from_numpy(sinograms)[:, None], config.fbp_filter, config.fbp_frequency_scaling
    )[:, 0]
    columns = {
        FULL_DOSE: full_dose,
        FBP: fbp.numpy(),
        LABELS: np.stack([view.labels(label) for label in labels]),
        PHOTONS_PER_RAY: np.asarray(photons, np.float32),
    }
    return {**columns, SINOGRAM: sinograms} if config.store_sinogram else columns


def _full_dose(
    hu: NDArray[np.generic], view: FieldOfView, config: SimulationConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    values = hu.astype(np.float64)
    if config.dequantisation_noise:
        values += rng.random(values.shape)
    return normalise_hu(view.image(values)).astype(np.float32)


def _observe(
    sinogram: NDArray[np.float32],
    path_scale: float,
    photons_per_ray: float,
    config: SimulationConfig,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Noise-free -> low-dose line integrals / mu_max, both in the lengths of the stored geometry."""
    counts = count_photons(
        sinogram.astype(np.float64) * (MU_MAX * path_scale),
        photons_per_ray=photons_per_ray,
        rng=rng,
        electronic_noise_std=config.electronic_noise_std,
    )
    observed = observe_counts(
        counts,
        photons_per_ray=photons_per_ray,
        zero_count_replacement=config.zero_count_replacement,
    )
    return (observed / path_scale).astype(np.float32)


def _draw_photons(config: SimulationConfig, rng: np.random.Generator) -> float:
    """The slice's photons a ray, log-uniform in a range, as the float32 that the dataset stores."""
    if isinstance(config.photons_per_ray, tuple):
        low, high = config.photons_per_ray
        return float(np.float32(np.exp(rng.uniform(np.log(low), np.log(high)))))
    return float(np.float32(config.photons_per_ray))


def _random_stream(seed: int, patient: str, slice_index: int) -> np.random.Generator:
    """A counter-based generator of its own for each slice."""
    key = hashlib.sha256(f"{seed}\0{patient}\0{slice_index}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key[:16], np.uint64)))


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
