"""Pruners: ranks and crowding against pymoo, closed-form rungs, and the same decisions after a replay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookup_trainable import DIRECTIONS, row_at
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from studies import study_config

from study.search.dominance import crowding_distances, non_domination_ranks
from study.search.pruners import PRUNERS, make_pruner
from study.search.pruners.median import MedianRule
from study.search.pruners.pareto_asha import ParetoAsha
from study.search.pruners.pruner import Pruner
from taskct_core.errors import ConfigError
from taskct_core.schema import EPOCH, PRIMARY_DICE, PRIMARY_PSNR


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 3), st.booleans())
def test_ranks_are_those_of_pymoo(seed: int, count: int, objectives: int, ties: bool) -> None:
    points = np.random.default_rng(seed).normal(size=(count, objectives))
    points = points.round(0) if ties else points
    _, expected = NonDominatedSorting().do(-points, return_rank=True)
    np.testing.assert_array_equal(non_domination_ranks(points), expected)


@given(st.integers(0, 1000), st.integers(3, 40), st.integers(1, 3))
def test_crowding_is_that_of_pymoo(seed: int, count: int, objectives: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, objectives))
    expected = calc_crowding_distance(-points, filter_out_duplicates=False)
    # pymoo divides by the number of objectives.
    np.testing.assert_allclose(crowding_distances(points) / objectives, expected)


def test_points_with_nan_come_last() -> None:
    points = np.array([[1.0, 1.0], [math.nan, 5.0], [0.0, 0.0]])
    assert non_domination_ranks(points).tolist() == [0, 3, 1]


def decisions(pruner: Pruner, curves: list[list[dict[str, Any]]]) -> list[tuple[int, int]]:
    """Run trials one after another; return (trial, epoch) of each stop."""
    stops = []
    for trial, rows in enumerate(curves):
        for row in rows:
            if pruner.reason_to_stop(trial, row) is not None:
                stops.append((trial, row[EPOCH]))
                break
    return stops


def rows(values: list[float], name: str = "score") -> list[dict[str, Any]]:
    return [{EPOCH: epoch, name: value} for epoch, value in enumerate(values, start=1)]


def test_asha_on_one_metric_keeps_the_best_part_at_each_rung() -> None:
    pruner = ParetoAsha({"score": "maximize"}, grace_epochs=1, reduction_factor=2)
    curves = [rows([score] * 4) for score in (5.0, 6.0, 4.0, 7.0, 1.0)]
    # Rung 1: 5 (alone), 6 (best), 4 (2 of 3 better), 7 (best), 1 (last). Rungs 2 and 4 hold 5, 6, 7.
    assert decisions(pruner, curves) == [(2, 1), (4, 1)]
    worse = [rows([5.5] * 4)]  # 2 of 6 better at rung 1, then 2 of 4 at rung 2
    assert pruner.reason_to_stop(5, worse[0][0]) is None
    assert pruner.reason_to_stop(5, worse[0][1]) == "2 of the 4 trials at epoch 2 were better"


def test_asha_minimizes_where_told() -> None:
    pruner = ParetoAsha({"score": "minimize"}, grace_epochs=2, reduction_factor=2)
    assert decisions(pruner, [rows([1.0] * 4), rows([2.0] * 4), rows([0.5] * 4)]) == [(1, 2)]


def test_pareto_asha_keeps_the_front_and_drops_the_dominated() -> None:
    pruner = ParetoAsha({"a": "maximize", "b": "maximize"}, grace_epochs=1, reduction_factor=2)
    points = [(0.0, 1.0), (1.0, 0.0), (0.5, 0.4), (0.1, 0.1), (0.6, 0.6), (0.7, 0.3), (2.0, 2.0)]
    curves = [[{EPOCH: 1, "a": a, "b": b}] for a, b in points]
    # Whatever is on the front goes on, wherever it lies. (0.1, 0.1) is dominated once, and 3 of 4 are not; (0.4, 0.5)
    # comes when two dominate it, and 5 of 8 are dominated by fewer.
    assert decisions(pruner, curves) == [(3, 1)]
    assert (
        pruner.reason_to_stop(7, {EPOCH: 1, "a": 0.4, "b": 0.5}) == "5 of the 8 trials at epoch 1 were better"
    )


def test_asha_stops_what_is_nan() -> None:
    pruner = ParetoAsha({"score": "maximize"}, grace_epochs=1, reduction_factor=2)
    assert decisions(pruner, [rows([1.0]), rows([math.nan])]) == [(1, 1)]


def test_median_rule_compares_the_best_with_the_running_means() -> None:
    rule = MedianRule("score", "maximize", grace_epochs=2)
    others = [rows([1.0, 3.0]), rows([2.0, 4.0]), rows([3.0, 5.0])]  # running means at 2: 2, 3, 4
    assert decisions(rule, others) == []
    assert decisions_of(rule, 3, rows([0.0, 2.9])) == 2  # best 2.9 < median 3
    assert decisions_of(rule, 4, rows([3.1, 0.0])) is None  # best 3.1


def decisions_of(pruner: Pruner, trial: int, curve: list[dict[str, Any]]) -> int | None:
    return next((row[EPOCH] for row in curve if pruner.reason_to_stop(trial, row) is not None), None)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_replayed_pruner_decides_as_the_one_that_was_lost(name: str) -> None:
    config = study_config(pruner={"name": name, "reduction_factor": 2})
    trials = [
        {"alpha": i / 20, "learning_rate": 1e-4 if i % 3 == 0 else 1e-3}
        for i in (5, 1, 9, 3, 17, 13, 20, 7, 0)
    ]
    curves = [[row_at(values, epoch) for epoch in range(1, 9)] for values in trials]
    whole = make_pruner(config, DIRECTIONS)
    expected = decisions(whole, curves)
    assert name == "none" or expected
    lasts = dict(expected)
    for split in range(len(curves)):
        replayed = make_pruner(config, DIRECTIONS)
        for trial, curve in enumerate(curves[:split]):
            for row in curve[: lasts.get(trial, len(curve))]:
                replayed.observe(trial, row)
        tail = [
            (trial, epoch)
            for trial in range(split, len(curves))
            if (epoch := decisions_of(replayed, trial, curves[trial])) is not None
        ]
        assert tail == [stop for stop in expected if stop[0] >= split]


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigError, match="psnr_typo"):
        make_pruner(study_config(pruner={"name": "asha", "metric": "psnr_typo"}), DIRECTIONS)
    assert make_pruner(study_config(pruner={"name": "asha", "metric": PRIMARY_PSNR}), DIRECTIONS)
    assert PRIMARY_DICE in DIRECTIONS
