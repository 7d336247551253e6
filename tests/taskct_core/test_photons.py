"""The dose model: LoDoPaB-CT's constants, and the laws its noise obeys."""

import numpy as np
import pytest

from taskct_core.errors import ConfigError, DataError
from taskct_core.hounsfield import MU_MAX, hu_to_mu, mu_to_hu
from taskct_core.simulation.photons import count_photons, normalise_hu, observe_counts


def test_golden_constants() -> None:
    assert pytest.approx(81.35858) == MU_MAX
    assert float(observe_counts(np.zeros(1), photons_per_ray=4096)[0]) == pytest.approx(0.130538, abs=1e-6)
    assert float(observe_counts(np.ones(1), photons_per_ray=4096)[0]) == pytest.approx(0.102236, abs=1e-6)
    assert float(observe_counts(np.full(1, 4096.0), photons_per_ray=4096)[0]) == 0


@pytest.mark.parametrize(("hu", "mu"), [(0, 20), (-1000, 0.02), (3071, 81.35858)])
def test_hu_and_attenuation(hu: float, mu: float) -> None:
    assert hu_to_mu(hu) == pytest.approx(mu)
    assert mu_to_hu(mu) == pytest.approx(hu, abs=1e-9)


def test_normalised_images_are_clipped_to_zero_and_one() -> None:
    values = normalise_hu(np.array([-3000.0, -1001.0, 0.0, 3071.0, 9000.0]))
    np.testing.assert_allclose(values, [0, 4e-5 / MU_MAX * 1, 20 / MU_MAX, 1, 1], atol=1e-6)


@pytest.mark.parametrize("photons", [100.0, 4096.0, 1e6])
@pytest.mark.parametrize("line_integral", [0.0, 1.0, 3.0])
def test_counts_have_the_mean_and_variance_of_poisson(photons: float, line_integral: float) -> None:
    n = 200_000
    counts = count_photons(np.full(n, line_integral), photons_per_ray=photons, rng=np.random.default_rng(3))
    expected = photons * np.exp(-line_integral)
    assert counts.mean() == pytest.approx(expected, abs=5 * np.sqrt(expected / n))
    fourth_moment_share = 2 + 1 / expected  # Var of the sample variance of a Poisson count, over its square
    assert counts.var() == pytest.approx(expected, rel=5 * np.sqrt(fourth_moment_share / n))


def test_a_quarter_of_the_dose_doubles_the_noise() -> None:
    def noise(photons: float) -> float:
        counts = count_photons(np.ones(100_000), photons_per_ray=photons, rng=np.random.default_rng(5))
        return float(observe_counts(counts, photons_per_ray=photons).std())

    assert noise(1e4) / noise(4e4) == pytest.approx(2, rel=0.02)
    # Delta method: the standard deviation of -log of a Poisson count is 1 / sqrt of its mean.
    assert noise(4e4) == pytest.approx(1 / np.sqrt(4e4 / np.e) / MU_MAX, rel=0.02)


def test_electronic_noise_adds_its_variance_and_stays_finite() -> None:
    dark = np.full(100_000, 12.0)  # hardly a photon arrives
    counts = count_photons(dark, photons_per_ray=4096, rng=np.random.default_rng(7), electronic_noise_std=5)
    expected = 4096 * np.exp(-12)
    assert counts.var() == pytest.approx(25 + expected, rel=0.03)
    observed = observe_counts(counts, photons_per_ray=4096, zero_count_replacement=0.1)
    assert np.isfinite(observed).all()
    assert observed.max() == pytest.approx(-np.log(0.1 / 4096) / MU_MAX)


@pytest.mark.parametrize("photons", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_photon_numbers_are_refused(photons: float) -> None:
    with pytest.raises(ConfigError, match="photons_per_ray"):
        count_photons(np.zeros(3), photons_per_ray=photons, rng=np.random.default_rng())


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_line_integrals_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="finite"):
        count_photons(np.array([0.0, value]), photons_per_ray=10, rng=np.random.default_rng())
