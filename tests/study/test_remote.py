"""Studies whose output is a bucket: on a real S3 server on loopback."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from studies import EPOCHS, Killed, run_here, study_config, table

from study.monitor.status import study_status
from study.results import export_results
from study.search import lock as lock_module
from study.search.events import EpochReported, Event
from study.search.lock import read_driver, study_lock
from study.trials import epoch_log
from study.trials.inputs import Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.files import check_writable, create_exclusively, is_remote, open_folder
from taskct_core.contracts.folders import Folder, StudyFolder, TrialFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.errors import ConfigError, StudyError
from taskct_core.schema import COMPLETE, PRIMARY_DICE


def database(folder: Path) -> str:
    return f"sqlite:///{folder}/study.db"


def test_paths_stay_paths_and_urls_become_remote_folders(tmp_path: Path, s3_bucket: str) -> None:
    assert open_folder(str(tmp_path)) == tmp_path
    assert open_folder(f"file://{tmp_path}") == tmp_path
    folder = open_folder(f"{s3_bucket}/paths") / "x"
    assert is_remote(folder) and str(folder) == f"{s3_bucket}/paths/x"
    assert open_folder(folder) is folder
    with pytest.raises(ConfigError, match="fsspec knows"):
        open_folder("nosuch://bucket/x")


def test_an_output_that_cannot_be_written_is_refused_at_once(s3_bucket: str) -> None:
    check_writable(open_folder(f"{s3_bucket}/writable"))
    for output in ("s3://no-such-bucket/x", "/sys/taskct"):  # the kernel lets nobody make files there
        with pytest.raises(ConfigError, match="may be written"):
            check_writable(open_folder(output))


def test_a_remote_epoch_log_grows_and_keeps_the_last_row_of_an_epoch(s3_bucket: str) -> None:
    folder = open_folder(f"{s3_bucket}/log")
    assert epoch_log.read(folder) == []
    rows = [{"epoch": 1, "a": 1.0}, {"epoch": 2, "a": float("inf")}, {"epoch": 2, "a": 3.0}]
    for row in rows:
        epoch_log.append(folder, row)
    assert epoch_log.read(folder) == [rows[0], rows[2]]


def test_a_remote_study_has_one_driver(s3_bucket: str) -> None:
    folder = open_folder(f"{s3_bucket}/lock")
    with study_lock(folder) as lock:
        lock.beat()
        lock.check()
        with pytest.raises(StudyError, match="one driver at a time"), study_lock(folder):
            pass
        with pytest.raises(FileExistsError):
            create_exclusively(folder / Folder.lock, b"{}")
    assert read_driver(folder) is None


def test_a_remote_lock_is_read_while_its_owner_writes_it(s3_bucket: str) -> None:
    folder = open_folder(f"{s3_bucket}/beating")
    with study_lock(folder) as lock, ThreadPoolExecutor() as pool:
        beats = pool.submit(lambda: [lock.beat() for _ in range(60)])
        while not beats.done():
            lock.check()


def test_a_dead_drivers_remote_lock_is_taken_over_and_its_owner_notices(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "WATCH_SECONDS", 0.1)
    folder = open_folder(f"{s3_bucket}/takeover")
    with study_lock(folder) as first:
        vanished = json.loads((folder / Folder.lock).read_text()) | {
            "host": "elsewhere",
            "boot": "another",
            "heartbeat": 0.0,
        }
        (folder / Folder.lock).write_text(json.dumps(vanished))
        with study_lock(folder) as second:
            second.check()
            first.beat()
            with pytest.raises(StudyError, match="taken over"):
                first.check()


def test_a_journal_on_an_object_store_is_refused(s3_bucket: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///.*postgresql"):
        run_here(study_config(), open_folder(f"{s3_bucket}/journal"))


def test_a_remote_study_continues_after_its_driver_died(s3_bucket: str, tmp_path: Path) -> None:
    folder = open_folder(f"{s3_bucket}/interrupted")
    config = study_config(trials=3, storage=database(tmp_path))

    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 1 and event.row["epoch"] == 3:
            raise Killed

    with pytest.raises(Killed):
        run_here(config, folder, on_event=kill)
    summary = run_here(config, folder)
    assert table(summary.trials) == table(run_here(study_config(trials=3), tmp_path / "alone").trials)
    assert len(list(StudyFolder(folder).trial(1).path.glob("events.out.tfevents.*"))) == 1
    assert study_status(folder).counts == {COMPLETE: 3}
    assert len(export_results(folder, "remote", summary.trials)) == 3 * EPOCHS


def test_a_killed_trial_continues_exactly_from_its_checkpoint_in_the_bucket(
    small, s3_bucket: str, tmp_path: Path
) -> None:
    inputs = small.trial_inputs(slices=4)
    config = small.experiment.trial
    run_trial(config, tmp_path, inputs, Worker(), lambda row: None)
    folder = open_folder(f"{s3_bucket}/trial")

    def kill(row: dict[str, Any]) -> None:
        raise Killed

    with pytest.raises(Killed):
        run_trial(config, folder, inputs, Worker(), kill)
    assert (folder / TrialFolder.checkpoint).is_file() and not (folder / TrialFolder.final).is_file()
    reported: list[int] = []
    run_trial(config, folder, inputs, Worker(), lambda row: reported.append(row[schema.EPOCH]))
    assert reported == [1, 2]
    for here, there in zip(epoch_log.read(tmp_path), epoch_log.read(folder), strict=True):
        assert there[schema.LOSS] == here[schema.LOSS]
        assert there[PRIMARY_DICE] == here[PRIMARY_DICE]
    assert read_rows(folder / TrialFolder.final)


def test_the_analysis_sees_what_another_process_writes_meanwhile(s3_bucket: str) -> None:
    folder = StudyFolder.at(f"{s3_bucket}/seen")
    folder.results.write_bytes(b"")
    assert folder.path.is_dir() and not folder.card.is_file()
    create_exclusively(folder.card, b"{}")
    assert folder.card.is_file()
    seen = folder.results.stat()
    folder.results.write_bytes(b"more")
    assert (folder.results.stat().st_size, folder.results.stat().st_mtime) > (seen.st_size, 0)
