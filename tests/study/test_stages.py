"""The stages of an experiment know what is done, refuse what is wrong before anything starts, and look at each part once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from study.config import ExperimentConfig
from study.data import dataset, simulation_plan
from study.experiment import experiment as experiment_module
from study.experiment.experiment import Experiment
from study.experiment.pretrain import PretrainStage, training_threads
from study.experiment.search import SearchStage
from study.experiment.simulate import SimulateStage
from study.experiment.stage import Stage, complete
from study.experiment.train import TrainStage
from study.search.lock import study_lock
from taskct_core.errors import ConfigError, DataError, StudyError


@pytest.fixture
def config(small, tmp_path: Path) -> ExperimentConfig:
    """The small experiment, in a folder of its own: dataset and task network are there, no trial is."""
    shutil.copytree(small.workspace.root, tmp_path / "small")
    return ExperimentConfig.parse(small.experiment.model_dump() | {"output": str(tmp_path)})


def stages_of(config: ExperimentConfig) -> list[Stage[Any]]:
    experiment = Experiment(config)
    return [
        SimulateStage(experiment),
        PretrainStage(experiment),
        SearchStage(experiment),
        TrainStage(experiment),
    ]


def damage_a_shard(config: ExperimentConfig, card: dataset.DatasetCard) -> None:
    path = Path(config.output) / "small" / "data" / card.shards["train"][0].path
    path.write_bytes(path.read_bytes()[:-1])


@contextmanager
def no_session() -> Iterator[None]:
    raise AssertionError("nothing should need Ray")
    yield


def test_each_part_is_looked_at_once(config: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    for module, name in (
        (simulation_plan, "find_damages"),
        (dataset, "find_damages"),
        (experiment_module, "check_space"),
        (experiment_module, "load_task_network"),
    ):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, name=name: (looks.append(name), real(*a))[1])
    stages = stages_of(config)
    for _ in range(2):
        for stage in stages:
            stage.check()
        assert [stage.is_done for stage in stages] == [True, True, False, False]
    assert sorted(looks) == ["check_space", "find_damages", "load_task_network"]


def test_what_is_done_needs_no_ray(config: ExperimentConfig) -> None:
    for stage in stages_of(config)[:2]:
        stage.check()
        complete(stage, print, no_session)


def test_a_damaged_dataset_is_work_for_its_stage_and_stops_the_others(
    small, config: ExperimentConfig
) -> None:
    damage_a_shard(config, small.card)
    simulation, *_ = stages_of(config)
    assert not simulation.is_done
    for stage in stages_of(config)[1:]:
        with pytest.raises(DataError, match="taskct simulate"):
            _ = stage.is_done


def test_a_task_network_of_other_settings_is_refused(config: ExperimentConfig) -> None:
    values = config.model_dump()
    values["task_network"]["epochs"] = 3
    stage = PretrainStage(Experiment(ExperimentConfig.parse(values)))
    with pytest.raises(StudyError, match="epochs: 2 -> 3"):
        _ = stage.is_done


def test_a_space_that_makes_no_valid_trials_is_refused_before_there_is_a_dataset(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    values = config.model_dump() | {"output": str(tmp_path / "elsewhere")}
    values["study"]["space"] = {"alpha": {"kind": "choice", "values": [0.5, 7.0]}}
    with pytest.raises(ConfigError, match="alpha"):
        SearchStage(Experiment(ExperimentConfig.parse(values))).check()


def test_one_process_makes_what_is_in_a_folder(config: ExperimentConfig, small) -> None:
    damage_a_shard(config, small.card)
    stage, *_ = stages_of(config)
    with (
        study_lock(stage.folder, stage.makes),
        pytest.raises(StudyError, match="a dataset must have one driver"),
    ):
        complete(stage, print, no_session)


@pytest.mark.parametrize(
    ("side", "cpus", "threads"), [(32, 8, 1), (64, 8, 1), (128, 8, 2), (512, 8, 2), (512, 1, 1)]
)
def test_pretraining_has_no_more_threads_than_pixels_keep_busy(side: int, cpus: int, threads: int) -> None:
    assert training_threads(side * side, cpus) == threads
