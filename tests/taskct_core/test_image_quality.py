"""Detectability, noise power, sharpness and bias against closed forms, and on scans of the product's own scanner."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import fourier_gaussian

from taskct_core.contracts.rows import Batch, batch_of
from taskct_core.errors import ConfigError
from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.image_quality.channels import CHANNELS, region_offsets
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.measure import measure
from taskct_core.image_quality.observer import detectability
from taskct_core.image_quality.places import Place, choose_places, places_of_slice
from taskct_core.image_quality.probes import ABSENT, EDGE, PRESENT, disc, make_probes
from taskct_core.image_quality.spectra import noise_power, task_transfer
from taskct_core.metrics import summarise
from taskct_core.metrics.tissue_errors import tissue_errors
from taskct_core.schema import (
    DPRIME,
    FBP,
    FULL_DOSE,
    IMAGE_QUALITY_METRICS,
    NOISE_HU,
    PATIENT,
    SLICE_INDEX,
)
from taskct_core.simulation.config import SimulationConfig
from taskct_core.simulation.slices import geometry_of, simulate_slices

Array = NDArray[np.float64]
HALF, SPACING, DIAMETER = 10, 1.0, 8.0
SIZE = 2 * HALF + 1


def outputs(regions: Array, channels: Array) -> Array:
    return np.tensordot(regions, channels, axes=((-2, -1), (-2, -1)))


def lesion() -> Array:
    return 0.4 * disc((SIZE, SIZE), (HALF, HALF), DIAMETER / 2 / SPACING).astype(float)


def white(seed: int, backgrounds: int = 1500, scans: int = 12) -> Array:
    return np.random.default_rng(seed).normal(size=(backgrounds, scans, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("name", CHANNELS)
def test_dprime_on_white_noise_is_the_analytic_value(name: str) -> None:
    """(U s)^T (U U^T)^-1 (U s) of noise of variance 1."""
    channels = CHANNELS[name](*region_offsets(HALF, SPACING), DIAMETER)
    flat, signal = channels.reshape(len(channels), -1), lesion()
    seen = flat @ signal.ravel()
    expected = math.sqrt(seen @ np.linalg.solve(flat @ flat.T, seen))
    noise = white(1)
    found = detectability(outputs(noise[:, :6] + signal, channels), outputs(noise[:, 6:], channels))
    assert found.dprime == pytest.approx(expected, rel=0.02)


def test_dprime_of_a_lesion_like_the_first_channel_is_that_of_the_ideal_observer() -> None:
    """In white noise the prewhitening matched filter is the signal itself: d' = |s| / sigma."""
    channels = CHANNELS["laguerre_gauss"](*region_offsets(HALF, SPACING), DIAMETER)
    signal = 0.4 * channels[0]
    noise = white(2)
    found = detectability(outputs(noise[:, :6] + signal, channels), outputs(noise[:, 6:], channels))
    assert found.dprime == pytest.approx(float(np.linalg.norm(signal)), rel=0.02)


@pytest.mark.parametrize("name", CHANNELS)
def test_dprime_in_correlated_noise_is_the_analytic_value(name: str) -> None:
    """White noise blurred on a torus, whose covariance the blur's transfer function gives exactly."""
    channels = CHANNELS[name](*region_offsets(HALF, SPACING), DIAMETER)
    noise = white(3)
    spectrum = np.fft.fft2(noise)
    gain = fourier_gaussian(np.ones((SIZE, SIZE)), 1.2)
    noise = np.fft.ifft2(spectrum * gain).real
    seen = np.tensordot(channels, lesion(), axes=2)
    transformed = np.fft.fft2(channels) * gain
    covariance = np.einsum("iab,jab->ij", transformed, transformed.conj()).real / SIZE**2
    expected = math.sqrt(seen @ np.linalg.solve(covariance, seen))
    found = detectability(outputs(noise[:, :6] + lesion(), channels), outputs(noise[:, 6:], channels))
    assert found.dprime == pytest.approx(expected, rel=0.02)


def test_few_images_do_not_make_lesions_look_easier() -> None:
    """The plain estimate from 12 places would be twice as high; and the interval holds the truth."""
    random = np.random.default_rng(4)
    signal = np.array([1.0, 0, 0, 0, 0, 0])
    found, inside = [], 0
    for _ in range(150):
        places = random.normal(size=(12, 1, 6))
        present, absent = (places + random.normal(size=(12, 2, 6)) for _ in range(2))
        one = detectability(present + signal, absent)
        found.append(one.dprime**2)
        inside += one.low <= math.sqrt(0.5) <= one.high
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)  # 1 / (1 + 1): background and noise
    assert 0.91 <= inside / 150 <= 0.99


