"""Dose in three words, and the noise and bias of a water cylinder against closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import poisson

from taskct_core.errors import ConfigError
from taskct_core.geometry import PRESETS, ParallelBeam, with_field_of_view
from taskct_core.hounsfield import MU_MAX, MU_WATER, mu_to_hu
from taskct_core.projection import RayTransform
from taskct_core.schema import FBP, FULL_DOSE, PHOTONS_PER_RAY
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.exposure import bow_tie, cylinder_noise_hu, dose_in_words, photons_per_ray
from taskct_core.simulation.photons import observe_low_counts
from taskct_core.simulation.slices import geometry_of, simulate_slices

FIELD_MM = 400.0
SCANNER = SimulationConfig(preset="tiny", field_of_view_mm=FIELD_MM, photons_per_ray=2e5)
DRAWS = 48


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path_factory.getbasetemp() / "taskct"))


def water(
    height_mm: float, width_mm: float, field_mm: float = FIELD_MM, pixels: int = 200
) -> NDArray[np.int16]:
    """One slice with an ellipse of water about its centre."""
    rows, columns = (np.indices((pixels, pixels)) - (pixels - 1) / 2) * (field_mm / pixels)
    inside = (2 * rows / height_mm) ** 2 + (2 * columns / width_mm) ** 2 < 1
    return np.where(inside, 0, -1000).astype(np.int16)


def scanned(hu: NDArray[np.int16], config: SimulationConfig, draws: int = DRAWS) -> dict[str, NDArray[Any]]:
    """One slice scanned many times, each with noise of its own."""
    config = config.model_copy(update={"dequantisation_noise": False})
    stack = np.repeat(hu[None], draws, axis=0)
    return simulate_slices(
        stack,
        np.zeros(stack.shape, np.uint8),
        spacing_mm=(FIELD_MM / len(hu),) * 2,
        patient="water",
        slice_indices=range(draws),
        config=config,
    )


def at_radius(columns: dict[str, NDArray[Any]], radius_px: float) -> tuple[float, float]:
    """Noise and bias of FBP in HU, in a ring about the centre."""
    height, width = columns[FBP].shape[1:]
    distance = np.hypot(*(np.indices((height, width)) - (height - 1) / 2))
    ring = np.abs(distance - radius_px) < 1.5
    fbp, truth = (mu_to_hu(columns[name][:, ring].astype(float) * MU_MAX) for name in (FBP, FULL_DOSE))
    return float(fbp.std(axis=0, ddof=1).mean()), float((fbp - truth).mean())


def textbook_noise_hu(
    geometry: ParallelBeam, photons: float, diameter_mm: float, radius_mm: float, scale: float = 1.0
) -> float:
    """Noise of Hann-filtered FBP by the textbook's integral over frequencies (Kak & Slaney 1988, section 5.2),
    with the transfer function of linear interpolation, for a cylinder and lengths ``scale`` times the geometry's.
    """
    bin_m, pixel_m = (mm * scale / 1000 for mm in (geometry.bin_spacing_mm, geometry.pixel_spacing_mm))
    frequency = np.linspace(0, 0.5, 2000)  # cycles a bin
    window = 0.5 + 0.5 * np.cos(2 * np.pi * frequency)
    variance = 0.0
    for angle in geometry.angles:
        chord_m = 2 * math.sqrt((diameter_mm / 2) ** 2 - (radius_mm * math.cos(angle)) ** 2) / 1000
        footprint = (
            np.sinc(frequency * pixel_m / bin_m * max(abs(math.cos(angle)), abs(math.sin(angle)))) ** 2
        )
        power = 2 * np.trapezoid((frequency * window * footprint) ** 2, frequency)
        variance += float(power) * math.exp(MU_WATER * chord_m) / photons
    return math.sqrt(variance) * (math.pi / geometry.num_angles / bin_m) * 1000 / 19.98


@pytest.mark.parametrize(
    ("policy", "shrunk"),
    [("scanner", 1.0), ("crop", 260 / (400 * 362 / 512)), ("resize", 0.65), ("true_size", 1.0)],
)
def test_noise_and_bias_of_a_water_cylinder_are_the_analytic_ones(policy: str, shrunk: float) -> None:
    """``shrunk``: lengths that the policy takes for those of the slice."""
    diameter_mm = 250.0  # the crop holds it
    field_mm = FIELD_MM if policy == "scanner" else None
    config = SCANNER.model_copy(update={"field_of_view": policy, "field_of_view_mm": field_mm})
    columns = scanned(water(diameter_mm, diameter_mm), config)
    geometry = geometry_of(config)
    scale = FIELD_MM / 260 if policy == "true_size" else 1.0
    radius_mm = 60 * shrunk
    noise, bias = at_radius(columns, radius_mm / (geometry.pixel_spacing_mm * scale))
    expected = textbook_noise_hu(geometry, 2e5, diameter_mm * shrunk, radius_mm, scale)
    assert noise == pytest.approx(expected, rel=0.06)
    assert abs(bias) < 2


@pytest.mark.parametrize(
    "preset", ["tiny", "small", "medium", pytest.param("lodopab", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("photons", [1e3, 1e6])
def test_the_predicted_noise_is_the_textbooks(preset: str, photons: float) -> None:
    config = SimulationConfig(preset=preset, field_of_view_mm=FIELD_MM)
    geometry = geometry_of(config)
    expected = np.mean([textbook_noise_hu(geometry, photons, 300, radius) for radius in (75,)])
    assert cylinder_noise_hu(config, geometry, photons) == pytest.approx(expected, rel=0.03)


def test_the_three_words_say_the_same() -> None:
    geometry = geometry_of(SCANNER)
    for extra in ({}, {"electronic_noise_std": 20.0}, {"bow_tie_mm": 320.0}):
        config = SimulationConfig.parse({**SCANNER.model_dump(exclude_none=True), **extra})
        words = dose_in_words(config, geometry)
        assert words["photons_per_ray"] == 2e5
        for word in ("dose_fraction", "noise_hu"):
            plain = config.model_dump(exclude_none=True, exclude={"photons_per_ray"})
            said = SimulationConfig.parse({**plain, word: words[word]})
            assert photons_per_ray(said, geometry) == pytest.approx(2e5, rel=1e-6)
            assert said.photons_per_ray is None


@pytest.mark.slow  # builds the matrix of 1000 angles
def test_the_reference_dose_has_12_hu_on_the_lodopab_preset() -> None:
    config = SimulationConfig(preset="lodopab", field_of_view_mm=FIELD_MM, dose_fraction=1.0)
    words = dose_in_words(config, geometry_of(config))
    assert words["noise_hu"] == pytest.approx(12, abs=0.1)
    quarter = SimulationConfig(preset="lodopab", field_of_view_mm=FIELD_MM, dose_fraction=(0.25, 1.0))
    noise = dose_in_words(quarter, geometry_of(quarter))["noise_hu"]
    assert isinstance(noise, tuple)
    low, high = noise
    assert low / high == pytest.approx(2)


def test_noise_hu_is_what_the_cylinder_shows() -> None:
    plain = SCANNER.model_dump(exclude_none=True, exclude={"photons_per_ray"})
    config = SimulationConfig.parse({**plain, "noise_hu": 25.0, "electronic_noise_std": 10.0})
    noise, bias = at_radius(scanned(water(300, 300), config), 75 / (FIELD_MM / 64))
    assert noise == pytest.approx(25, rel=0.06)
    assert abs(bias) < 3


@pytest.mark.parametrize("preset", ["tiny", pytest.param("small", marks=pytest.mark.slow)])
def test_few_photons_no_longer_bias_the_image(preset: str) -> None:
    """Through 380 mm of water 1.5 photons of 3000 arrive: zero replacement alone shifts the middle by many HU."""
    config = SimulationConfig(preset=preset, field_of_view_mm=FIELD_MM, photons_per_ray=3000.0)
    biases = {}
    for logarithm in ("zero_replacement", "low_count"):
        columns = scanned(water(280, 380), config.model_copy(update={"logarithm": logarithm}), 12)
        biases[logarithm] = at_radius(columns, 3)[1]
    assert biases["zero_replacement"] > 50
    assert abs(biases["low_count"]) < 5


def test_the_bias_of_zero_replacement_is_what_poissons_law_says() -> None:
    """FBP is linear, so its bias is the FBP of the bias of the logarithm: a sum over all counts."""
    config = SCANNER.model_copy(update={"photons_per_ray": 3000.0, "logarithm": "zero_replacement"})
    columns = scanned(water(280, 380), config, 24)
    transform = RayTransform(geometry_of(config))
    truth = transform(torch.from_numpy(columns[FULL_DOSE][:1, None])).double() * MU_MAX
    counts = np.arange(4000)
    observed = np.log(3000 / np.maximum(counts, 0.1))
    knots = np.linspace(0, float(truth.max()), 300)  # the bias is smooth in the line integral
    biases = poisson.pmf(counts, 3000 * np.exp(-knots[:, None])) @ observed - knots
    expected = np.interp(truth.numpy(), knots, biases)
    bias = transform.fbp(torch.from_numpy(expected))[0, 0].float().numpy() / MU_MAX
    ring = {FBP: bias[None] + columns[FULL_DOSE][:1], FULL_DOSE: columns[FULL_DOSE][:1]}
    predicted = at_radius(
        {**ring, FBP: np.repeat(ring[FBP], 2, 0), FULL_DOSE: np.repeat(ring[FULL_DOSE], 2, 0)}, 8
    )[1]
    assert predicted > 30
    assert at_radius(columns, 8)[1] == pytest.approx(predicted, abs=8)


@pytest.mark.parametrize("mean", [0.1, 0.3, 1.0, 3.0, 10.0, 100.0])
@pytest.mark.parametrize("electronic", [0.0, 0.3])
def test_the_logarithm_of_few_photons_is_unbiased(mean: float, electronic: float) -> None:
    rng = np.random.default_rng(1)
    counts = rng.poisson(mean, (300, 300)) + rng.normal(0, electronic, (300, 300))
    observed = observe_low_counts(counts, 1000.0, electronic)
    bias = observed.mean() - math.log(1000 / mean)
    assert abs(bias) < (0.05 if electronic and mean < 1 else 0.02)


def test_many_photons_are_not_smoothed() -> None:
    counts = np.random.default_rng(2).poisson(1e4, (50, 60)).astype(float)
    np.testing.assert_allclose(observe_low_counts(counts, 2e4), np.log(2e4 / (counts + 0.5)), rtol=1e-12)


def test_automatic_exposure_makes_patients_equally_noisy() -> None:
    noise: dict[bool, list[float]] = {True: [], False: []}
    photons = []
    for automatic in (True, False):
        config = SCANNER.model_copy(update={"automatic_exposure": automatic})
        for size in ((180, 240), (230, 300), (300, 380)):
            columns = scanned(water(*size), config)
            noise[automatic].append(at_radius(columns, 3)[0])
            photons.append(columns[PHOTONS_PER_RAY][0])
    assert max(noise[False]) / min(noise[False]) > 2.5
    assert max(noise[True]) / min(noise[True]) < 1.1
    assert photons[0] < photons[1] < photons[2]
    assert photons[3:] == [2e5] * 3
    cylinder = scanned(water(300, 300), SCANNER.model_copy(update={"automatic_exposure": True}), 2)
    assert cylinder[PHOTONS_PER_RAY][0] == pytest.approx(2e5, rel=0.03)


def test_automatic_exposure_stays_in_the_range_of_a_tube() -> None:
    config = SCANNER.model_copy(update={"automatic_exposure": True})
    metal = water(300, 380)
    metal[80:120, 60:140] = 3000
    for hu, photons in ((metal, 30 * 2e5), (water(20, 20), 2e5 / 30), (water(1, 1), 2e5 / 30)):
        columns = scanned(hu, config, 1)
        assert columns[PHOTONS_PER_RAY][0] == pytest.approx(photons)
        assert np.isfinite(columns[FBP]).all()


def test_a_bow_tie_spares_the_rim_and_leaves_no_bias() -> None:
    config = SCANNER.model_copy(update={"bow_tie_mm": 300.0})
    geometry = geometry_of(config)
    transmission = np.asarray(bow_tie(config, geometry))
    assert transmission.max() == pytest.approx(1, abs=0.01)
    assert transmission.min() == pytest.approx(0.1)
    offset = (np.arange(geometry.num_bins) - (geometry.num_bins - 1) / 2) * geometry.bin_spacing_mm
    inside = np.abs(offset) < 60
    behind = transmission * np.exp(-MU_WATER * 2e-3 * np.sqrt(np.maximum(150**2 - offset**2, 0)))
    assert (
        np.ptp(behind[inside]) < 1e-3 * behind[inside].max()
    )  # evened out as far as the filter is thick enough
    plain, shaped = (scanned(water(300, 300), settings) for settings in (SCANNER, config))
    rim, middle = 130 / (FIELD_MM / 64), 3
    assert at_radius(shaped, middle)[0] == pytest.approx(at_radius(plain, middle)[0], rel=0.1)
    assert at_radius(shaped, rim)[0] > 1.1 * at_radius(plain, rim)[0]
    assert at_radius(shaped, middle)[1] == pytest.approx(at_radius(plain, middle)[1], abs=1)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"noise_hu": 20, "dose_fraction": 0.1}, "one of photons_per_ray, dose_fraction, noise_hu"),
        ({"noise_hu": 0}, "noise_hu"),
        ({"dose_fraction": [0.5, 0.1]}, "dose_fraction as a range"),
        ({"logarithm": "exact"}, "logarithm"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        SimulationConfig.parse(values)


def test_photons_are_lodopabs_where_no_dose_is_given() -> None:
    assert SimulationConfig().photons_per_ray == 4096
    assert SimulationConfig(noise_hu=20).photons_per_ray is None
    assert photons_per_ray(SimulationConfig(), with_field_of_view(PRESETS["small"], 380)) == 4096


def test_a_field_smaller_than_the_liver_region_has_a_dose_in_words_too() -> None:
    config = SimulationConfig(preset="tiny", field_of_view_mm=50.0)
    assert 0 < cylinder_noise_hu(config, geometry_of(config), 4096.0) < math.inf
