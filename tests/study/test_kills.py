"""A study whose processes are killed at random moments ends as one that was left alone.

benchmarks/kill_test.py does so more than 20 times, and records the result.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import postgres_programs, postgres_server
from kills import run_with_kills, study_settings, unsound_trials
from studies import run_here, table

from study.run import load_study
from study.search.lock import read_driver
from study.search.storage.records import read_records
from taskct_core.contracts.folders import StudyFolder


@pytest.mark.ray
def test_a_killed_study_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    settings = study_settings(trials=6)
    expected = run_here(settings, tmp_path / "alone").trials
    assert (
        run_with_kills(tmp_path / "killed", ["worker", "driver"], 0, settings.trials, seconds_per_epoch=0.15)
        == 2
    )
    assert table(read_records(load_study(tmp_path / "killed"))) == table(expected)
    assert unsound_trials(tmp_path / "killed", settings.trials) == []
    assert read_driver(tmp_path / "killed") is None


@pytest.mark.ray
@pytest.mark.slow  # starts a database server
def test_a_killed_study_in_postgresql_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("this machine has no PostgreSQL server")
    settings = study_settings(trials=4)
    expected = run_here(settings, tmp_path / "alone").trials
    killed = tmp_path / "killed"
    with postgres_server(programs) as url:
        assert (
            run_with_kills(killed, ["driver"], 1, settings.trials, seconds_per_epoch=0.15, storage=url) == 1
        )
        assert table(read_records(load_study(killed))) == table(expected)
        assert unsound_trials(killed, settings.trials) == []
    assert not (killed / StudyFolder.journal).exists()
