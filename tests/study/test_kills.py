"""A study whose processes are killed at random moments ends as one that was left alone.

benchmarks/kill_test.py does so more than 20 times, and records the result.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import run_with_kills, study_settings
from studies import EPOCHS, run_here, table

from study import epoch_log
from study.run import load_study
from study.search.lock import read_driver
from study.search.records import read_records, trial_folder


@pytest.mark.ray
def test_a_killed_study_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    settings = study_settings(trials=6)
    expected = run_here(settings, tmp_path / "alone").trials
    assert (
        run_with_kills(tmp_path / "killed", ["worker", "driver"], 0, settings.trials, seconds_per_epoch=0.15)
        == 2
    )
    found = read_records(load_study(tmp_path / "killed"))
    assert table(found) == table(expected)
    for record in found:
        rows = epoch_log.read(trial_folder(tmp_path / "killed", record.trial))
        assert [row["epoch"] for row in rows] == list(range(1, record.last_epoch + 1))
        assert record.last_epoch <= EPOCHS
    assert read_driver(tmp_path / "killed") is None
