"""Bootstrap, Holm and rank correlation against brute force, closed forms and their coverage."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import stats

from analysis import statistics

PATIENTS = ["a", "a", "a", "b", "c", "c"]


def _slice_means(values: np.ndarray, draw: statistics.Resamples) -> np.ndarray:
    return draw.slice_means(values)


def test_every_draw_takes_patients_and_then_slices_of_them():
    values = np.arange(6.0)[:, None]
    for part in statistics._resamples(PATIENTS, draws=50, seed=1):
        weights = part.weights.toarray().reshape(50, 3, 6)
        for slot in weights.reshape(-1, 6):
            drawn = {PATIENTS[k] for k in np.flatnonzero(slot)}
            assert len(drawn) == 1 and slot.sum() == PATIENTS.count(drawn.pop())
        by_hand = (weights.sum(axis=1) @ values) / weights.sum(axis=(1, 2))[:, None]
        np.testing.assert_allclose(part.slice_means(values), by_hand)


def test_chunks_do_not_change_the_number_of_draws(monkeypatch):
    monkeypatch.setattr(statistics, "_LARGEST_CHUNK", 60)
    score, draws = statistics.bootstrap(PATIENTS, lambda r: r.slice_means(np.ones((6, 2))), draws=25)
    assert draws.shape == (25, 2) and score.tolist() == [1.0, 1.0]


def test_same_seed_same_draws_whatever_is_measured():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 1))
    alone = statistics.bootstrap(PATIENTS, lambda r: r.slice_means(x), draws=20)[1]
    together = statistics.bootstrap(PATIENTS, lambda r: r.slice_means(np.hstack([x, y])), draws=20)[1]
    np.testing.assert_array_equal(alone[:, 0], together[:, 0])


def test_nan_slices_are_left_out_of_means():
    values = np.array([[1.0], [np.nan], [3.0], [5.0], [np.nan], [7.0]])
    assert statistics.as_observed(PATIENTS).slice_means(values)[0, 0] == 4.0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(3)
    patients = np.repeat(np.arange(20), 6)
    covered = 0
    for repeat in range(150):
        values = generator.normal(0, 1, 20)[patients] + generator.normal(0, 0.5, len(patients))
        draws = statistics.bootstrap(patients, partial(_slice_means, values[:, None]), 300, seed=repeat)[1]
        low, high = statistics.percentile_interval(draws)
        covered += low[0] <= 0 <= high[0]
    assert 0.88 <= covered / 150 <= 0.995


@pytest.mark.parametrize("runs", [3, 8])
def test_intervals_over_patients_and_few_runs_cover_the_truth(runs):
    generator = np.random.default_rng(4)
    patients = np.arange(15)
    covered = 0
    for repeat in range(200):
        of_run = generator.normal(0, 0.3, runs)
        values = generator.normal(0, 1, 15)[:, None] + of_run
        score, draws = statistics.bootstrap(patients, partial(_slice_means, values), 300, seed=repeat)
        mean = draws.mean(axis=1) + statistics.run_draws(score, 300, seed=repeat)
        low, high = statistics.percentile_interval(mean[:, None])
        covered += low[0] <= 0 <= high[0]
    assert 0.90 <= covered / 200 <= 0.995


def test_one_run_adds_no_spread_and_equal_runs_none_either():
    assert not statistics.run_draws(np.array([0.7]), 50).any()
    assert not statistics.run_draws(np.array([0.5, 0.5, 0.5]), 50).any()


def test_interval_of_a_column_without_values_is_nan():
    low, high = statistics.percentile_interval(np.array([[np.nan, 1.0], [np.nan, 3.0]]))
    assert np.isnan([low[0], high[0]]).all() and low[1] < high[1]


def test_p_values_are_two_sided_bounded_and_one_without_difference():
    differences = np.array([[1.0, -1.0, 0.0]] * 99)
    np.testing.assert_allclose(statistics.p_values(differences), [2 / 100, 2 / 100, 1.0])


def test_holm_equals_its_definition_and_keeps_order_and_nan():
    adjusted = statistics.holm([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_holm_keeps_the_family_wise_error():
    generator = np.random.default_rng(0)
    p = generator.uniform(size=(2000, 6))
    wrong = np.mean([(statistics.holm(row) < 0.05).any() for row in p])
    assert 0.035 < wrong < 0.065


def test_rank_correlation_equals_scipy_and_its_interval_covers():
    generator = np.random.default_rng(1)
    x = generator.normal(size=40)
    y = x + generator.normal(size=40)
    found = statistics.rank_correlation(x, y)
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic) and found.count == 40
    assert found.low < found.rho < found.high
    independent = [statistics.rank_correlation(*generator.normal(size=(2, 30))) for _ in range(300)]
    assert 0.90 <= np.mean([c.low <= 0 <= c.high for c in independent]) <= 0.99


@pytest.mark.parametrize("x", [[1, 2, 3, 4], [1, 1, 1, 1, 1], [1, 2, np.nan, np.inf, 3, 4]])
def test_no_rank_correlation_of_too_few_or_constant_scores(x):
    assert statistics.rank_correlation(x, list(range(len(x)))) is None
