"""Which tools follow a study, and what each of them is told.

A tracker is one class of a few methods; its line in ``TRACKERS`` names the key of ``study`` that turns it on.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from study.monitor.progress import console
from study.search.config import StudyConfig
from study.search.events import EpochReported, Event, OnEvent, TrialFinished, TrialsEnded, TrialStarted
from taskct_core import registry
from taskct_core.contracts.rows import EpochRow
from taskct_core.errors import first_line
from taskct_core.schema import EPOCH

# Key of `study` -> the class, which is made with the key's value and the study's folder.
TRACKERS = {
    "tensorboard": "study.monitor.trackers.tensorboard:TensorBoardLog",
    "mlflow": "study.monitor.trackers.mlflow_log:MlflowLog",
    "wandb": "study.monitor.trackers.wandb_log:WandbLog",
}


class Tracker(Protocol):
    """A tool that trials are logged to. What it raises ends its log, and nothing else.

    Attributes:
        name: of the tool, for messages.
    """

    name: str

    def begin(self, trial: int, values: dict[str, Any]) -> int:
        """Open a trial's run, or the one that another driver began; returns the last epoch that is in it."""

    def log(self, trial: int, row: EpochRow) -> None:
        """Write an epoch that is not in the trial's run."""

    def end(self, trial: int, status: str, reason: str | None) -> None:
        """Close the run of a trial that is COMPLETE, PRUNED or FAIL."""

    def leave(self, trial: int) -> None:
        """Let go of the run of a trial that this driver leaves to the next."""


class Tracked:
    """Tells a tracker of a study's events, of each epoch once, however often a restarted trial reports it."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._last_epoch: dict[int, int] = {}
        self._is_lost = False

    def __call__(self, event: Event) -> None:
        if self._is_lost:
            return
        try:
            self._tell(event)
        except Exception as error:  # of a tool's own; a study of days must not end for its log
            self._is_lost = True
            console.print(
                f"Warning: {self._tracker.name} is logged to no more ({first_line(error)}).", style="yellow"
            )
            with suppress(Exception):  # whatever it was, it may be met again
                self._leave_all()

    def _tell(self, event: Event) -> None:
        match event:
            case TrialStarted(trial=trial, values=values):
                self._last_epoch[trial] = self._tracker.begin(trial, values)
            case EpochReported(trial=trial, row=row) if row[EPOCH] > self._last_epoch[trial]:
                self._tracker.log(trial, row)
                self._last_epoch[trial] = row[EPOCH]
            case TrialFinished(trial=trial, status=status, reason=reason):
                self._tracker.end(trial, status, reason)
                del self._last_epoch[trial]
            case TrialsEnded():
                self._leave_all()

    def _leave_all(self) -> None:
        while self._last_epoch:
            self._tracker.leave(self._last_epoch.popitem()[0])


def tracked(config: StudyConfig, folder: Path, on_event: OnEvent) -> OnEvent:
    """``on_event``, and before it the trackers that the study turns on.

    Raises:
        ConfigError: if a tool is not installed, or cannot be logged to.
    """
    told: list[OnEvent] = []
    for key, name in TRACKERS.items():
        if setting := getattr(config, key):
            make = registry.load(name, {}, "tracker")
            told.append(Tracked(make(setting, folder)))

    def handle(event: Event) -> None:
        for tell in (*told, on_event):
            tell(event)

    return handle


def experiment_name(folder: Path) -> str:
    """``NAME`` of ``OUTPUT/NAME/study``, the experiment's folder."""
    return folder.parent.name if folder.name == "study" else folder.name


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names, such as ``architecture_parameters.width``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
