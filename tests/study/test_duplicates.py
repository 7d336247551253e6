"""A configuration that was drawn before is not run again; another is proposed, however often the study dies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from studies import EPOCHS, Killed, killed_at_write, run_here, study_config, table

from study.monitor.status import study_status
from study.run import load_study
from study.search.storage.records import planned_count, read_records
from taskct_core.schema import COMPLETE, PRUNED

FEW: dict[str, Any] = {"alpha": {"kind": "choice", "values": [0.0, 0.3, 0.6, 0.9]}}
ENDS: dict[str, Any] = {"alpha": {"kind": "uniform", "low": 0.45, "high": 0.55, "ends": [0, 1]}}


def few(**settings: Any) -> Any:
    return study_config(**{"trials": 4, "space": FEW, "sampler": {"name": "random"}, "seed": 2} | settings)


def test_every_value_of_a_small_space_is_tried_once(tmp_path: Path) -> None:
    records = run_here(few(), tmp_path).trials
    run = [record for record in records if record.duplicate_of is None]
    assert sorted(record.values["alpha"] for record in run) == [0.0, 0.3, 0.6, 0.9]
    assert {record.status for record in run} == {COMPLETE}
    duplicates = [record for record in records if record.duplicate_of is not None]
    assert duplicates  # with this seed
    for record in duplicates:
        assert record.duplicate_of is not None
        assert (record.status, record.last_epoch) == (PRUNED, 0)
        assert record.values == records[record.duplicate_of].values
        assert f"trial {record.duplicate_of}" in str(record.reason)
    assert planned_count(records) == 4
    status = study_status(tmp_path)
    assert (status.state, status.trials, status.counts) == ("finished", 4, {COMPLETE: 4})
    assert status.duplicates == len(duplicates)


def test_a_space_without_anything_new_is_run_again(tmp_path: Path) -> None:
    records = run_here(few(trials=3, space={"alpha": {"kind": "choice", "values": [0.5]}}), tmp_path).trials
    assert [record.status for record in records] == [COMPLETE, *[PRUNED] * 5, COMPLETE, COMPLETE]


def test_an_end_of_a_range_is_tried_once(tmp_path: Path) -> None:
    # Its positions differ, so that the sampler itself cannot tell.
    records = run_here(few(trials=30, space=ENDS), tmp_path).trials
    values = [record.values["alpha"] for record in records if record.status == COMPLETE]
    assert len(values) == len(set(values)) == 30
    assert any(record.duplicate_of is not None for record in records)


def test_what_was_asked_for_is_run_however_often(tmp_path: Path) -> None:
    points = [{"alpha": 0.3}]
    first = run_here(few(trials=1, enqueue=points), tmp_path / "first")
    again = run_here(few(trials=2, enqueue=points, sampler={"name": "grid"}), tmp_path / "grid")
    assert [record.status for record in [*first.trials, *again.trials]] == [COMPLETE] * 3


def test_a_searched_seed_makes_another_configuration(tmp_path: Path) -> None:
    space = {"alpha": {"kind": "choice", "values": [0.5]}, "seed": {"kind": "int", "low": 0, "high": 10**6}}
    assert [r.status for r in run_here(few(trials=3, space=space), tmp_path).trials] == [COMPLETE] * 3


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_kill_after_any_write_changes_nothing(tmp_path: Path, sampler: str) -> None:
    config = few(sampler={"name": sampler, "startup_trials": 2})
    expected = table(run_here(config, tmp_path / "whole").trials)
    assert PRUNED in {row[1] for row in expected}
    for write in range(1, 1000, 7):
        folder = tmp_path / f"killed-{write}"
        try:
            with killed_at_write(write):
                run_here(config, folder)
        except Killed:
            assert table(run_here(config, folder).trials) == expected
        else:
            break
    assert write > 10 * EPOCHS
    assert table(read_records(load_study(tmp_path / "whole"))) == expected
