"""A study whose processes are killed at random moments ends as one that was left alone.

``TASKCT_KILLS`` says how many kills (default 1); benchmarks/kill_test.py records a long run.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from kills import run_with_kills, study_settings
from studies import EPOCHS, run_here, table

from study import epoch_log
from study.run import load_study
from study.search.lock import read_driver
from study.search.records import read_records, trial_folder

TARGETS = ("driver", "worker", "raylet")


@pytest.mark.ray
def test_a_killed_study_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    kills = int(os.environ.get("TASKCT_KILLS", "1"))
    settings = study_settings(trials=4 + 2 * kills)
    expected = run_here(settings, tmp_path / "alone").trials
    targets = list(itertools.islice(itertools.cycle(TARGETS), kills))
    assert run_with_kills(tmp_path / "killed", targets, seed=0, trials=settings.trials) == kills
    found = read_records(load_study(tmp_path / "killed"))
    assert table(found) == table(expected)
    for record in found:
        rows = epoch_log.read(trial_folder(tmp_path / "killed", record.trial))
        assert [row["epoch"] for row in rows] == list(range(1, record.last_epoch + 1))
        assert record.last_epoch <= EPOCHS
    assert read_driver(tmp_path / "killed") is None
