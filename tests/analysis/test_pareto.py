"""Fronts and hypervolumes against brute force, Optuna and pymoo, and by their invariants."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna._hypervolume import compute_hypervolume
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from analysis import pareto
from taskct_core.errors import ConfigError

DIRECTIONS = ("maximize", "minimize")
# A coarse grid, so that ties and duplicates are common.
point_sets = st.tuples(st.integers(1, 30), st.integers(1, 3)).flatmap(
    lambda shape: arrays(float, shape, elements=st.integers(0, 6).map(float))
)


def brute_force_front(costs: np.ndarray) -> np.ndarray:
    def dominated(p: np.ndarray) -> bool:
        return any((q <= p).all() and (q < p).any() for q in costs)

    return np.array([not np.isnan(p).any() and not dominated(p) for p in costs])


def grid_volume(points: np.ndarray, reference: np.ndarray) -> float:
    """Counts the unit cells below the reference that some point dominates (integer coordinates)."""
    cells = itertools.product(*(range(int(r)) for r in reference))
    return float(sum(any((p <= cell).all() for p in points) for cell in cells))


@given(points=point_sets, data=st.data())
def test_front_equals_brute_force_with_ties_and_directions(points, data):
    directions = data.draw(
        st.lists(st.sampled_from(DIRECTIONS), min_size=points.shape[1], max_size=points.shape[1])
    )
    signs = np.array([-1 if d == "maximize" else 1 for d in directions])
    np.testing.assert_array_equal(pareto.non_dominated(points, directions), brute_force_front(points * signs))


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_front_equals_pymoo_on_random_points(objectives):
    points = np.random.default_rng(objectives).normal(size=(300, objectives))
    expected = np.zeros(300, bool)
    expected[NonDominatedSorting().do(points, only_non_dominated_front=True)] = True
    np.testing.assert_array_equal(pareto.non_dominated(points, ["minimize"] * objectives), expected)


def test_points_with_nan_are_on_no_front_and_hide_nothing():
    points = np.array([[np.nan, 9.0], [1.0, np.nan], [1.0, 2.0], [0.0, 0.0]])
    assert pareto.non_dominated(points, ["maximize"] * 2).tolist() == [False, False, True, False]
    assert pareto.non_dominated(np.empty((0, 2)), ["maximize"] * 2).tolist() == []


@settings(max_examples=50)
@given(points=point_sets)
def test_hypervolume_equals_the_count_of_dominated_cells(points):
    reference = np.full(points.shape[1], 5.0)
    assert pareto.hypervolume(points, reference, ["minimize"] * points.shape[1]) == grid_volume(
        points, reference
    )


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_optuna_and_pymoo(objectives, seed):
    points = np.random.default_rng(seed).normal(size=(60, objectives))
    reference = np.full(objectives, 1.0)
    ours = pareto.hypervolume(points, reference, ["minimize"] * objectives)
    assert ours == pytest.approx(HV(ref_point=reference)(points), rel=1e-12)
    assert ours == pytest.approx(compute_hypervolume(points[(points < 1).all(axis=1)], reference), rel=1e-9)


@given(points=point_sets, extra=st.data())
def test_hypervolume_never_falls_when_a_point_is_added_and_ignores_dominated_ones(points, extra):
    k = points.shape[1]
    reference, directions = np.full(k, 7.0), ["minimize"] * k
    whole = pareto.hypervolume(points, reference, directions)
    new = extra.draw(arrays(float, (1, k), elements=st.integers(0, 6).map(float)))
    assert pareto.hypervolume(np.vstack([points, new]), reference, directions) >= whole
    front = points[pareto.non_dominated(points, directions)]
    assert pareto.hypervolume(front, reference, directions) == whole


def test_hypervolume_flips_with_directions_and_refuses_four_objectives():
    points, reference = np.array([[0.8, 30.0], [0.9, 28.0]]), [0.5, 25.0]
    assert pareto.hypervolume(points, reference, ["maximize"] * 2) == pytest.approx(0.3 * 5 + 0.1 * 3)
    with pytest.raises(ConfigError, match="at most 3 objectives"):
        pareto.hypervolume(np.ones((1, 4)), [0] * 4, ["maximize"] * 4)


def test_knee_is_the_corner_of_a_bent_front_and_none_on_a_line():
    bent = np.array([[0.0, 1.0], [0.9, 0.9], [1.0, 0.0], [0.5, 0.5]])
    assert pareto.knee(bent, ["maximize"] * 2) == 1
    line = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert pareto.knee(line, ["maximize"] * 2) is None
    assert pareto.knee(bent[:2], ["maximize"] * 2) is None


def test_gap_closed_is_the_share_of_the_way_and_nan_without_a_gap():
    assert pareto.gap_closed(0.75, 0.5, 1.0) == 0.5
    assert np.isnan(pareto.gap_closed(0.7, 0.5, 0.5))
    assert np.isnan(pareto.gap_closed(30.0, 25.0, np.inf))


def test_infinite_scores_are_compared_like_others():
    """As of a network that gives the full-dose image back, whose PSNR is infinite."""
    points = np.array([[np.inf, 1], [np.inf, 2], [0, 3], [-np.inf, -np.inf]])
    assert pareto.non_dominated(points, ["maximize"] * 2).tolist() == [False, True, True, False]
