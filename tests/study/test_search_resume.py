"""A study that was killed after any of its writes ends with the table of one that was not."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import InThisProcess, Killed, killed_at_write, run_here, study_config, table

from study.config import StudyConfig
from study.results import export_results
from study.search.samplers import SAMPLERS
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import EPOCH, PRUNED, STATUS, TRIAL

MOST_WRITES = 1000
# Fitting a Gaussian process takes most of a second. The numbers share no factor with a trial's writes.
STRIDES = {"tpe": 1, "gp": 47}
STRIDE = 11  # of the others, which differ from TPE in what they propose alone


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_kill_after_any_write_changes_nothing(tmp_path: Path, sampler: str) -> None:
    settings = {"name": sampler, "startup_trials": 2, "grid_points": 2}
    config = study_config(trials=5, sampler=settings, pruner={"name": "pareto_asha", "reduction_factor": 2})
    expected = table(run_here(config, tmp_path / "whole").trials)
    assert sampler != "tpe" or PRUNED in {row[1] for row in expected}
    for write in range(1, MOST_WRITES, STRIDES.get(sampler, STRIDE)):
        folder = tmp_path / f"killed-{write}"
        if not killed(config, folder, write):
            break
        if write % 2 and (folder / StudyFolder.journal).exists():
            with (folder / StudyFolder.journal).open("ab") as journal:
                journal.write(b'{"op_code":8,"work')  # a torn line
        assert table(run_here(config, folder).trials) == expected
    assert write > 60


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_kill_after_another_changes_nothing(tmp_path: Path, sampler: str) -> None:
    config = study_config(trials=6, sampler={"name": sampler, "startup_trials": 3, "grid_points": 2})
    expected = table(run_here(config, tmp_path / "whole").trials)
    for write in (70, 31, 22, 17):
        killed(config, tmp_path / "killed", write)
    assert table(run_here(config, tmp_path / "killed").trials) == expected


@pytest.mark.parametrize("runs_ahead", [1, 3])
def test_trials_that_do_not_wait_for_decisions_end_as_those_that_do(tmp_path: Path, runs_ahead: int) -> None:
    config = study_config(trials=8, pruner={"name": "pareto_asha", "reduction_factor": 2})
    expected = table(run_here(config, tmp_path / "waiting").trials)
    ahead = run_here(config, tmp_path / "ahead", InThisProcess(runs_ahead))
    assert table(ahead.trials) == expected
    pruned = {record.trial: record.last_epoch for record in ahead.trials if record.status == PRUNED}
    logged = {trial: len(epoch_log.read(StudyFolder(tmp_path / "ahead").trial(trial))) for trial in pruned}
    assert any(logged[trial] > last for trial, last in pruned.items())
    rows = export_results(tmp_path / "ahead", "ahead", ahead.trials)
    assert rows[rows[STATUS] == PRUNED].groupby(TRIAL)[EPOCH].max().to_dict() == pruned


@pytest.mark.parametrize("runs_ahead", [1, 3])
def test_a_kill_changes_nothing_for_trials_that_do_not_wait(tmp_path: Path, runs_ahead: int) -> None:
    config = study_config(trials=5, pruner={"name": "pareto_asha", "reduction_factor": 2})
    expected = table(run_here(config, tmp_path / "whole").trials)
    for write in range(1, MOST_WRITES, 5):
        folder = tmp_path / f"killed-{write}"
        if not killed(config, folder, write, runs_ahead):
            break
        assert table(run_here(config, folder, InThisProcess(runs_ahead)).trials) == expected
    assert write > 60


def killed(config: StudyConfig, folder: Path, write: int, runs_ahead: int = 0) -> bool:
    """Run a study and kill it after its n-th write; False if it ended before."""
    try:
        with killed_at_write(write):
            run_here(config, folder, InThisProcess(runs_ahead))
    except Killed:
        return True
    return False


def test_extending_goes_on_as_a_longer_study_would_have(tmp_path: Path) -> None:
    expected = table(run_here(study_config(trials=7), tmp_path / "long").trials)
    run_here(study_config(trials=4), tmp_path / "extended")
    assert table(run_here(study_config(trials=7), tmp_path / "extended").trials) == expected


def test_a_finished_study_stays_as_it_is(tmp_path: Path) -> None:
    config = study_config(trials=3)
    first = run_here(config, tmp_path)
    journal = (tmp_path / StudyFolder.journal).read_bytes()
    assert table(run_here(config, tmp_path).trials) == table(first.trials)
    grown = (tmp_path / StudyFolder.journal).read_bytes()
    assert grown.startswith(journal)
