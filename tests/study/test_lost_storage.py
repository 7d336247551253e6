"""A study whose storage is lost: refused as long as its trials are there, and made again from their folders."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from lookup_trainable import DIRECTIONS
from studies import Killed, run_here, study_config, table

from study.config import ExperimentConfig
from study.experiment.rebuild import rebuild_study
from study.experiment.search import study_fingerprint
from study.monitor.status import study_status
from study.run import StudySummary, load_study, retry_failed
from study.search.events import EpochReported, Event
from study.search.lock import study_lock
from study.search.storage.records import TrialRecord, read_records
from study.trials.task import TrialTask
from study.trials.trial_config import write_trial_config
from taskct_core.contracts.files import write_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, StudyError
from taskct_core.schema import COMPLETE, PRUNED, RUNNING

SPACE = {
    "alpha": {"kind": "logit", "low": 0.01, "high": 0.99, "ends": [0, 1]},
    "learning_rate": {"kind": "log", "low": 1e-4, "high": 1e-2},
    "architecture": {
        "kind": "choice",
        "values": {
            "unet": {"width": {"kind": "int", "low": 8, "high": 32}},
            "red_cnn": {"width": {"kind": "int", "low": 4, "high": 8}},
        },
    },
}


def replace_by_zeros(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(50) + content[250:])


def make_foreign_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("create table studies_of_others (name text)")
    database.close()


def make_database_of_another_study(path: Path) -> None:
    path.unlink()
    optuna.create_study(storage=f"sqlite:///{path}", study_name="another")


Lose = Callable[[Path], object]
JOURNAL_LOSSES: dict[str, Lose] = {
    "deleted": lambda folder: (folder / StudyFolder.journal).unlink(),
    "emptied": lambda folder: (folder / StudyFolder.journal).write_bytes(b""),
    "cut": lambda folder: (folder / StudyFolder.journal).write_bytes(b'{"op_code":0,'),
    "zeros inside": lambda folder: replace_by_zeros(folder / StudyFolder.journal),
    "and its name": lambda folder: [
        (folder / name).unlink() for name in (StudyFolder.journal, StudyFolder.storage)
    ],
}
DATABASE_LOSSES: dict[str, Lose] = {
    "deleted": lambda folder: (folder / "study.db").unlink(),
    "emptied": lambda folder: (folder / "study.db").write_bytes(b""),
    "foreign": lambda folder: make_foreign_database(folder / "study.db"),
    "another study's": lambda folder: make_database_of_another_study(folder / "study.db"),
    "its name": lambda folder: (folder / StudyFolder.storage).unlink(),
}


def files(folder: Path) -> dict[str, bytes]:
    """What must not change; the file that guards driver.lock holds nothing."""
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".lock" not in p.name}


@pytest.mark.parametrize("lose", JOURNAL_LOSSES.values(), ids=JOURNAL_LOSSES)
def test_a_lost_journal_is_refused_and_nothing_is_made(tmp_path: Path, lose: Lose) -> None:
    check_refused(tmp_path, study_config(trials=2), lose)


@pytest.mark.parametrize("lose", DATABASE_LOSSES.values(), ids=DATABASE_LOSSES)
def test_a_lost_database_is_refused_and_nothing_is_made(tmp_path: Path, lose: Lose) -> None:
    check_refused(tmp_path, study_config(trials=2, storage=f"sqlite:///{tmp_path}/study.db"), lose)


def check_refused(folder: Path, config: Any, lose: Lose) -> None:
    run_here(config, folder)
    lose(folder)
    before = files(folder)
    with pytest.raises(StudyError, match=r"(?s)backup.*study rebuild"):
        run_here(config, folder)
    for read in (study_status, load_study, retry_failed):
        with pytest.raises(StudyError):
            read(folder)
    assert files(folder) == before


def test_the_journal_alone_tells_which_study_it_holds(tmp_path: Path) -> None:
    config = study_config(trials=2)
    expected = table(run_here(config, tmp_path).trials)
    (tmp_path / StudyFolder.storage).unlink()
    assert table(run_here(config, tmp_path).trials) == expected


def test_a_journal_that_is_older_than_its_trials_is_refused(tmp_path: Path) -> None:
    run_here(study_config(trials=2), tmp_path)
    backup = (tmp_path / StudyFolder.journal).read_bytes()
    run_here(study_config(trials=4), tmp_path)
    (tmp_path / StudyFolder.journal).write_bytes(backup)
    with pytest.raises(StudyError, match=r"nothing of trials 2, 3: .*older"):
        run_here(study_config(trials=4), tmp_path)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="outlive"):
        run_here(study_config(storage=url), tmp_path)


def experiment_of(**study: Any) -> ExperimentConfig:
    settings = {"trials": 6, "space": SPACE, "sampler": {"startup_trials": 3}} | study
    return ExperimentConfig.parse({"name": "lost", "study": settings})


def run_experiment(experiment: ExperimentConfig, folder: Path, **arguments: Any) -> StudySummary:
    """Run its study on the lookup table, and leave what a real trial and its study leave beside the epoch log."""
    try:
        summary = run_here(
            experiment.study,
            folder,
            fingerprint=study_fingerprint(experiment, "data", "network"),
            **arguments,
        )
    finally:
        for record in read_records(load_study(folder)):
            write_files(experiment, folder, record)
        write_json(
            folder / StudyFolder.card,
            {
                "config": json.loads(experiment.model_dump_json()),
                "directions": {name: DIRECTIONS[name] for name in experiment.study.objectives},
                "dataset": {"data_hash": "data"},
                "task_network": {"content_hash": "network"},
            },
        )
    return summary


def write_files(experiment: ExperimentConfig, folder: Path, record: TrialRecord) -> None:
    own = StudyFolder(folder).trial(record.trial)
    if not own.path.is_dir():
        return
    proposal = {"trial": record.trial, "folder": str(own), "values": record.values}
    write_trial_config(own, TrialTask.from_search(experiment.trial, proposal).config)
    if record.status == COMPLETE:
        write_json(own.final, [])


@pytest.mark.parametrize("lose", JOURNAL_LOSSES.values(), ids=JOURNAL_LOSSES)
def test_a_rebuilt_study_has_its_scores_and_goes_on(tmp_path: Path, lose: Lose) -> None:
    experiment = experiment_of(enqueue=[{"alpha": 0.25}, {"alpha": 1.0, "architecture": "red_cnn"}])
    expected = table(run_experiment(experiment, tmp_path).trials)
    lose(tmp_path)
    assert rebuild_study(tmp_path).finished == list(range(6))
    assert table(read_records(load_study(tmp_path))) == expected
    longer = experiment_of(enqueue=experiment.study.enqueue, trials=8)
    records = run_experiment(longer, tmp_path).trials
    assert table(records)[:6] == expected
    assert [record.status for record in records[6:]] == [COMPLETE] * 2
    assert all(record.values["alpha"] != 0.25 for record in records[6:])


def test_a_study_in_a_database_is_rebuilt_there(tmp_path: Path) -> None:
    experiment = experiment_of(storage=f"sqlite:///{tmp_path}/study.db", trials=3)
    expected = table(run_experiment(experiment, tmp_path).trials)
    (tmp_path / "study.db").unlink()
    rebuild_study(tmp_path)
    assert table(run_experiment(experiment, tmp_path).trials) == expected


def test_what_is_not_finished_is_continued_with_its_own_values(tmp_path: Path) -> None:
    experiment = experiment_of(trials=12, pruner={"name": "pareto_asha", "reduction_factor": 2})

    killed: list[int] = []

    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial >= 7 and event.row["epoch"] == 2:
            killed.append(event.trial)
            raise Killed

    with pytest.raises(Killed):
        run_experiment(experiment, tmp_path, on_event=kill)
    before = read_records(load_study(tmp_path))
    pruned = [record.trial for record in before if record.status == PRUNED]
    (tmp_path / StudyFolder.journal).unlink()
    rebuilt = rebuild_study(tmp_path)
    assert pruned and rebuilt.left_running == sorted([*pruned, *killed])
    after = read_records(load_study(tmp_path))
    assert [record.values for record in after] == [record.values for record in before]
    assert {after[trial].status for trial in rebuilt.left_running} == {RUNNING}
    records = run_experiment(experiment, tmp_path).trials
    assert len(records) == 12 and {record.status for record in records} <= {COMPLETE, PRUNED}
    assert [record.values for record in records[: len(before)]] == [record.values for record in before]


def test_a_trial_without_a_readable_configuration_is_set_aside_and_run_anew(tmp_path: Path) -> None:
    experiment = experiment_of(trials=4)
    expected = run_experiment(experiment, tmp_path).trials
    StudyFolder(tmp_path).trial(1).config.write_text("alpha: [")
    StudyFolder(tmp_path).trial(2).config.write_text("alpha: 0.001\n")  # not in the space
    shutil.rmtree(StudyFolder(tmp_path).trial(0).path)
    (tmp_path / StudyFolder.journal).unlink()
    rebuilt = rebuild_study(tmp_path)
    assert (rebuilt.finished, rebuilt.left_running, list(rebuilt.set_aside)) == ([3], [0, 1, 2], [1, 2])
    assert (tmp_path / "trials" / "0001.unreadable" / "metrics.jsonl").is_file()
    records = run_experiment(experiment, tmp_path).trials
    assert [record.status for record in records] == [COMPLETE] * 4
    assert table(records)[3] == table(expected)[3]


def test_a_trial_whose_configuration_lacks_what_the_search_gave_is_set_aside(tmp_path: Path) -> None:
    run_experiment(experiment_of(trials=2), tmp_path)
    config = StudyFolder(tmp_path).trial(0).config
    values = yaml.safe_load(config.read_text())
    del values["architecture_parameters"]
    config.write_text(yaml.safe_dump(values))
    (tmp_path / StudyFolder.journal).unlink()
    rebuilt = rebuild_study(tmp_path)
    assert (rebuilt.finished, list(rebuilt.set_aside)) == ([1], [0])
    assert ".width" in rebuilt.set_aside[0]


def test_the_missing_part_of_an_older_journal_is_added(tmp_path: Path) -> None:
    run_experiment(experiment_of(trials=2), tmp_path)
    backup = (tmp_path / StudyFolder.journal).read_bytes()
    expected = table(run_experiment(experiment_of(trials=4), tmp_path).trials)
    (tmp_path / StudyFolder.journal).write_bytes(backup)
    assert rebuild_study(tmp_path).finished == [2, 3]
    assert table(run_experiment(experiment_of(trials=4), tmp_path).trials) == expected


def test_a_rebuilt_study_is_still_the_one_that_was_begun(tmp_path: Path) -> None:
    run_experiment(experiment_of(trials=2), tmp_path)
    (tmp_path / StudyFolder.journal).unlink()
    rebuild_study(tmp_path)
    with pytest.raises(StudyError, match="seed: 0 -> 1"):
        run_here(
            experiment_of(trials=2, seed=1).study,
            tmp_path,
            fingerprint=study_fingerprint(experiment_of(trials=2), "data", "network"),
        )


def test_a_rebuild_imports_no_space_that_the_folder_names(tmp_path: Path) -> None:
    run_experiment(experiment_of(trials=1), tmp_path)
    card = json.loads((tmp_path / StudyFolder.card).read_text())
    card["config"]["study"]["space"] = "lookup_trainable:SPACE"
    write_json(tmp_path / StudyFolder.card, card)
    with pytest.raises(ConfigError, match="--trust"):
        rebuild_study(tmp_path)


def test_a_rebuild_adds_nothing_where_nothing_is_lost(tmp_path: Path) -> None:
    expected = table(run_experiment(experiment_of(trials=2), tmp_path).trials)
    assert rebuild_study(tmp_path).finished == []
    (tmp_path / StudyFolder.storage).write_text("{")
    assert rebuild_study(tmp_path).finished == []
    assert table(read_records(load_study(tmp_path))) == expected


def test_a_rebuild_is_refused_where_a_driver_runs_or_nothing_is_known(tmp_path: Path) -> None:
    run_experiment(experiment_of(trials=1), tmp_path)
    with study_lock(tmp_path), pytest.raises(StudyError, match="one driver"):
        rebuild_study(tmp_path)
    (tmp_path / StudyFolder.card).write_text('{"config": {}}')
    with pytest.raises(StudyError, match=StudyFolder.card):
        rebuild_study(tmp_path)


def test_a_study_keeps_how_its_samples_are_drawn() -> None:
    def fingerprint(has_bases: bool, **simulation: Any) -> dict[str, str]:
        experiment = ExperimentConfig.parse({"name": "lost", "simulation": simulation})
        return study_fingerprint(experiment, "data", "network", has_bases)

    drawn = fingerprint(True)
    assert "turn_degrees" in drawn["fresh samples"]
    assert fingerprint(True, fresh_draw={"turn_degrees": 90}) != drawn
    stored = fingerprint(False)  # of a dataset made before, whose studies know no such entry
    assert (
        stored == fingerprint(True, fresh=False) == {k: v for k, v in drawn.items() if k != "fresh samples"}
    )
