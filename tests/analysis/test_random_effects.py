"""Error and degrees of freedom of patients and training runs against closed forms, and how often intervals hold the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from analysis import statistics
from analysis.contestants import Contestant
from analysis.method_draws import MethodDraws, draws_of_methods, gap_shares
from analysis.random_effects import RunScatter, degrees_of_freedom, run_scatter
from analysis.sample_scores import AlignedSamples
from analysis.statistics import Array

NAMES = [f"{number:02d}" for number in range(20)]


def means(values: Array) -> statistics.Statistic:
    return lambda resamples: resamples.slice_means(values)


def draws_of(values: Array, runs: tuple[int, ...], draws: int = statistics.DRAWS) -> MethodDraws:
    """Of methods with so many runs each, whose scores ``(patient, run)`` stand side by side."""
    of_methods = np.repeat(np.arange(len(runs)), runs)
    samples = AlignedSamples("test", of_methods.tolist(), NAMES[: len(values)], {})
    methods = [Contestant(str(number), (number,)) for number in range(len(runs))]
    return draws_of_methods(samples, methods, means(values), draws)


def test_one_run_and_equal_runs_scatter_not_at_all() -> None:
    assert run_scatter(np.array([0.7])).variance == 0
    assert run_scatter(np.array([0.5, 0.5, 0.5])).variance == 0


def test_the_scatter_without_the_interaction_is_that_of_a_two_way_analysis() -> None:
    """(MS of runs - MS of interaction) / (patients * runs), for a mean over patients."""
    generator = np.random.default_rng(9)
    values = generator.normal(size=(12, 1)) + generator.normal(0, 2, 4) + generator.normal(size=(12, 4))
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    expected = (values.mean(axis=0).var(ddof=1) - (rest**2).sum() / (11 * 3) / 12) / 4
    without = statistics.without_each(NAMES[:12], means(values))
    assert run_scatter(values.mean(axis=0), without).variance == pytest.approx(expected)


def test_without_runs_the_degrees_of_freedom_are_the_patients() -> None:
    assert degrees_of_freedom(2.0, 12, [RunScatter(1), RunScatter(1)], np.array([1.0, -1.0])) == 11
    assert degrees_of_freedom(np.nan, 12, [RunScatter(3, 1.0)], np.array([1.0])) == 11


def test_of_runs_alone_they_are_those_of_a_t_test_of_two_samples() -> None:
    """Patients that leave nothing open: 2 + 2 of three runs each, and 2 of one method's three."""
    three = RunScatter(3, 1.0)
    assert degrees_of_freedom(0.0, 50, [three, three], np.array([1.0, -1.0])) == pytest.approx(4)
    assert degrees_of_freedom(0.0, 50, [three, RunScatter(1)], np.array([1.0, -1.0])) == pytest.approx(2)


def test_both_together_are_satterthwaites() -> None:
    expected = (3 + 2) ** 2 / (3**2 / 11 + 2**2 / 2)
    assert degrees_of_freedom(3.0, 12, [RunScatter(3, 2.0)], np.array([1.0])) == pytest.approx(expected)


def test_intervals_of_differences_and_means_are_students_t() -> None:
    """One run each: the interval of a mean and of a paired difference, by SciPy."""
    values = np.random.default_rng(5).normal(size=(10, 2))
    draws = draws_of(values, (1, 1))
    _, low, high = draws.interval(lambda scores: np.hstack([scores, scores[:, [0]] - scores[:, [1]]]))
    for place, one in enumerate([values[:, 0], values[:, 1], values[:, 0] - values[:, 1]]):
        expected = stats.t.interval(0.95, 9, one.mean(), stats.sem(one))
        np.testing.assert_allclose([low[place], high[place]], expected, atol=0.12)


def test_what_is_infinite_or_unknown_has_no_interval_and_spoils_no_other() -> None:
    values = np.random.default_rng(5).normal(size=(10, 3))
    values[:, 2] = np.inf
    _, low, high = draws_of(values, (1, 1, 1)).interval(lambda s: s[:, :2] - s[:, [2]])
    assert np.isnan(low).all() and np.isnan(high).all()
    score, low, high = draws_of(values, (1, 1, 1)).interval()
    assert np.isinf(score[2]) and np.isnan(low[2]) and np.isfinite(low[:2]).all()


@pytest.mark.parametrize(("patients", "runs"), [(8, 3), (20, 5)])
@pytest.mark.parametrize(
    ("tell", "truth"),
    [
        (lambda scores: scores[:, [0]], 1.0),
        (lambda scores: scores[:, [0]] - scores[:, [1]], 0.5),
        (lambda scores: gap_shares(scores, 2, 3)[:, [0]], 1 / 3),
    ],
    ids=["mean", "difference", "gap"],
)
def test_intervals_hold_the_truth_in_95_of_100_studies(
    patients: int, runs: int, tell: Callable[[Array], Array], truth: float
) -> None:
    """Two methods of several runs, each better on other patients, between two references; 3 standard errors of 95 %."""
    generator = np.random.default_rng(4)
    columns = np.repeat([1.0, 0.5, 0.0, 3.0], [runs, runs, 1, 1])
    trained = np.repeat([1, 1, 0, 0], [runs, runs, 1, 1])
    held = 0
    for _ in range(100):
        values = columns + generator.normal(0, 0.5, (patients, 1))
        values = values + trained * generator.normal(0, 0.1, len(columns))
        values = values + (0.1 + 0.2 * trained) * generator.normal(size=values.shape)
        _, low, high = draws_of(values, (runs, runs, 1, 1), draws=200).interval(tell)
        held += bool(low[0] <= truth <= high[0])
    assert held / 100 >= 0.885
