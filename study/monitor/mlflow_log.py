"""A study in MLflow, if ``study.mlflow`` names a tracking server: one experiment a study, one run a trial.

A trial's values are the run's parameters, each epoch its metrics, its state and the reason of it tags. What another
driver began is continued in the same run. A server that goes away ends the logging, not the study.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from study.monitor.progress import console
from study.search.events import EpochReported, Event, OnEvent, TrialFinished, TrialStarted
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
    """Follows a study's events; epochs that a restarted trial reports again are logged once.

    Args:
        uri: of the tracking server: ``http://host:5000``, ``sqlite:////path/mlflow.db``.
        folder: of the study.

    Raises:
        ConfigError: if MLflow is not installed, or the server does not answer.
    """

    def __init__(self, uri: str, folder: Path) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._find_or_make(_experiment_name(folder))
        except Exception as error:  # MLflow's own, its database's, its HTTP client's
            raise ConfigError(
                "study.mlflow must be the URI of a tracking server that answers",
                f"{uri!r} ({type(error).__name__}: {first_line(error)})",
                "Install taskct[mlflow], start the server, or leave the setting out.",
            ) from None
        self._folder = str(folder)
        self._runs: dict[int, str] = {}
        self._last_epoch: dict[int, int] = {}
        self._is_lost = False

    def __call__(self, event: Event) -> None:
        if self._is_lost:
            return
        try:
            self._log(event)
        except Exception as error:  # see above; a study of days must not end for its log
            self._is_lost = True
            console.print(f"Warning: MLflow is logged to no more ({first_line(error)}).", style="yellow")

    def _log(self, event: Event) -> None:
        match event:
            case TrialStarted(trial=trial, values=values):
                self._open(trial, values)
            case EpochReported(trial=trial, row=row) if row[EPOCH] > self._last_epoch[trial]:
                self._write(trial, row)
            case TrialFinished(trial=trial, status=status, reason=reason):
                run = self._runs.pop(trial)
                self._client.set_tag(run, "taskct.status", status)
                self._client.set_tag(run, "taskct.reason", reason or "")
                self._client.set_terminated(run, _STATUS[status])

    def _find_or_make(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(name))

    def _open(self, trial: int, values: dict[str, Any]) -> None:
        tags = {_TRIAL: str(trial), _FOLDER: self._folder}
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        found = self._client.search_runs([self._experiment], wanted, max_results=1)
        if found:
            run = found[0].info.run_id
            self._client.update_run(run, "RUNNING")
            self._last_epoch[trial] = int(found[0].data.metrics.get(EPOCH, 0))
        else:
            run = self._client.create_run(self._experiment, tags=tags, run_name=f"trial {trial}").info.run_id
            for name, value in _flat(values).items():
                self._client.log_param(run, name, value)
            self._last_epoch[trial] = 0
        self._runs[trial] = run

    def _write(self, trial: int, row: EpochRow) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, row[EPOCH]) for name, value in finite_numbers(row).items()]
        self._client.log_batch(self._runs[trial], metrics=metrics)
        self._last_epoch[trial] = row[EPOCH]


def with_mlflow(uri: str | None, folder: Path, on_event: OnEvent) -> OnEvent:
    """``on_event``, and MLflow's log before it if there is a server.

    Raises:
        ConfigError: as :class:`MlflowLog`.
    """
    if uri is None:
        return on_event
    log = MlflowLog(uri, folder)

    def handle(event: Event) -> None:
        log(event)
        on_event(event)

    return handle


def _experiment_name(folder: Path) -> str:
    """``NAME`` of ``OUTPUT/NAME/study``, the experiment's folder."""
    return folder.parent.name if folder.name == "study" else folder.name


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
