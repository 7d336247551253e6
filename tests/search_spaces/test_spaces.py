"""The built-in spaces: valid, about things that exist, and their draws are trials."""

from __future__ import annotations

import inspect

import optuna
import pytest

import search_spaces.alpha
import search_spaces.architectures
from study.search.space import SearchSpace
from taskct_core.config import TrialConfig
from taskct_core.reconstructors import RECONSTRUCTORS
from taskct_core.registry import load

SPACES = ["search_spaces.default:SPACE", "search_spaces.wide:SPACE"]
ALPHAS = {name: getattr(search_spaces.alpha, name) for name in ("LINEAR", "LOG", "LOGIT")}


@pytest.mark.parametrize("name", SPACES)
def test_every_draw_is_a_trial(name: str) -> None:
    space = SearchSpace.parse(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        assert TrialConfig.parse(space.suggest(study.ask()))


@pytest.mark.parametrize("name", ALPHAS)
def test_alpha_reaches_both_ends(name: str) -> None:
    dimension = SearchSpace.parse({"alpha": ALPHAS[name]}).dimensions["alpha"]
    assert dimension.value_of(0.0) == 0.0 and dimension.value_of(1.0) == 1.0


@pytest.mark.parametrize("architecture", search_spaces.architectures.ARCHITECTURE["values"])
def test_searched_parameters_are_the_architectures_own(architecture: str) -> None:
    parameters = inspect.signature(load(architecture, RECONSTRUCTORS, "architecture")).parameters
    assert search_spaces.architectures.ARCHITECTURE["values"][architecture].keys() <= parameters.keys()
