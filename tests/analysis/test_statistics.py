"""Bootstrap, Holm and rank correlation against brute force, closed forms and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis import statistics

PATIENTS = ["a", "a", "a", "b", "c", "c"]


def test_every_draw_takes_patients_with_all_their_slices():
    values = np.arange(6.0)[:, None]
    drawn = statistics.resamples(PATIENTS, draws=50, seed=1)
    weights = (drawn.counts @ drawn.blocks).toarray()
    for of_draw in weights:
        of_patients = {name: set(of_draw[[name == other for other in PATIENTS]]) for name in "abc"}
        assert all(len(times) == 1 for times in of_patients.values())  # each slice as often as the patient
        assert sum(times.pop() for times in of_patients.values()) == 3
    np.testing.assert_allclose(drawn.sums(values), weights @ values)
    by_hand = (weights @ values) / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(drawn.slice_means(values), by_hand)


def test_means_over_blocks_count_a_patient_as_often_as_it_is_drawn():
    scores = np.array([[1.0], [np.nan], [4.0]])
    drawn = statistics.resamples(PATIENTS, draws=50, seed=1)
    # A draw of the patient without a score alone has none.
    with np.errstate(invalid="ignore", divide="ignore"):
        by_hand = [float(row[0] + 4 * row[2]) / (row[0] + row[2]) for row in drawn.counts.toarray()]
    np.testing.assert_allclose(drawn.block_means(scores)[:, 0], by_hand)


def test_same_seed_same_draws_whatever_is_measured():
    x, y = np.random.default_rng(0).normal(size=(2, 6, 1))
    alone = statistics.bootstrap(PATIENTS, lambda r: r.slice_means(x), draws=20)[1]
    together = statistics.bootstrap(PATIENTS, lambda r: r.slice_means(np.hstack([x, y])), draws=20)[1]
    np.testing.assert_array_equal(alone[:, 0], together[:, 0])


def test_nan_slices_are_left_out_of_means():
    values = np.array([[1.0], [np.nan], [3.0], [5.0], [np.nan], [7.0]])
    assert statistics.as_observed(PATIENTS).slice_means(values)[0, 0] == 4.0


def test_of_a_single_patient_slices_are_drawn():
    _, draws = statistics.bootstrap(["a"] * 30, lambda r: r.slice_means(np.arange(30.0)[:, None]), 200)
    assert 0.5 < draws.std() < 3


def test_draws_of_few_patients_spread_as_students_t_of_them():
    """Quantiles of draws of a mean against the t interval of eight values, and its standard error."""
    values = np.random.default_rng(3).normal(size=8)
    score, draws = statistics.bootstrap(list("abcdefgh"), lambda r: r.slice_means(values[:, None]), 40_000)
    assert draws.std() == pytest.approx(stats.sem(values), rel=0.02)
    low, high = statistics.percentile_interval(statistics.as_of_few(score, draws, 7))
    expected = stats.t.interval(0.95, 7, values.mean(), stats.sem(values))
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=0.06, atol=0.03)


def test_without_each_leaves_out_one_patient_at_a_time():
    values = np.arange(6.0)[:, None]
    found = statistics.without_each(PATIENTS, lambda r: r.slice_means(values))[:, 0]
    np.testing.assert_allclose(found, [4.0, 2.4, 1.5])  # without 0 to 2, without 3, without 4 and 5
    np.testing.assert_allclose(statistics.without_each(PATIENTS, lambda r: r.sums(values))[:, 0], [12, 12, 6])


@pytest.mark.parametrize("ratio", [0.3, 0.8, 2.0])
def test_patients_needed_have_the_power(ratio):
    """Simulated: a paired t test of so many patients finds the difference in 80 of 100."""
    needed = int(statistics.patients_needed(ratio, 1.0, 0.0))
    found = stats.ttest_1samp(np.random.default_rng(0).normal(ratio, 1, (needed, 2000)), 0).pvalue < 0.05
    assert 0.77 <= found.mean() <= (0.87 if needed > 6 else 1)


def test_no_number_of_patients_makes_up_for_runs_or_for_no_difference():
    assert statistics.patients_needed(0.5, 1.0, 1.0) == np.inf
    assert statistics.patients_needed(0.0, 1.0, 0.0) == np.inf
    assert np.isnan(statistics.patients_needed(np.nan, 1.0, 0.0))


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


def test_a_few_trials_in_one_order_do_not_settle_a_rank_correlation():
    """One order's interval was 1 alone, so that with a correlation of 0.9 six trials held the truth in 85 of 100 studies."""
    same, opposed = (statistics.rank_correlation(range(5), order) for order in (range(5), range(5, 0, -1)))
    assert (same.rho, same.high) == pytest.approx((1, 1)) and same.low < 0.5
    assert (opposed.low, opposed.high) == pytest.approx((-same.high, -same.low))
    generator = np.random.default_rng(0)
    truth = 6 / np.pi * np.arcsin(0.9 / 2)
    pairs = generator.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], size=(400, 6))
    found = [statistics.rank_correlation(*of_study.T) for of_study in pairs]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.93
