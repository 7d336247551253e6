"""One suite for every sampler: draws lie in the space, depend on the seed alone, and know all objectives."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import numpy as np
import optuna
import pytest
from lookup_trainable import DIRECTIONS, SPACE, row_at
from scipy.stats import qmc

from study.config import SamplerConfig
from study.search.samplers import SAMPLERS, make_sampler
from study.search.samplers.points import QuasiRandomPoints
from study.search.space import SearchSpace
from taskct_core.errors import ConfigError
from taskct_core.schema import PARAMETERS, PRIMARY_DICE, PRIMARY_PSNR

TRIALS = 7
ALL = [*SAMPLERS, "optuna.samplers:RandomSampler"]
OBJECTIVES = {1: [PRIMARY_DICE], 2: [PRIMARY_DICE, PRIMARY_PSNR], 3: [PRIMARY_DICE, PRIMARY_PSNR, PARAMETERS]}


def search(sampler: str, seed: int = 0, objectives: int = 2, trials: int = TRIALS) -> list[dict[str, Any]]:
    """Draw and judge ``trials`` trials; every third fails, every fifth is pruned."""
    space = SearchSpace.parse(SPACE)
    config = SamplerConfig(name=sampler, startup_trials=3, grid_points=2)
    names = OBJECTIVES[objectives]
    study = optuna.create_study(directions=[DIRECTIONS[name] for name in names])
    drawn = []
    for number in range(trials):
        study.sampler = make_sampler(config, space, seed)
        trial = study.ask()
        values = space.suggest(trial)
        drawn.append(values)
        if number % 5 == 4:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        elif number % 3 == 2:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            row = row_at(values, 4)
            trial.set_constraint("parameters", row[PARAMETERS] - 20_000)
            study.tell(trial, [row[name] for name in names])
    return drawn


@pytest.mark.parametrize("objectives", OBJECTIVES)
@pytest.mark.parametrize("sampler", ALL)
def test_draws_lie_in_the_space_for_any_number_of_objectives(sampler: str, objectives: int) -> None:
    space = SearchSpace.parse(SPACE)
    for values in search(sampler, objectives=objectives):
        assert space.parameters_of(values)
        assert values["architecture_parameters"]


@pytest.mark.parametrize("sampler", ALL)
def test_draws_depend_on_the_seed_alone(sampler: str) -> None:
    first = search(sampler)
    assert search(sampler) == first
    if sampler != "grid":
        assert search(sampler, seed=1)[0] != first[0]


@pytest.mark.parametrize("sampler", ALL)
def test_no_point_is_drawn_twice(sampler: str) -> None:
    drawn = [json.dumps(values, sort_keys=True) for values in search(sampler)]
    assert len(set(drawn)) == len(drawn)


def test_tpe_draws_parameters_together_in_some_trials_and_each_by_itself_in_others() -> None:
    space = SearchSpace.parse(SPACE)
    sampler = make_sampler(SamplerConfig(name="tpe", startup_trials=3), space, study_seed=0)
    study = optuna.create_study(directions=["maximize", "maximize"], sampler=sampler)
    drawn_together = []
    for _ in range(24):
        trial = study.ask()
        drawn_together.append(set(trial.relative_params))
        row = row_at(space.suggest(trial), 4)
        study.tell(trial, [row[name] for name in OBJECTIVES[2]])
    together = [names for names in drawn_together if names]
    assert 5 <= len(together) <= 16
    assert all({"alpha", "learning_rate"} <= names for names in together)


def test_grid_goes_through_every_combination() -> None:
    space = SearchSpace.parse(SPACE)
    points = list(space.grid(2))
    drawn = search("grid", trials=len(points))
    assert drawn == [space.values_of(point) for point in points]


def test_quasi_random_points_are_scrambled_sobol_points() -> None:
    space = SearchSpace.parse(
        {
            "alpha": {"kind": "uniform", "low": 0, "high": 1},
            "weight_decay": {"kind": "uniform", "low": 0, "high": 1},
        }
    )
    points = QuasiRandomPoints(space, seed=3)
    expected = qmc.Sobol(2, scramble=True, seed=3).random(16)
    for places in (range(16), [5, 9, 9, 0, 15]):  # one that is adopted lies behind
        found = np.array([list(points[place].values()) for place in places])
        np.testing.assert_array_equal(found, expected[list(places)])


def test_tpe_comes_closer_to_the_optimum_than_random() -> None:
    def best(sampler: str) -> float:
        return max(row_at(values, 4)[PRIMARY_DICE] for values in search(sampler, objectives=1, trials=40))

    assert best("tpe") > best("random")


def test_a_sampler_of_ones_own_is_given_its_options_and_a_seed() -> None:
    space = SearchSpace.parse({"alpha": {"kind": "uniform", "low": 0, "high": 1}})
    study = optuna.create_study()
    name, options = "optuna.samplers:TPESampler", {"n_startup_trials": 2}
    study.sampler = make_sampler(SamplerConfig(name=name, options=options), space, 0)
    drawn = []
    for _ in range(12):
        trial = study.ask()
        drawn.append(space.suggest(trial)["alpha"])
        study.tell(trial, abs(drawn[-1] - 0.3))
    assert np.median(np.abs(np.array(drawn[4:]) - 0.3)) < 0.15  # 0.25 and more at random


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such class": ({"name": "optuna.samplers:NoSuch"}, "importable package.module:Name"),
    "no sampler": ({"name": "pathlib:Path"}, "subclass of optuna.samplers.BaseSampler"),
    "no such option": (
        {"name": "optuna.samplers:RandomSampler", "options": {"cooling": 1}},
        "must accept study.sampler.options",
    ),
    "of a built-in one": ({"name": "tpe", "options": {"n_startup_trials": 3}}, "tpe is"),
    "a hub's without a name": ({"name": "optunahub:samplers/auto_sampler"}, "optunahub"),
}


@pytest.mark.parametrize(("settings", "message"), REFUSED.values(), ids=REFUSED)
def test_a_sampler_that_cannot_be_made_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_sampler(SamplerConfig.parse(settings), SearchSpace.parse(SPACE), 0)


@pytest.mark.skipif(importlib.util.find_spec("optunahub") is not None, reason="optunahub is installed")
def test_a_sampler_of_optunahub_says_what_to_install() -> None:
    config = SamplerConfig(name="optunahub:samplers/auto_sampler:AutoSampler")
    with pytest.raises(ConfigError, match=r"pip install .taskct\[optunahub\]"):
        make_sampler(config, SearchSpace.parse(SPACE), 0)
