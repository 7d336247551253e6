"""Interquartile mean and probability of improvement against SciPy and cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.across_tasks import Runs, interquartile_mean, probability_of_improvement


def runs(*scores: list[float]) -> Runs:
    return Runs([np.array(of_task) for of_task in scores])


def test_the_interquartile_mean_is_the_mean_of_the_middle_half() -> None:
    found = interquartile_mean(runs([0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 100.0]))
    assert found.value == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert found.low <= found.value <= found.high


def test_the_probability_of_improvement_is_the_mean_of_mann_and_whitneys_u() -> None:
    generator = np.random.default_rng(0)
    one, other = ([generator.normal(shift, 1, 5) for _ in range(3)] for shift in (0.5, 0.0))
    expected = np.mean([stats.mannwhitneyu(a, b).statistic / 25 for a, b in zip(one, other, strict=True)])
    found = probability_of_improvement(Runs(one), Runs(other))
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_equals_count_half() -> None:
    same = runs([1.0, 1.0, 1.0])
    assert probability_of_improvement(same, same).value == 0.5
    with pytest.raises(ValueError, match="same tasks"):
        probability_of_improvement(same, runs([1.0], [2.0]))
