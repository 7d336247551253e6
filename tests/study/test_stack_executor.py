"""A study's trials run as a stack end as they do alone, and one that fails, is pruned or dies takes no other along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from study.search.conductor import Conductor
from study.search.config import SamplerConfig
from study.search.judgement import Judge
from study.search.pruners.pruner import Pruner
from study.search.samplers import make_sampler
from study.search.space import SearchSpace
from study.search.stack import Runner, RunnerDied, StackExecutor, drive
from study.search.storage.opening import begin_study, open_study
from study.search.storage.records import TrialRecord, read_records
from study.search.trial_state import Rules
from study.trials import epoch_log
from study.trials.config import ExecutionConfig
from study.trials.executors import check_execution
from study.trials.inputs import TrialInputs, Worker
from study.trials.stacked import StackRunner
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.errors import ConfigError
from taskct_core.training.config import TrialConfig

OBJECTIVES = [schema.PRIMARY_DICE, schema.PRIMARY_PSNR]


@pytest.fixture(scope="module")
def inputs(small: Any) -> TrialInputs:
    return small.trial_inputs(shown=True)


@pytest.fixture(scope="module")
def base(small: Any) -> TrialConfig:
    config: TrialConfig = small.experiment.trial.model_copy(update={"epochs": 2})
    return config


@dataclass
class Stop:
    """A pruner that gives up one trial after its first epoch."""

    trial: int = -1

    def observe(self, trial: int, row: Any) -> None:
        pass

    def reason_to_stop(self, trial: int, row: Any) -> str | None:
        return "not good enough" if trial == self.trial and row[schema.EPOCH] == 1 else None


def search(
    folder: Path, space: dict[str, Any], start: Callable[[], Runner], pruner: Pruner | None = None
) -> list[TrialRecord]:
    """A grid over ``space``, two trials at a time."""
    parsed = SearchSpace.parse(space)
    if not StudyFolder(folder).storage.exists():
        begin_study(folder, None, ["maximize", "maximize"])
    study = open_study(folder, writable=True)
    study.sampler = make_sampler(SamplerConfig(name="grid"), parsed, 0)
    rules = Rules(
        Judge(OBJECTIVES, {}), trials=3, epochs=2, max_retries=1, replaces_duplicates=False, max_concurrent=2
    )
    drive(Conductor(study, StudyFolder(folder), parsed, rules, pruner), start)
    return read_records(study)


def choice(*values: Any) -> dict[str, Any]:
    return {"kind": "choice", "values": list(values)}


@pytest.mark.slow
def test_trials_of_a_stack_leave_what_each_leaves_alone(
    base: TrialConfig, inputs: TrialInputs, tmp_path: Path
) -> None:
    """Three places of a grid in a stack of two: one of them joins late. A front among them is trained alone."""
    base = base.model_copy(update={"front_anchors": (0.9,), "front_positions": 2, "front_alphas": (0.0, 1.0)})
    space = {"mode": choice("task_adaptive", "reconstruction_only", "front")}
    records = search(tmp_path, space, lambda: StackRunner(base, inputs, ExecutionConfig(stack=2)))
    assert [record.status for record in records] == [schema.COMPLETE] * 3
    for record in records:
        config = TrialConfig.parse(base.model_dump() | record.values)
        alone = tmp_path / f"alone-{record.trial}"
        run_trial(config, alone, inputs, Worker(), lambda row: None, record.trial)
        folder = StudyFolder(tmp_path).trial(record.trial)
        for one, other in (
            (epoch_log.read(folder), epoch_log.read(alone)),
            (read_rows(folder.final), read_rows(alone / "final.json")),
        ):
            assert len(one) == len(other) > 0
            for found, expected in zip(one, other, strict=True):
                same = [name for name, value in expected.items() if isinstance(value, float)]
                same = [name for name in same if not name.startswith(("seconds", "peak"))]
                for name in same:
                    assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5, nan_ok=True), name
                assert found[schema.CONFIG_HASH] == expected[schema.CONFIG_HASH]


def test_a_trial_that_fails_takes_no_other_along(
    base: TrialConfig, inputs: TrialInputs, tmp_path: Path
) -> None:
    base = base.model_copy(
        update={"warmup_steps": 0, "gradient_clip": None, "learning_rate_schedule": "constant"}
    )
    space = {"learning_rate": choice(1e-3, 1e30, 2e-3)}
    records = search(tmp_path, space, lambda: StackRunner(base, inputs, ExecutionConfig(stack=2)))
    by_rate = {record.values["learning_rate"]: record for record in records}
    assert by_rate[1e30].status == schema.FAIL and "finite" in str(by_rate[1e30].reason)
    assert by_rate[1e-3].status == by_rate[2e-3].status == schema.COMPLETE


def test_a_pruned_trial_makes_room(base: TrialConfig, inputs: TrialInputs, tmp_path: Path) -> None:
    space = {"alpha": choice(0.0, 0.5, 0.9)}
    start = lambda: StackRunner(base, inputs, ExecutionConfig(stack=2))  # noqa: E731
    records = search(tmp_path, space, start, Stop(trial=0))
    assert [record.status for record in records] == [schema.PRUNED, schema.COMPLETE, schema.COMPLETE]
    assert records[0].last_epoch == 1
    assert not StudyFolder(tmp_path).trial(0).final.exists()


class Mortal:
    """A runner whose process dies at its second epoch."""

    def __init__(self, runner: StackRunner) -> None:
        self._runner = runner
        self._epochs = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)

    def epoch(self, trials: Any) -> Any:
        self._epochs += 1
        if self._epochs == 2:
            raise RunnerDied("killed")
        return self._runner.epoch(trials)


def test_trials_go_on_from_their_checkpoints_where_the_process_died(
    base: TrialConfig, inputs: TrialInputs, tmp_path: Path
) -> None:
    runners = iter([Mortal, lambda runner: runner])

    def start() -> Any:
        return next(runners)(StackRunner(base, inputs, ExecutionConfig(stack=2)))

    records = search(tmp_path, {"alpha": choice(0.0, 0.5, 0.9)}, start)
    assert [record.status for record in records] == [schema.COMPLETE] * 3
    assert [record.retries for record in records] == [1, 1, 0]


def test_a_configuration_that_is_not_valid_fails_its_trial_alone(
    base: TrialConfig, inputs: TrialInputs, tmp_path: Path
) -> None:
    space = {"architecture": choice("unet", "tests.no_such:Network", "dncnn")}
    base = base.model_copy(update={"architecture_parameters": {"width": 4}})
    records = search(tmp_path, space, lambda: StackRunner(base, inputs, ExecutionConfig(stack=2)))
    found = {record.values["architecture"]: record.status for record in records}
    assert found == {"unet": schema.COMPLETE, "tests.no_such:Network": schema.FAIL, "dncnn": schema.COMPLETE}


def test_a_stack_is_trained_by_one_worker() -> None:
    with pytest.raises(ConfigError, match="one worker"):
        check_execution(ExecutionConfig(stack=2, workers_per_trial=2))


@pytest.mark.ray
def test_a_stack_runs_in_a_ray_actor(
    local_ray: None, base: TrialConfig, inputs: TrialInputs, tmp_path: Path
) -> None:
    space = SearchSpace.parse({"alpha": choice(0.0, 0.9)})
    begin_study(tmp_path, None, ["maximize", "maximize"])
    study = open_study(tmp_path, writable=True)
    study.sampler = make_sampler(SamplerConfig(name="grid"), space, 0)
    rules = Rules(Judge(OBJECTIVES, {}), trials=2, epochs=2, replaces_duplicates=False)
    executor = StackExecutor(base, inputs, ExecutionConfig(stack=2))
    executor.run(Conductor(study, StudyFolder(tmp_path), space, rules))
    assert [record.status for record in read_records(study)] == [schema.COMPLETE] * 2
    assert executor.max_concurrent == 2 and executor.reports_wait
