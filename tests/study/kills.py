"""Kills real studies at random moments: a driver process with its own Ray, SIGKILL, and a fresh driver.

As a script this file is the driver: ``python kills.py STUDY_FOLDER TRIALS SECONDS_PER_EPOCH CONCURRENT [STORAGE]``.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import lookup_trainable as lookup
import psutil
from studies import EPOCHS, plan, study_config

from study.config import StudyConfig
from study.run import load_study
from study.search.storage.records import read_records
from study.trials import epoch_log
from taskct_core.contracts.folders import StudyFolder
from taskct_core.schema import COMPLETE, EPOCH, PRUNED

PATIENCE_SECONDS = 600.0


def study_settings(trials: int, storage: str | None = None) -> StudyConfig:
    """The study that is killed."""
    pruner = {"name": "pareto_asha", "reduction_factor": 2}
    return study_config(trials=trials, pruner=pruner, max_retries=3, storage=storage)


def run_with_kills(
    folder: Path,
    targets: list[str],
    seed: int,
    trials: int,
    seconds_per_epoch: float,
    concurrent: int = 1,
    storage: str | None = None,
) -> int:
    """Run the study in ``folder`` to its end, killing its processes on the way.

    A kill comes up to a second, drawn with ``seed``, after trials have begun to report. When the raylet was
    killed, trials go on for some seconds in the process that is warm, until Ray calls the node dead.

    Args:
        targets: what to kill, one after another: ``driver``, ``worker`` (runs the trial), ``raylet``.
        concurrent: trials at a time.
        storage: URL of the study's database; a journal without one.

    Returns:
        How many processes were killed; fewer than asked for if the study ended before.

    Raises:
        RuntimeError: if the last driver failed.
    """
    settings = [folder, trials, seconds_per_epoch, concurrent, *([storage] if storage else [])]
    command = [sys.executable, __file__, *map(str, settings)]

    def start() -> subprocess.Popen[bytes]:
        with _log_of(folder).open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    draw = random.Random(seed)
    killed = 0
    driver = start()
    for target in targets:
        if not _wait_for_reports(driver, folder):
            break
        time.sleep(draw.uniform(0, 1))
        killed += _kill(driver, target)
        if target != "worker":  # the driver dies, or ends when it sees that its only node is dead
            driver.wait(PATIENCE_SECONDS)
            driver = start()
    if driver.wait(PATIENCE_SECONDS) != 0:
        raise RuntimeError(
            f"the last driver ended with {driver.returncode}: {_log_of(folder).read_text()[-2000:]}"
        )
    return killed


def unsound_trials(folder: Path, trials: int, last_epoch: int = EPOCHS) -> list[str]:
    """What is wrong with an ended study, trial by trial: lost, repeated, left running, or with other rows."""
    records = read_records(load_study(folder))
    problems = [] if len(records) == trials else [f"{len(records)} trials instead of {trials}"]
    for record in records:
        epochs = [row[EPOCH] for row in epoch_log.read(StudyFolder(folder).trial(record.trial))]
        if record.status not in (COMPLETE, PRUNED):
            problems.append(f"trial {record.trial} is {record.status}")
        elif epochs != list(range(1, record.last_epoch + 1)):
            problems.append(f"trial {record.trial} logged epochs {epochs}, ended at {record.last_epoch}")
        elif record.status == COMPLETE and record.last_epoch != last_epoch:
            problems.append(f"trial {record.trial} is complete after {record.last_epoch} epochs")
    return problems


def _log_of(folder: Path) -> Path:
    return folder.with_suffix(".driver.log")


def _wait_for_reports(driver: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait until an epoch is logged; False if the driver ended instead."""
    before = _rows(folder)
    while _rows(folder) == before:
        if driver.poll() is not None:
            return False
        time.sleep(0.05)
    return True


def _rows(folder: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in folder.glob("trials/*/metrics.jsonl"))


def _kill(driver: subprocess.Popen[bytes], target: str) -> bool:
    """SIGKILL the driver, its raylet, or its workers; False if there is none just now."""
    chosen = {
        "driver": lambda p: p.pid == driver.pid,
        "raylet": lambda p: p.name() == "raylet",
        # Which of the workers runs a trial and which is idle shows in no name, so all of them.
        "worker": lambda p: p.name().startswith("ray::") and "Agent" not in p.name(),
    }[target]
    process = psutil.Process(driver.pid)
    doomed = [member for member in [process, *process.children(recursive=True)] if chosen(member)]
    for member in doomed:
        member.kill()
    return bool(doomed)


def main() -> None:
    """Run the lookup study to its end."""
    from ray import cloudpickle

    from study.cluster.ray_session import ray_session
    from study.run import run_study
    from study.search.tune import TuneExecutor

    cloudpickle.register_pickle_by_value(lookup)
    with ray_session(num_cpus=2):
        executor = TuneExecutor(
            lookup.lookup_trainable(EPOCHS, seconds_per_epoch=float(sys.argv[3])),
            resources={"cpu": 2 / int(sys.argv[4])},
            max_concurrent=int(sys.argv[4]),
        )
        storage = sys.argv[5] if len(sys.argv) > 5 else None
        run_study(plan(study_settings(int(sys.argv[2]), storage), Path(sys.argv[1])), executor)


if __name__ == "__main__":
    main()