def test_without_enough_places_there_is_no_dprime() -> None:
    present, absent = np.random.default_rng(0).normal(size=(2, 2, 2, 12))
    assert math.isnan(detectability(present, absent).dprime)


def test_a_network_that_draws_the_same_whatever_it_is_given_shows_no_lesions() -> None:
    same = np.ones((20, 2, 6))
    assert detectability(same, same).dprime == 0


def test_noise_power_of_white_noise_is_flat_and_its_integral_the_variance() -> None:
    noise = 7 * np.random.default_rng(5).normal(size=(400, 16, 16))
    curve = noise_power(list(noise), [0.8] * 400)
    np.testing.assert_allclose(curve.values, 49 * 0.8**2, rtol=0.05)
    nyquist = 0.5 / 0.8
    assert curve.frequencies[-1] == pytest.approx(nyquist, rel=0.01)
    assert curve.mean_frequency() == pytest.approx((curve.frequencies[0] + nyquist) / 2, rel=0.02)


def test_blurred_noise_is_coarser() -> None:
    noise = np.random.default_rng(6).normal(size=(200, 24, 24))
    blurred = np.fft.ifft2(np.fft.fft2(noise) * fourier_gaussian(np.ones((24, 24)), 1.0)).real
    curve = noise_power(list(blurred), [1.0] * 200)
    power = np.exp(-((2 * np.pi * curve.frequencies) ** 2))  # of a Gaussian of one pixel
    expected = (curve.frequencies * power).sum() / power.sum()
    assert curve.mean_frequency() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("sigma_mm", [0.8, 1.6])
def test_transfer_of_a_gaussian_blur_is_the_analytic_curve(sigma_mm: float) -> None:
    spacing, size = 0.7, 41
    inserted = -100 * disc((size, size), (20, 20), 8.0 / spacing).astype(float)
    blurred = np.fft.ifft2(
        np.fft.fft2(inserted) * fourier_gaussian(np.ones((size, size)), sigma_mm / spacing)
    ).real
    curve = task_transfer([blurred], [inserted], [spacing])
    expected = np.exp(-2 * (np.pi * sigma_mm * curve.frequencies) ** 2)
    np.testing.assert_allclose(curve.values, expected, atol=0.03)
    half = math.sqrt(math.log(2) / 2) / (math.pi * sigma_mm)
    assert curve.first_below(0.5) == pytest.approx(half, rel=0.03)


def test_lost_contrast_is_seen_at_zero_frequency() -> None:
    inserted = disc((31, 31), (15, 15), 8.0).astype(float)
    assert task_transfer([0.6 * inserted], [inserted], [1.0]).values == pytest.approx(np.full(16, 0.6))


