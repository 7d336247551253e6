"""Configuration models refuse what is wrong, at every depth, and say what would be right."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from study.config import ExperimentConfig
from taskct_core.config import StrictModel
from taskct_core.errors import ConfigError
from taskct_core.simulation.config import SimulationConfig
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig


def models_in(
    model: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], type[BaseModel]]]:
    """Every configuration model in the tree, with the keys that lead to it."""
    yield path, model
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models_in(field.annotation, (*path, name))


def nested(path: tuple[str, ...], values: dict[str, Any]) -> dict[str, Any]:
    for key in reversed(path):
        values = {key: values}
    return values


@pytest.mark.parametrize(
    ("path", "model"),
    list(models_in(ExperimentConfig)),
    ids=lambda v: ".".join(v) if isinstance(v, tuple) else "",
)
def test_an_unknown_key_is_answered_with_the_valid_ones_at_every_depth(
    path: tuple[str, ...], model: type[BaseModel]
) -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.parse(nested(path, {"no_such_key": 7}))
    where = ".".join((*path, "no_such_key"))
    valid = ", ".join(sorted(model.model_fields))
    assert f"'{where}' is not a known key (valid here: {valid})" in caught.value.rule
    assert caught.value.received == f"{where} = 7"


def test_an_unknown_key_inside_an_optional_model_names_that_models_keys() -> None:
    class Inner(StrictModel):
        depth: int = 1

    class Outer(StrictModel):
        inner: Inner | None = None

    with pytest.raises(ConfigError, match=r"'inner\.dept' is not a known key \(valid here: depth\)"):
        Outer.parse({"inner": {"dept": 2}})


def test_the_tree_has_every_part() -> None:
    paths = {".".join(path) for path, _ in models_in(ExperimentConfig)}
    assert {"", "data.source", "data.slices", "simulation", "trial", "study.sampler", "execution"} <= paths


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.parse({"trial": {"epochs": 0, "alhpa": 1}, "simulation": {"preset": "huge"}})
    for part in (
        "trial.epochs",
        "'trial.alhpa'",
        "simulation.preset",
        "unknown preset 'huge'; valid: lodopab, medium, small, tiny",
    ):
        assert part in caught.value.rule
    for part in ("trial.epochs = 0", "trial.alhpa = 1", "simulation.preset = 'huge'"):
        assert part in caught.value.received


@pytest.mark.parametrize("alpha", [-0.1, 1.1, 7, float("nan"), float("inf"), "much"])
@pytest.mark.parametrize("mixing", ["convex", "share"])
def test_alpha_outside_the_unit_interval(alpha: Any, mixing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig.parse({"alpha": alpha, "mixing": mixing})
    assert "alpha" in caught.value.rule and repr(alpha) in caught.value.received


@pytest.mark.parametrize("alpha", [0, 0.5, 1])
def test_alpha_inside_it(alpha: float) -> None:
    assert TrialConfig.parse({"alpha": alpha}).alpha == alpha


def test_additive_mixing_has_no_upper_bound() -> None:
    assert TrialConfig.parse({"alpha": 30.0, "mixing": "additive"}).alpha == 30


@pytest.mark.parametrize(
    ("model", "key", "valid"),
    [
        (TrialConfig, "architecture", "unet"),
        (TrialConfig, "image_loss", "mse"),
        (TrialConfig, "task_loss", "dice_ce"),
        (TaskNetworkConfig, "architecture", "unet"),
    ],
)
def test_an_unknown_name_is_answered_with_the_valid_ones(
    model: type[StrictModel], key: str, valid: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        model.parse({key: "no_such_name"})
    assert "no_such_name" in str(caught.value) and valid in caught.value.rule


@pytest.mark.parametrize("window", [(250, -200), (0, 0), (1,), "liver"])
def test_a_window_must_be_low_then_high(window: Any) -> None:
    with pytest.raises(ConfigError, match="window_hu"):
        TaskNetworkConfig.parse({"window_hu": window})


@pytest.mark.parametrize("photons", [0, -5, [1, 0], [5, 1], [0, 10], "many", float("nan")])
def test_photons_must_be_positive_or_a_range(photons: Any) -> None:
    with pytest.raises(ConfigError, match="photons_per_ray"):
        SimulationConfig.parse({"photons_per_ray": photons})


def test_a_range_of_photons_is_a_pair() -> None:
    assert SimulationConfig.parse({"photons_per_ray": [1000, 4096]}).photons_per_ray == (1000, 4096)


def test_a_section_that_is_no_mapping() -> None:
    with pytest.raises(ConfigError, match="trial = 5"):
        ExperimentConfig.parse({"trial": 5})


def test_a_long_value_does_not_flood_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        TrialConfig.parse({"epochs": "x" * 5000})
    assert len(str(caught.value)) < 1000


def test_models_are_frozen_and_make_the_way_to_a_worker() -> None:
    config = TrialConfig(alpha=0.25)
    with pytest.raises(ValidationError):
        config.alpha = 0.5
    assert pickle.loads(pickle.dumps(config)) == config
    assert TrialConfig.parse(config.model_dump(mode="json")) == config
    assert ExperimentConfig.parse(ExperimentConfig().model_dump(mode="json")) == ExperimentConfig()


def test_the_choices_of_a_union_are_told_by_the_key_alone() -> None:
    """Pydantic's names for them, such as function-after[...] and constrained-float, mean nothing to a user."""
    with pytest.raises(ConfigError) as caught:
        SimulationConfig.parse({"photons_per_ray": "many", "fresh_draw": {"dose_factor": [1, "x"]}})
    rule = caught.value.rule
    assert rule.count("photons_per_ray:") == 1 and "; or " in rule and "fresh_draw.dose_factor.1:" in rule
    for leaked in ("constrained", "function-", "tuple[", ".float", "[ge="):
        assert leaked not in rule + caught.value.received


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("learnin_rate", "learning_rate"), ("alhpa", "alpha"), ("archtecture", "architecture")],
)
def test_a_mistyped_key_gets_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{right}'"):
        TrialConfig.parse({wrong: 1})


def test_a_mistyped_name_gets_the_nearest_and_a_strange_one_none() -> None:
    with pytest.raises(ConfigError, match="did you mean 'learned_primal_dual'"):
        TrialConfig.parse({"architecture": "learnd_primal_dual"})
    with pytest.raises(ConfigError) as caught:
        TrialConfig.parse({"zzz": 1, "architecture": "qqq"})
    assert "did you mean" not in caught.value.rule


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"trial": {"epochs": "five"}}, "trial.epochs: must be a whole number"),
        ({"trial": {"epochs": 4.5}}, "trial.epochs: must be a whole number"),
        ({"trial": {"epochs": -5}}, "trial.epochs: must be greater than or equal to 1"),
        ({"trial": {"alpha": "half"}}, "trial.alpha: must be a number"),
        ({"trial": 3}, "trial: must be a mapping, such as {key: value}"),
        ({"trial": {"image_loss": 3}}, "trial.image_loss: must be a text"),
        (
            {"task_network": {"window_hu": "-20, 200"}},
            "task_network.window_hu: must be a list, such as [a, b]",
        ),
        ({"name": "a/b"}, "name: must match pattern"),
        (
            {"data": {"source": {"lesion_diameter_mm": [50]}}},
            "data.source.lesion_diameter_mm: a value is missing",
        ),
    ],
)
def test_a_value_of_another_kind_is_answered_in_plain_words(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.parse(values)
    assert caught.value.rule.startswith(rule)
