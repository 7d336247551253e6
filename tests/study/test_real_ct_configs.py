"""The configurations of benchmarks/real_ct are ones that a person can start: what is checked before a run passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.config import ExperimentConfig, load_experiment
from study.experiment.preflight import check_space
from study.search.config import points_of
from study.search.space import SearchSpace
from study.search.space.dimensions import Dimension
from study.trials.task import TrialTask
from taskct_core.geometry import PRESETS
from taskct_core.reconstructors import build_reconstructor
from taskct_core.training.config import TrialConfig

CONFIGS = sorted((Path(__file__).parents[2] / "benchmarks" / "real_ct").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_point_of_a_configuration_is_a_trial_that_can_be_built(path: Path) -> None:
    experiment = load_experiment(path)
    space = check_space(experiment)
    points = points_of(experiment.study.enqueue)
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    if points and experiment.study.repeats.folds is not None:
        assert len(points) == experiment.study.trials, "the points and no others"
    for point in points:
        assert set(point) == set(space.dimensions) or len(points) < experiment.study.trials
        config = _trial_of(experiment, space, point)
        build_reconstructor(
            config.architecture, config.architecture_parameters, PRESETS[experiment.simulation.preset]
        )


def _trial_of(experiment: ExperimentConfig, space: SearchSpace, point: dict[str, Any]) -> TrialConfig:
    """What a study trains at a point; what that leaves open is in the middle of its range."""
    given = space.parameters_of(point)

    def pick(name: str, dimension: Dimension) -> Any:
        return given.get(name, dimension.parameter_at(0.5))

    proposal = {"values": space.draw(pick), "folder": ".", "trial": 0}
    return TrialTask.from_search(experiment.trial, proposal).config


def test_the_tables_of_the_comparison_share_data_scanner_and_budget() -> None:
    """Else their rows could not be set beside each other."""
    tables = [
        load_experiment(path) for path in CONFIGS if path.stem in ("comparison", "modes", "architectures")
    ]
    assert len(tables) == 3
    for name in ("data", "simulation", "trial", "pretrained", "audit"):
        assert all(getattr(table, name) == getattr(tables[0], name) for table in tables)
    assert all(table.study.repeats == tables[0].study.repeats for table in tables)
