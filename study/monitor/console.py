"""A running study on the console: a live view on a terminal, one line an event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from study.monitor.progress import console as default_console
from study.monitor.score_line import score_line
from study.monitor.status import StatusReader, Step
from study.monitor.status_view import describe_objectives, describe_values, draw_status
from study.search.events import (
    EpochReported,
    Event,
    OnEvent,
    ReferencesAdvanced,
    ReferenceScored,
    StudyOpened,
    TrialErrored,
    TrialEvent,
    TrialFinished,
    TrialPaused,
    TrialsEnded,
    TrialStarted,
)
from taskct_core.errors import StudyError
from taskct_core.schema import COMPLETE, EPOCH, METHOD, REFERENCE_SETTINGS, SPLIT

_REFRESHES_PER_SECOND = 1.0
_SECONDS_BETWEEN_LINES = 10.0  # on how far the references are


@contextmanager
def study_console(
    folder: Path, objectives: list[str], console: Console = default_console, step: Step = "epoch"
) -> Iterator[OnEvent]:
    """Show the study in ``folder`` while the block runs it; ``step`` is what its trials report after.

    Yields:
        The ``on_event`` for :func:`study.run.run_study`.
    """
    if not console.is_terminal:
        yield EventLines(objectives, console, step)
        return
    view = LiveView(folder)
    with Live(get_renderable=view.draw, console=console, refresh_per_second=_REFRESHES_PER_SECOND):

        def listen(event: Event) -> None:
            view.on_event(event)
            _print_reference(event, console)

        try:
            yield listen
        finally:
            view.is_over = True


def _print_reference(event: Event, console: Console) -> None:
    """The line of a reference that got its scores, which no status shows."""
    if isinstance(event, ReferenceScored):
        settings = event.row[REFERENCE_SETTINGS]
        tuned = f"; tuned: {settings}" if settings else ""
        name = f"reference {event.row[METHOD]}, {event.row[SPLIT]}"
        console.print(f"{name}: {score_line(event.row)}{tuned}", soft_wrap=True, markup=False)


class EventLines:
    """Writes one line an event; epochs that a trial reports again are left out."""

    def __init__(self, objectives: list[str], console: Console, step: Step) -> None:
        self._objectives = objectives
        self._console = console
        self._step = step
        self._last_epoch: dict[int, int] = {}
        self._told = time.monotonic()  # when references were last told of

    def __call__(self, event: Event) -> None:
        match event:
            case StudyOpened() | TrialsEnded():
                return
            case ReferenceScored():
                _print_reference(event, self._console)
            case ReferencesAdvanced():
                self._tell(event)
            case _:
                line = self._line(event)
                if line is not None:
                    self._console.print(f"trial {event.trial}  {line}", soft_wrap=True, markup=False)

    def _tell(self, references: ReferencesAdvanced) -> None:
        if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            self._console.print(
                f"references: {references.done}/{references.total}  {references.method}", markup=False
            )

    def _line(self, event: TrialEvent) -> str | None:
        match event:
            case TrialStarted(values=values, adopted=adopted):
                return f"{'continues' if adopted else 'starts'}: {describe_values(values)}"
            case EpochReported(trial=trial, row=row):
                if row[EPOCH] <= self._last_epoch.get(trial, 0):
                    return None
                self._last_epoch[trial] = row[EPOCH]
                return f"{self._step} {row[EPOCH]}: {describe_objectives(row, self._objectives)}"
            case TrialErrored(reason=reason):
                return f"met an error: {reason}"
            case TrialPaused():
                return "is paused"
            case TrialFinished(status=status, objectives=objectives, reason=reason):
                text = describe_objectives(objectives, self._objectives)
                return f"{status}: {text if status == COMPLETE else reason}"


class LiveView:
    """Draws the status of the study that this process runs.

    What the storage tells of a study that is extended or resumed is that it has finished or stopped, until this process
    has opened it; and from then on it runs, whatever the storage holds at the moment.

    Attributes:
        is_over: whether this process has left the study, of which the storage then tells how it stands.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader: StatusReader | None = None
        self._is_open = False
        self.is_over = False

    def on_event(self, event: Event) -> None:
        if isinstance(event, StudyOpened):
            self._is_open = True

    def draw(self) -> RenderableType:
        if not self._is_open and not self.is_over:
            return Text("Opening the study ...")
        try:
            self._reader = self._reader or StatusReader(self._folder)
            status = self._reader.read()
        except StudyError:
            return Text("Opening the study ...")
        return draw_status(status if self.is_over else replace(status, state="running"))
