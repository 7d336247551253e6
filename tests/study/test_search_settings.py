"""What a study begins with and keeps: its fingerprint, its queue of given points, its repeats, its front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lookup_trainable import SPACE, row_at
from studies import EPOCHS, InThisProcess, Killed, run_here, study_config, table

from study.run import load_study, retry_failed
from study.search.events import Event, TrialFinished, TrialStarted
from study.search.lock import study_lock
from taskct_core.errors import ConfigError, StudyError
from taskct_core.schema import COMPLETE, FAIL, PARAMETERS, PRIMARY_DICE, PRIMARY_PSNR

CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "space": (
        {"space": {**SPACE, "alpha": {"kind": "uniform", "low": 0.0, "high": 0.5}}},
        r'space\.alpha: .*"high":1\.0.* -> .*"high":0\.5',
    ),
    "dimension": ({"space": {"alpha": SPACE["alpha"]}}, "space.architecture: .* -> absent"),
    "objectives": (
        {"objectives": [PRIMARY_PSNR, PRIMARY_DICE]},
        "objectives: maximize dice.* -> maximize psnr",
    ),
    "constraints": ({"constraints": {PARAMETERS: 5.0}}, "constraints: none -> parameters <= 5"),
    "seed": ({"seed": 4}, "seed: 0 -> 4"),
    "sampler": ({"sampler": {"name": "random"}}, 'sampler: .*"tpe".* -> .*"random"'),
    "pruner": ({"pruner": {"name": "median"}}, "pruner: .*none.* -> .*median"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_a_changed_setting_is_refused_with_the_difference(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    run_here(study_config(trials=1), tmp_path)
    with pytest.raises(StudyError, match=said):
        run_here(study_config(trials=1, **change), tmp_path)


def test_changed_data_is_refused_with_the_difference(tmp_path: Path) -> None:
    run_here(study_config(trials=1), tmp_path)
    with pytest.raises(StudyError, match="changed data: data-1 -> data-2"):
        run_here(study_config(trials=1), tmp_path, fingerprint={"data": "data-2"})


def test_more_trials_and_other_workers_are_no_change(tmp_path: Path) -> None:
    run_here(study_config(trials=1), tmp_path)
    summary = run_here(study_config(trials=2, max_retries=0, max_concurrent_trials=2), tmp_path)
    assert len(summary.trials) == 2


def test_points_of_higher_priority_are_tried_first(tmp_path: Path) -> None:
    points = [{"alpha": 0.1}, {"alpha": [0.2, 0.3], "priority": 2}, {"alpha": 0.4, "priority": -1}]

    def die(event: Event) -> None:
        if isinstance(event, TrialFinished):
            raise Killed

    with pytest.raises(Killed):
        run_here(study_config(enqueue=points), tmp_path, on_event=die)
    points = [points[0], points[1], {"alpha": 0.4, "priority": 3}, {"alpha": 0.5, "priority": 2}]
    summary = run_here(study_config(enqueue=points), tmp_path)
    begun = load_study(tmp_path).get_trials()
    order = sorted(range(6), key=lambda number: begun[number].datetime_start.timestamp())
    alphas = [summary.trials[number].values["alpha"] for number in order]
    assert alphas[:5] == [0.2, 0.4, 0.3, 0.5, 0.1] and alphas[5] not in alphas[:5]


def test_a_repeat_has_the_priority_of_the_trial_that_failed(tmp_path: Path) -> None:
    points = [{"alpha": 0.1}, {"alpha": 0.2, "priority": 1}]
    config = study_config(trials=2, enqueue=points, max_retries=0)
    broken = InThisProcess(row_of=lambda values, epoch: row_at(values, epoch) | {PRIMARY_DICE: float("nan")})
    run_here(config, tmp_path, broken)
    assert retry_failed(tmp_path) == [0, 1]
    begun: list[int] = []
    run_here(
        config, tmp_path, on_event=lambda e: begun.append(e.trial) if isinstance(e, TrialStarted) else None
    )
    assert begun == [3, 2]


@pytest.mark.parametrize("priority", ["high", 1.5, [1, 2], True, None])
def test_a_priority_is_a_whole_number(priority: Any) -> None:
    with pytest.raises(ConfigError, match=r"priority|enqueue"):
        study_config(enqueue=[{"alpha": 0.1, "priority": priority}])


def test_given_points_are_tried_first_and_once(tmp_path: Path) -> None:
    points = [
        {"alpha": 0.0},
        {"alpha": 1.0, "architecture": "unet", "architecture_parameters": {"width": 16}},
    ]
    config = study_config(trials=4, enqueue=points)
    records = run_here(config, tmp_path).trials
    assert records[0].values["alpha"] == 0.0
    assert records[1].values | points[1] == records[1].values
    assert len(records) == 4
    more = study_config(trials=4, enqueue=[*points, {"alpha": 0.25}])
    records = run_here(more, tmp_path).trials
    assert len(records) == 5 and records[4].values["alpha"] == 0.25


def test_a_point_outside_the_space_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alpha"):
        run_here(study_config(enqueue=[{"alpha": 2.0}]), tmp_path)


def test_another_studys_front_is_tried_first(tmp_path: Path) -> None:
    first = run_here(study_config(trials=8), tmp_path / "first")
    assert 1 < len(first.front) < 8
    config = study_config(trials=8, seed=5, enqueue_front_of=str(tmp_path / "first"))
    second = run_here(config, tmp_path / "second")
    expected = [record.values for record in first.front]
    assert [record.values for record in second.trials[: len(expected)]] == expected


def test_a_front_outside_the_space_is_refused(tmp_path: Path) -> None:
    run_here(study_config(trials=2), tmp_path / "first")
    space = {"batch_size": {"kind": "int", "low": 1, "high": 4}}
    config = study_config(space=space, enqueue_front_of=str(tmp_path / "first"))
    with pytest.raises(ConfigError, match="enqueue_front_of"):
        run_here(config, tmp_path / "second")


class BrokenOnce:
    """The rows of a trial whose last objective is ``value``, as a diverging training would leave them, for one trial."""

    def __init__(self, trial: int, value: float) -> None:
        self.countdown, self.value = (trial + 1) * EPOCHS, value

    def __call__(self, values: dict[str, Any], epoch: int) -> dict[str, Any]:
        self.countdown -= 1
        return row_at(values, epoch) | ({} if self.countdown else {PRIMARY_PSNR: self.value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_objective_that_is_no_number_fails_the_trial_and_not_the_study(
    tmp_path: Path, value: float
) -> None:
    records = run_here(study_config(trials=3), tmp_path, InThisProcess(row_of=BrokenOnce(1, value))).trials
    assert [record.status for record in records] == [COMPLETE, FAIL, COMPLETE]
    assert records[1].reason == f"{PRIMARY_PSNR} is {value} at epoch 4"
    assert records[1].objectives.keys() == {PRIMARY_DICE}


def test_failed_trials_are_repeated_as_new_ones_and_once(tmp_path: Path) -> None:
    config = study_config(trials=3)
    failed = run_here(config, tmp_path, InThisProcess(row_of=BrokenOnce(1, float("nan")))).trials[1]
    assert retry_failed(tmp_path) == [1]
    assert retry_failed(tmp_path) == []
    records = run_here(config, tmp_path).trials
    assert len(records) == 4
    assert records[3].retry_of == 1 and records[3].status == COMPLETE and records[3].values == failed.values
    assert records[1].status == FAIL
    # Extending afterwards counts the repeat as no trial of its own.
    assert len(run_here(study_config(trials=4), tmp_path).trials) == 5


def test_a_running_study_is_not_retried(tmp_path: Path) -> None:
    run_here(study_config(trials=1), tmp_path)
    with study_lock(tmp_path), pytest.raises(StudyError, match="one driver"):
        retry_failed(tmp_path)


def test_nothing_is_made_in_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError):
        retry_failed(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_front_keeps_the_constraints(tmp_path: Path) -> None:
    free = run_here(study_config(trials=10), tmp_path / "free")
    bound = sorted(4000.0 + 0 * r.trial for r in free.trials)[0]
    limited = run_here(study_config(trials=10, constraints={PARAMETERS: bound}), tmp_path / "limited")
    sizes = {r.trial: 1000.0 * sum(r.values["architecture_parameters"].values()) for r in limited.trials}
    assert any(size > bound for size in sizes.values())
    assert {r.trial: r.feasible for r in limited.trials} == {t: size <= bound for t, size in sizes.items()}
    assert limited.front and all(sizes[record.trial] <= bound for record in limited.front)


def test_a_grid_ends_when_it_is_through(tmp_path: Path) -> None:
    config = study_config(
        trials=50,
        space={"alpha": {"kind": "uniform", "low": 0.0, "high": 1.0}},
        sampler={"name": "grid", "grid_points": 3},
        enqueue=[{"alpha": 0.3}],
    )
    records = run_here(config, tmp_path).trials
    assert [record.values["alpha"] for record in records] == [0.3, 0.0, 0.5, 1.0]
    assert table(run_here(config, tmp_path).trials) == table(records)


def test_an_unknown_objective_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mine:metric"):
        run_here(study_config(objectives=["mine:metric"]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_constraint_on_an_unknown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="parameter_count"):
        study_config(constraints={"parameter_count": 1e6})
