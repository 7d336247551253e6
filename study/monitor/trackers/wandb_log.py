"""A study in Weights & Biases, if ``study.wandb`` names a project: one group a study, one run a trial.

A trial's values are the run's configuration, each epoch its history, its state and the reason of it the summary; a
complete trial shows its slices. With ``WANDB_MODE=offline`` everything lies below the study's folder, ``wandb/``, until
``wandb sync`` sends it. A run has an id of its own that follows from the study and the trial, so what another driver began
is continued in the same run.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from study.monitor.trackers.pictures import pictures_of
from study.monitor.trackers.tracking import experiment_name, flat
from taskct_core.contracts.files import is_remote
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, finite_numbers
from taskct_core.errors import ConfigError, first_line
from taskct_core.schema import COMPLETE, EPOCH, FAIL

_ENVIRONMENT = {
    "WANDB_SILENT": "true",  # the console is the study's
    "WANDB_ERROR_REPORTING": "false",  # it would tell its makers what fails
}
_SETTINGS: dict[str, Any] = {
    "console": "off",
    "x_disable_stats": True,
    # Else it would tell the host, folders, the commit of whatever repository this is run in, and the command line, where
    # a storage's password may stand.
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "host": "",
}


class WandbLog:
    """A tracker; see :mod:`study.monitor.trackers.tracking`.

    Args:
        project: ``project`` or ``entity/project``.
        folder: of the study.

    Raises:
        ConfigError: if W&B is not installed, or this machine may not log to it.
    """

    name = "Weights & Biases"

    def __init__(self, project: str, folder: Path) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._entity, _, self._project = project.rpartition("/")
        self._folder = folder
        self._runs: dict[int, Any] = {}
        try:
            import wandb

            is_sent = os.environ.get("WANDB_MODE", "online") == "online"
            if is_sent and not wandb.Api(timeout=10).api_key:
                raise PermissionError("nobody is logged in")
        except Exception as error:  # W&B's own, its HTTP client's
            raise ConfigError(
                "study.wandb must be a project of Weights & Biases that this machine may log to",
                f"{project!r} ({type(error).__name__}: {first_line(error)})",
                "Install taskct[wandb], run `wandb login` or set WANDB_MODE=offline, or leave the setting out.",
            ) from None
        self._wandb = wandb

    def begin(self, trial: int, values: dict[str, Any]) -> int:
        identity = hashlib.sha256(f"{self._folder}:{trial}".encode()).hexdigest()[:16]
        run = self._wandb.init(
            entity=self._entity or None,
            project=self._project,
            group=experiment_name(self._folder),
            name=f"trial {trial}",
            id=identity,
            resume="allow",
            reinit="create_new",  # trials run side by side
            config=flat(values) | {"trial": trial},
            dir=None if is_remote(self._folder) else str(self._folder),
            settings=self._wandb.Settings(**_SETTINGS),
        )
        self._runs[trial] = run
        return max(int(run.step) - 1, 0)  # its steps are epochs

    def log(self, trial: int, row: EpochRow) -> None:
        self._runs[trial].log(finite_numbers(row), step=row[EPOCH])

    def end(self, trial: int, status: str, reason: str | None) -> None:
        run = self._runs.pop(trial)
        if status == COMPLETE:
            pictures = pictures_of(StudyFolder(self._folder).trial(trial))
            run.log({name: self._wandb.Image(picture) for name, picture in pictures.items()})
        run.summary.update({"status": status, "reason": reason or ""})
        run.finish(exit_code=int(status == FAIL))

    def leave(self, trial: int) -> None:
        self._runs.pop(trial).finish(exit_code=1)
