"""A study in MLflow, if ``study.mlflow`` names a tracking server: one experiment a study, one run a trial.

A trial's values are the run's parameters, each epoch its metrics, its state and the reason of it tags. What another
driver began is continued in the same run.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from study.monitor.trackers.tracking import experiment_name, flat
from taskct_core.contracts.rows import EpochRow, finite_numbers
from taskct_core.errors import ConfigError, first_line
from taskct_core.schema import COMPLETE, EPOCH, FAIL, PRUNED

_TRIAL, _FOLDER = "taskct.trial", "taskct.study"  # tags that tell a trial's run again
_STATUS = {COMPLETE: "FINISHED", PRUNED: "KILLED", FAIL: "FAILED"}
_ENVIRONMENT = {
    # MLflow's client would try for minutes to reach a server that is not there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # It would tell its makers that it is used.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MlflowLog:
    """A tracker; see :mod:`study.monitor.trackers.tracking`.

    Args:
        uri: of the tracking server: ``http://host:5000``, ``sqlite:////path/mlflow.db``.
        folder: of the study.

    Raises:
        ConfigError: if MLflow is not installed, or the server does not answer.
    """

    name = "MLflow"

    def __init__(self, uri: str, folder: Path) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._find_or_make(experiment_name(folder))
        except Exception as error:  # MLflow's own, its database's, its HTTP client's
            raise ConfigError(
                "study.mlflow must be the URI of a tracking server that answers",
                f"{uri!r} ({type(error).__name__}: {first_line(error)})",
                "Install taskct[mlflow], start the server, or leave the setting out.",
            ) from None
        self._folder = str(folder)
        self._runs: dict[int, str] = {}

    def _find_or_make(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(name))

    def begin(self, trial: int, values: dict[str, Any]) -> int:
        tags = {_TRIAL: str(trial), _FOLDER: self._folder}
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self._client.search_runs([self._experiment], wanted, max_results=1)
        if found:
            run = found[0]
            self._runs[trial] = run.info.run_id
            self._client.update_run(run.info.run_id, "RUNNING")
            return int(run.data.metrics.get(EPOCH, 0))
        made = self._client.create_run(self._experiment, tags=tags, run_name=f"trial {trial}")
        self._runs[trial] = made.info.run_id
        for name, value in flat(values).items():
            self._client.log_param(made.info.run_id, name, value)
        return 0

    def log(self, trial: int, row: EpochRow) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, row[EPOCH]) for name, value in finite_numbers(row).items()]
        self._client.log_batch(self._runs[trial], metrics=metrics)

    def end(self, trial: int, status: str, reason: str | None) -> None:
        run = self._runs.pop(trial)
        self._client.set_tag(run, "taskct.status", status)
        self._client.set_tag(run, "taskct.reason", reason or "")
        self._client.set_terminated(run, _STATUS[status])

    def leave(self, trial: int) -> None:
        del self._runs[trial]
