"""Faults by schedule: a few hundred find nothing, and a defect put in for the purpose is found by some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from fault_schedules import SETTINGS, reference, run_schedule

from study.search.duplicates import Twins
from study.search.lock import StudyLock
from study.search.storage import opening
from study.trials import epoch_log

SCHEDULES = 200


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where schedules run; what their studies come to without faults and defects is known there."""
    room = tmp_path_factory.mktemp("schedules")
    for setting in SETTINGS:
        reference(setting, room)
    return room


def test_no_schedule_of_faults_violates_what_is_promised(room: Path) -> None:
    found = {seed: problems for seed in range(SCHEDULES) if (problems := run_schedule(seed, room))}
    assert found == {}


DEFECTS = {
    "a torn journal is not mended": (opening, "mend_journal", lambda path: None),
    "a lost lock is not noticed": (StudyLock, "check", lambda self: None),
    "a torn epoch log is appended to": (epoch_log, "_ends_torn", lambda file: False),
    "duplicates are not told from storage": (Twins, "of", lambda self, number, trials: None),
}


@pytest.mark.parametrize(("place", "name", "defect"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found(
    room: Path, monkeypatch: pytest.MonkeyPatch, place: object, name: str, defect: object
) -> None:
    monkeypatch.setattr(place, name, defect)
    for seed in range(10 * SCHEDULES):
        try:
            if run_schedule(seed, room):
                return
        except Exception:  # what a defect leads to need be no error of ours
            return
    pytest.fail("no schedule found it")
