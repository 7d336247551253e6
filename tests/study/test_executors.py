"""Ray Train and the warm actor run the same loop: same seed, same rows. Several workers agree with one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import ray

from study.config import ExecutionConfig
from study.data.feed import MemoryFeed
from study.data.fresh_samples import FreshSamples
from study.data.shards import read_shard
from study.data.split_shards import SplitShards
from study.data.stream_feed import StreamFeed
from study.experiment.inputs import open_inputs
from study.trials import epoch_log
from study.trials.executors import check_execution
from study.trials.inputs import TrialInputs, Worker
from study.trials.resources import tune_resources
from study.trials.single import train_trial
from study.trials.task import TrialTask
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import TrialFolder
from taskct_core.errors import ConfigError, TrainingError
from taskct_core.simulation.config import SimulationConfig
from taskct_core.training.config import TrialConfig

VOLATILE = {
    schema.SECONDS,
    schema.SECONDS_PER_SLICE,
    schema.PEAK_MEMORY_MB,
    schema.FINISHED_AT,
    schema.HOST,
    schema.GIT_COMMIT,
    schema.GIT_CHANGED,
}


@pytest.fixture(scope="module")
def inputs(small, local_ray: None) -> TrialInputs:
    return open_inputs(small.card, small.workspace)


def _train(config: TrialConfig, folder: Path, inputs: TrialInputs, **execution: Any) -> list[dict[str, Any]]:
    seen: list[int] = []
    task = TrialTask(config, TrialFolder(folder), 0)
    train_trial(task, inputs, ExecutionConfig(**execution), lambda row: seen.append(row[schema.EPOCH]))
    assert seen == [1, 2]
    return [{k: v for k, v in row.items() if k not in VOLATILE} for row in epoch_log.read(folder)]


@pytest.mark.slow
@pytest.mark.ray
def test_train_and_actor_give_the_same_trial(small, inputs: TrialInputs, tmp_path: Path) -> None:
    """On fresh samples, which Ray's tasks scan for one and a thread of its process for the other."""
    config = small.experiment.trial.model_copy(update={"alpha": 0.6})
    shards = SplitShards.of(small.card, small.workspace.dataset, "train")
    simulation = SimulationConfig.parse(small.card.simulation)

    def with_fresh(cpus: int) -> TrialInputs:
        fresh = FreshSamples(inputs.geometry, simulation, cpus)
        return replace(inputs, feeds={**inputs.feeds, "train": StreamFeed(shards, fresh)})

    in_train = _train(config, tmp_path / "train", with_fresh(1), executor="train")
    in_actor = _train(config, tmp_path / "actor", with_fresh(0), executor="actor")
    assert in_train == in_actor
    images = [np.load(tmp_path / name / TrialFolder.panel)["image"] for name in ("train", "actor")]
    np.testing.assert_array_equal(*images)


@pytest.mark.slow
@pytest.mark.ray
def test_several_workers_score_every_slice_once_as_one_does(small, local_ray: None, tmp_path: Path) -> None:
    """Three workers: 4 slices of validation, streamed, are not their multiple; 2 of test, from memory, are fewer."""
    inputs = open_inputs(small.card, small.workspace, "stream")
    shard = read_shard(small.card.shard_paths(small.workspace.dataset, "test")[0])
    memory = MemoryFeed([ray.put(shard.slice(0, 2))])
    inputs = replace(inputs, feeds={**inputs.feeds, "test": memory})
    # Of a network that hardly learns, so that all score the same one.
    config = small.experiment.trial.model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    run_trial(config, tmp_path / "one", inputs, Worker(), lambda row: None)
    execution = ExecutionConfig(executor="train", cpus_per_worker=0.2, workers_per_trial=3)
    train_trial(TrialTask(config, TrialFolder(tmp_path / "many"), 0), inputs, execution, lambda row: None)
    one, many = (pd.read_parquet(TrialFolder(tmp_path / name).samples) for name in ("one", "many"))
    assert dict(many[schema.SPLIT].value_counts()) == {"validation": 4, "test": 2}
    assert not many.duplicated([schema.SPLIT, schema.PATIENT, schema.SLICE_INDEX]).any()
    pd.testing.assert_frame_equal(one, many, rtol=1e-4)


@pytest.mark.ray
@pytest.mark.parametrize("executor", ["actor", pytest.param("train", marks=pytest.mark.slow)])
def test_a_workers_error_arrives_as_it_was_raised(
    executor: Any, small, inputs: TrialInputs, tmp_path: Path
) -> None:
    config = small.experiment.trial.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="must stay finite"):
        task = TrialTask(config, TrialFolder(tmp_path), 0)
        train_trial(task, inputs, ExecutionConfig(executor=executor), lambda row: None)


def test_a_proposal_overrides_the_base_and_is_checked() -> None:
    base = TrialConfig(architecture="unet", architecture_parameters={"width": 8})
    task = TrialTask.from_search(base, {"trial": 3, "folder": "f/0003", "values": {"alpha": 0.2}})
    assert (task.trial, task.config.alpha, task.config.architecture_parameters) == (3, 0.2, {"width": 8})
    other = TrialTask.from_search(base, {"trial": 3, "folder": "f", "values": {"architecture": "dncnn"}})
    assert other.config.architecture_parameters == {}
    with pytest.raises(ConfigError, match="alpha"):
        TrialTask.from_search(base, {"trial": 3, "folder": "f", "values": {"alpha": 2.0}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"executor": "actor", "workers_per_trial": 2}, "one worker a trial"),
        ({"use_gpu": True, "gpus_per_worker": 0.5, "workers_per_trial": 2}, "fraction of a GPU"),
    ],
)
def test_impossible_executions_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_execution(ExecutionConfig(**changes))


def test_tune_reserves_what_ray_train_does_not() -> None:
    execution = ExecutionConfig(executor="actor", cpus_per_worker=2, use_gpu=True, gpus_per_worker=0.5)
    assert tune_resources(execution) == {"CPU": 2.0, "GPU": 0.5}
    assert tune_resources(ExecutionConfig(executor="train"))["CPU"] == 1.0  # the worker is Tune's process
    assert tune_resources(ExecutionConfig(executor="train", workers_per_trial=2))["CPU"] < 0.1
