"""The storage of a study: opened again, mended, by URL, and refused where it does not fit."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from unittest import mock

import pytest
from optuna.storages.journal import JournalFileBackend
from studies import run_here, study_config, table

from study.run import load_study
from study.search.events import EpochReported, Event
from study.search.storage.opening import create_study, open_study
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import StudyError

DIRECTIONS = ["maximize", "minimize"]


def test_a_torn_journal_line_is_cut_off_and_the_rest_kept(tmp_path: Path) -> None:
    study = create_study(tmp_path, None, DIRECTIONS)
    study.tell(study.ask(), [1.0, 2.0])
    with (tmp_path / StudyFolder.journal).open("ab") as journal:
        journal.write(b'{"op_code":4,"worker')
    assert len(open_study(tmp_path).trials) == 1  # a reader looks past it
    study = create_study(tmp_path, None, DIRECTIONS)
    study.tell(study.ask(), [3.0, 4.0])
    assert [trial.values for trial in open_study(tmp_path).trials] == [[1.0, 2.0], [3.0, 4.0]]


def test_a_reader_follows_a_journal_and_reads_what_has_come_once(tmp_path: Path) -> None:
    writer = create_study(tmp_path, None, DIRECTIONS)
    reader = open_study(tmp_path)
    for told in (1, 2):
        writer.tell(writer.ask(), [1.0, 2.0])
        assert len(reader.trials) == len(writer.trials) == told
    with mock.patch.object(JournalFileBackend, "read_logs", side_effect=AssertionError("it was read again")):
        assert len(reader.trials) == len(writer.trials) == 2


def test_the_lock_of_a_killed_write_does_not_block(tmp_path: Path) -> None:
    create_study(tmp_path, None, DIRECTIONS)
    (tmp_path / f"{StudyFolder.journal}.lock").touch()
    study = create_study(tmp_path, None, DIRECTIONS)
    asking = threading.Thread(target=study.ask, daemon=True)
    asking.start()
    asking.join(timeout=10)
    assert not asking.is_alive()


def test_sqlite_gives_the_same_study_as_the_journal(tmp_path: Path) -> None:
    expected = table(run_here(study_config(trials=4), tmp_path / "journal").trials)
    config = study_config(trials=4, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert table(run_here(config, tmp_path / "database").trials) == expected
    assert len(load_study(tmp_path / "database").trials) == 4
    assert not (tmp_path / "database" / StudyFolder.journal).exists()


def test_two_folders_of_one_name_share_a_database(tmp_path: Path) -> None:
    config = study_config(trials=2, storage=f"sqlite:///{tmp_path / 'study.db'}")
    run_here(config, tmp_path / "a" / "study")
    assert len(run_here(config, tmp_path / "b" / "study").trials) == 2


def test_another_storage_is_refused(tmp_path: Path) -> None:
    run_here(study_config(trials=1), tmp_path)
    with pytest.raises(StudyError, match=r"journal.log -> sqlite:///x.db"):
        run_here(study_config(trials=1, storage="sqlite:///x.db"), tmp_path)


def test_a_full_disk_stops_the_study_with_a_message_and_loses_nothing(tmp_path: Path) -> None:
    config = study_config(trials=4)
    expected = table(run_here(config, tmp_path / "whole").trials)

    def fill_disk(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 2 and not full.called:
            full()
            raise OSError(errno.ENOSPC, "No space left on device")

    full = mock.Mock()
    with pytest.raises(StudyError, match="No space left on device"):
        run_here(config, tmp_path / "full", on_event=fill_disk)
    assert table(run_here(config, tmp_path / "full").trials) == expected


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="writable"):
        run_here(study_config(), tmp_path / "file" / "study")


@pytest.mark.parametrize("url", ["nosuchdatabase://x", "not a url", "sqlite:////nosuchfolder/study.db"])
def test_an_unusable_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StudyError, match=r"study\.storage"):
        create_study(tmp_path, url, DIRECTIONS)


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="taskct study run"):
        open_study(tmp_path)
    (tmp_path / "storage.json").write_text("{")
    with pytest.raises(StudyError, match=r"storage\.json"):
        open_study(tmp_path)
    (tmp_path / "storage.json").write_text('{"study_name": "x", "url": null}')
    with pytest.raises(StudyError, match=r"journal\.log"):
        open_study(tmp_path)
