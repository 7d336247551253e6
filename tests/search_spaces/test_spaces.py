"""The built-in spaces: valid, about things that exist, and their draws are trials."""

from __future__ import annotations

import optuna
import pytest

import search_spaces.alpha
from search_spaces.architectures import ANY_ARCHITECTURE, FROM_FBP, FROM_SINOGRAM
from study.search.space import SearchSpace
from taskct_core.geometry import PRESETS
from taskct_core.reconstructors import RECONSTRUCTORS, build_reconstructor
from taskct_core.training.config import TrialConfig

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


def test_every_architecture_can_be_searched() -> None:
    assert {*FROM_FBP, *FROM_SINOGRAM} == {*RECONSTRUCTORS}


@pytest.mark.parametrize("architecture", [*FROM_FBP, *FROM_SINOGRAM])
def test_the_corners_of_an_architecture_can_be_built(architecture: str) -> None:
    space = SearchSpace.parse({"architecture": ANY_ARCHITECTURE})
    branch = space.dimensions["architecture"].branch(architecture)
    geometry = PRESETS["tiny"]
    for position in (0.0, 1.0):
        parameters = {name: dimension.parameter_at(position) for name, dimension in branch.items()}
        model = build_reconstructor(architecture, parameters, geometry)
        assert ("sinogram" in getattr(model, "inputs", ())) == (architecture in FROM_SINOGRAM)