def test_bias_of_a_tissue_is_what_was_added_to_it() -> None:
    labels = torch.zeros(2, 24, 24, dtype=torch.long)
    hu = torch.full((2, 24, 24), -800.0, dtype=torch.float64)
    hu[:, 4:12, 4:12], labels[:, 4:12, 4:12] = 60.0, 1
    hu[:, 14:22, 14:22] = 400.0
    wrong = hu.clone()
    wrong[:, 5:11, 5:11] += torch.tensor([12.0, -2.0])[:, None, None]
    wrong[:, 4, :] += 500  # an edge of the liver, which does not count
    images = [((20 + 0.01998 * values) / MU_MAX)[:, None] for values in (wrong, hu)]
    assert mu_to_hu(images[1] * MU_MAX)[0, 0, 5, 5] == pytest.approx(60, abs=0.01)
    columns = tissue_errors(images[0], images[1], labels)
    rows = [
        {PATIENT: "a", SLICE_INDEX: k, **{name: float(values[k]) for name, values in columns.items()}}
        for k in range(2)
    ]
    summary = summarise(rows)
    assert summary["bias_liver"] == pytest.approx(5, abs=1e-6)
    assert summary["bias_bone"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(summary["bias_tumour"]) and math.isnan(summary["bias_fat"])


def test_discs_have_the_area_they_should() -> None:
    assert disc((40, 50), (18, 25), 7.3).sum() == pytest.approx(math.pi * 7.3**2, rel=0.005)


def test_places_lie_in_the_liver_apart_from_tumours_and_each_other() -> None:
    labels = np.zeros((60, 60), dtype=np.int64)
    labels[:30, 5:55] = 1
    labels[10:14, 10:14] = 2
    places = places_of_slice(labels, 2.0, 12.0)
    rows, columns = np.indices(labels.shape)
    discs = [np.hypot(rows - row, columns - column) * 2.0 < 12 for row, column in places]
    assert len(places) >= 2
    assert all((labels[inside] == 1).all() for inside in discs)
    assert sum(discs).max() == 1


def test_patients_take_turns_and_slices_are_spread() -> None:
    places = [Place("a", index, 0, 0, rank) for index in range(20) for rank in range(2)]
    places += [Place("b", index, 0, 0, 0) for index in range(2)]
    chosen = choose_places(places, 8)
    assert [place.patient for place in chosen[:4]] == ["a", "b", "a", "b"]
    indices = sorted(place.slice_index for place in chosen if place.patient == "a")
    assert len(set(indices)) == 6 and max(np.diff([0, *indices, 19])) <= 7
    assert len(choose_places(places, 100)) == len(places)


SCANNER = SimulationConfig(preset="tiny", field_of_view_mm=320, photons_per_ray=2e4)
QUALITY = ImageQualityConfig(backgrounds=24, lesion_diameter_mm=20, edge_diameter_mm=30)


def livers() -> Batch:
    """Eight slices of a body with a large, even liver, as the dataset stores them."""
    rows, columns = (np.indices((160, 160)) - 79.5) * 2
    hu = np.full((8, 160, 160), -1000, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    hu[:, (rows / 100) ** 2 + (columns / 140) ** 2 < 1] = 20
    liver = (rows / 75) ** 2 + (columns / 110) ** 2 < 1
    hu[:, liver], labels[:, liver] = 60, 1
    columns_ = simulate_slices(
        hu, labels, spacing_mm=(2.0, 2.0), patient="p", slice_indices=range(8), config=SCANNER
    )
    tensors = {
        name: torch.from_numpy(values)[:, None]
        for name, values in columns_.items()
        if name in (FULL_DOSE, FBP)
    }
    others = {name: values.tolist() for name, values in columns_.items() if values.ndim == 1}
    return batch_of({**others, **tensors, "labels": torch.from_numpy(columns_["labels"].astype(np.int64))})


@pytest.fixture(scope="module")
def batch() -> Batch:
    return livers()


def probes_of(batch: Batch, **changes: object) -> list:
    def batches() -> Iterator[Batch]:
        yield batch

    simulation = SCANNER.model_copy(update=changes)
    return make_probes(batches, geometry_of(SCANNER), simulation, QUALITY)


def test_a_probe_is_the_slice_with_what_was_inserted(batch: Batch) -> None:
    probe = probes_of(batch)[0]
    images = mu_to_hu(probe.batch[FULL_DOSE][:, 0].double() * MU_MAX)
    row, column = probe.place.row, probe.place.column
    contrast = images[:, row, column] - images[0, row, column]
    assert contrast[ABSENT] == pytest.approx([0, 0], abs=0.01)
    assert contrast[PRESENT] == pytest.approx([-30, -30], abs=0.01)
    assert contrast[EDGE] == pytest.approx([-100], abs=0.01)
    low_dose = probe.batch[FBP]
    assert all(not torch.equal(low_dose[i], low_dose[j]) for i in range(5) for j in range(i))
    again = probes_of(batch)[0]
    assert torch.equal(again.batch[FBP], low_dose)


def test_four_times_the_photons_halve_the_noise_and_double_dprime(batch: Batch) -> None:
    """As they must where noise is quantum noise and FBP is linear: d'^2 is proportional to dose."""
    found = {}
    for factor in (1, 4):
        dose = batch_of({**batch, "photons_per_ray": [factor * 2e4] * 8})
        found[factor] = measure(probes_of(dose), lambda batch: batch[FBP], QUALITY)
    few, many = found[1], found[4]
    assert few.columns[NOISE_HU] / many.columns[NOISE_HU] == pytest.approx(2, rel=0.1)
    assert many.columns[DPRIME] / few.columns[DPRIME] == pytest.approx(2, rel=0.25)
    assert few.curves["ttf"].values[0] == pytest.approx(1, abs=0.1)  # FBP keeps the contrast of a large disc
    assert set(few.columns) >= {*IMAGE_QUALITY_METRICS, "dprime_cho_low", "dprime_cho_high"}


def test_a_livers_with_too_few_places_say_so(batch: Batch) -> None:
    small = batch_of({**batch, "labels": torch.zeros_like(batch["labels"])})
    with pytest.warns(UserWarning, match=r"not measured.*this split has 0"):
        assert probes_of(small) == []


@pytest.mark.parametrize(
    "values", [{"backgrounds": 3}, {"lesion_contrast_hu": 0.0}, {"lesion_diameter_mm": -1}]
)
def test_settings_that_measure_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        ImageQualityConfig.parse(values)
