"""What happens while a study runs, as plain data: for the console, for logs, for a user's own callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskct_core.contracts.rows import EpochRow


@dataclass(frozen=True)
class StudyOpened:
    """The study is locked and seen to be the one that was asked for; its trials follow."""

    folder: Path


@dataclass(frozen=True)
class TrialStarted:
    """A trial was handed to Ray: a new proposal, or one adopted from a driver that died."""

    trial: int
    values: dict[str, Any]  # overrides of the trial's configuration
    adopted: bool


@dataclass(frozen=True)
class EpochReported:
    """A trial finished an epoch; after a restart a trial reports its earlier epochs again."""

    trial: int
    row: EpochRow


@dataclass(frozen=True)
class TrialErrored:
    """A trial's process raised or died; it starts again from its checkpoint if retries are left."""

    trial: int
    reason: str


@dataclass(frozen=True)
class TrialPaused:
    """A trial was stopped after an epoch, with its checkpoint, until somebody resumes it."""

    trial: int


@dataclass(frozen=True)
class TrialFinished:
    """A trial reached its final state: COMPLETE, PRUNED or FAIL."""

    trial: int
    status: str
    objectives: dict[str, float]  # at the epoch it keeps; empty if it reported none
    reason: str | None  # why it was pruned or failed


@dataclass(frozen=True)
class TrialsEnded:
    """No more trials are run by this driver, which still holds the study's lock."""

    is_finished: bool  # whether every trial has a final state


@dataclass(frozen=True)
class ReferencesAdvanced:
    """A piece of the references' work is done, which goes on beside the trials."""

    done: int
    total: int
    method: str  # that is made at present


@dataclass(frozen=True)
class ReferenceScored:
    """A reference got its scores on a split."""

    row: EpochRow


TrialEvent = TrialStarted | EpochReported | TrialErrored | TrialPaused | TrialFinished
Event = StudyOpened | TrialsEnded | ReferencesAdvanced | ReferenceScored | TrialEvent
OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """An ``on_event`` that does nothing."""
