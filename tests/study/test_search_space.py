"""Dimensions and spaces: scales against SciPy, round trips, conditional parameters, messages."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lookup_trainable import SPACE
from scipy.special import expit, logit

from study.search.space import SearchSpace
from study.search.space.ranges import END_SHARE, FloatDimension, IntDimension
from taskct_core.errors import ConfigError
from taskct_core.training.config import TrialConfig

LOGIT = FloatDimension(kind="logit", low=0.01, high=0.99, ends=(0.0, 1.0))
LOG = FloatDimension(kind="log", low=1e-3, high=1.0, ends=(0.0,))
LINEAR = FloatDimension(kind="uniform", low=0.0, high=1.0, ends=(0.0, 1.0))
SCALED = {"logit": LOGIT, "log": LOG, "linear": LINEAR}


@pytest.mark.parametrize("dimension", SCALED.values(), ids=SCALED)
def test_ends_are_reached_exactly_by_their_share_of_positions(dimension: FloatDimension) -> None:
    positions = [i / 10_000 for i in range(10_001)]
    values = [dimension.at(position) for position in positions]
    assert values[0] == 0.0 and values[-1] == 1.0
    assert values == sorted(values)
    assert sum(value == 0.0 for value in values) == pytest.approx(END_SHARE * 10_000, abs=2)


def test_logit_scale_is_even_in_log_odds() -> None:
    assert LOGIT.at(0.5) == pytest.approx(0.5)
    quarter = logit(0.01) + 0.25 * (logit(0.99) - logit(0.01))
    assert LOGIT.at(END_SHARE + 0.25 * (1 - 2 * END_SHARE)) == pytest.approx(expit(quarter))


def test_log_scale_is_even_in_logarithms() -> None:
    assert LOG.at(END_SHARE + 0.5 * (1 - END_SHARE)) == pytest.approx(math.sqrt(1e-3))


@pytest.mark.parametrize("dimension", SCALED.values(), ids=SCALED)
@given(position=st.floats(0, 1))
def test_value_and_position_are_inverse(dimension: FloatDimension, position: float) -> None:
    value = dimension.at(position)
    assert dimension.contains(value)
    assert dimension.at(dimension.parameter_of(value)) == pytest.approx(value, abs=1e-12)


@given(st.integers(1, 40), st.integers(0, 40), st.booleans(), st.floats(0, 1))
def test_every_position_gives_a_whole_number_in_range(
    low: int, span: int, log: bool, position: float
) -> None:
    dimension = IntDimension(kind="int", low=low, high=low + span, log=log)
    assert dimension.contains(dimension.parameter_at(position))
    assert dimension.parameter_at(0.0) == low and dimension.parameter_at(1.0) == low + span


def test_a_draw_is_a_trial_and_comes_back_from_its_parameters() -> None:
    space = SearchSpace.parse({**SPACE, "alpha": LOGIT.model_dump()})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    architectures = set()
    for _ in range(30):
        trial = study.ask()
        values = space.suggest(trial)
        TrialConfig.parse(values)
        assert space.values_of(trial.params) == values
        back = space.values_of(space.parameters_of(values))
        assert back.pop("alpha") == pytest.approx(values["alpha"])
        assert back == {name: value for name, value in values.items() if name != "alpha"}
        architectures.add((values["architecture"], *values["architecture_parameters"]))
        assert ("unet.width" in trial.params) == (values["architecture"] == "unet")
    assert architectures == {("unet", "width"), ("lookup:other", "depth")}


def test_grid_has_every_combination_once() -> None:
    space = SearchSpace.parse(
        {
            "alpha": {"kind": "uniform", "low": 0, "high": 1},
            "architecture": {
                "kind": "choice",
                "values": {"unet": {"width": {"kind": "int", "low": 8, "high": 9}}, "lookup:other": None},
            },
        }
    )
    points = list(space.grid(3))
    assert [point["alpha"] for point in points] == [0, 0, 0, 0.5, 0.5, 0.5, 1, 1, 1]
    assert len({tuple(point.items()) for point in points}) == 3 * (2 + 1)
    assert {"alpha": 0.5, "architecture": "unet", "unet.width": 9} in points
    assert {"alpha": 0.5, "architecture": "lookup:other"} in points


def test_examples_show_each_architecture_once() -> None:
    examples = SearchSpace.parse(SPACE).examples("architecture")
    assert [example["architecture"] for example in examples] == ["unet", "lookup:other"]
    assert examples[0]["architecture_parameters"].keys() == {"width"}
    (only,) = SearchSpace.parse({"alpha": SPACE["alpha"]}).examples("architecture")
    assert only == {"alpha": 0.5}


def test_a_space_is_read_from_python() -> None:
    assert SearchSpace.parse("search_spaces.default:SPACE").dimensions.keys() == {"alpha", "learning_rate"}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"alfa": {"kind": "uniform", "low": 0, "high": 1}}, "alfa"),
    "unknown kind": ({"alpha": {"kind": "normal", "low": 0, "high": 1}}, "normal"),
    "unknown key": ({"alpha": {"kind": "uniform", "low": 0, "hihg": 1}}, "hihg"),
    "low above high": ({"alpha": {"kind": "uniform", "low": 1, "high": 0}}, "low < high"),
    "log from 0": ({"learning_rate": {"kind": "log", "low": 0, "high": 1}}, "ends: \\[0\\]"),
    "logit to 1": ({"alpha": {"kind": "logit", "low": 0.1, "high": 1}}, "ends: \\[0, 1\\]"),
    "end inside": ({"alpha": {"kind": "uniform", "low": 0, "high": 1, "ends": [0.5]}}, "ends"),
    "no choices": ({"image_loss": {"kind": "choice", "values": []}}, "at least one"),
    "unknown loss": ({"image_loss": {"kind": "choice", "values": ["mse", "msee"]}}, "msee"),
    "negative rate": ({"learning_rate": {"kind": "uniform", "low": -1, "high": 1}}, "learning_rate"),
    "whole number wanted": ({"batch_size": {"kind": "uniform", "low": 1, "high": 2.5}}, "batch_size"),
    "branches without parameters": (
        {
            "image_loss": {
                "kind": "choice",
                "values": {"mse": {"width": {"kind": "int", "low": 1, "high": 2}}},
            }
        },
        "image_loss",
    ),
    "empty": ({}, "dimension"),
    "no mapping": ({"alpha": 0.5}, "alpha must be a mapping"),
    "nested": (
        {
            "architecture": {
                "kind": "choice",
                "values": {"unet": {"width": {"kind": "int", "low": 9, "high": 8}}},
            }
        },
        r"^architecture\.unet\.width: low <= high must hold, but got low = 9 and high = 8; received",
    ),
    "values": ({"image_loss": {"kind": "choice", "values": "mse"}}, "values must be a list"),
}


@pytest.mark.parametrize(("space", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_space_is_refused_by_name(space: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SearchSpace.parse(space)


def test_a_point_outside_the_space_is_refused_by_name() -> None:
    space = SearchSpace.parse(SPACE)
    with pytest.raises(ConfigError, match=r"alpha.*1\.5"):
        space.parameters_of({"alpha": 1.5})
    with pytest.raises(ConfigError, match="depth"):
        space.parameters_of({"architecture": "unet", "architecture_parameters": {"depth": 3}})
    with pytest.raises(ConfigError, match="batch_size"):
        space.parameters_of({"batch_size": 4})
