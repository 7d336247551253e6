"""A study's status drawn for the console: what `taskct study status` prints and a live study repaints."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.monitor.status import FINAL_STATES, RunningTrial, StudyStatus
from study.search.budget import describe_spent
from study.search.control import describe_control
from study.search.events import ReferencesAdvanced
from study.search.storage.records import TrialRecord
from taskct_core.schema import COMPLETE, FAIL, OBJECTIVES, PRUNED

ROWS_SHOWN = 12
_BAR_WIDTH = 40
_STYLES = {COMPLETE: "green", PRUNED: "yellow", FAIL: "red"}


def draw_status(status: StudyStatus) -> RenderableType:
    """Head line, running trials, front and failures, as far as there are any."""
    parts: list[RenderableType] = [_head(status)]
    if status.references is not None:
        parts.append(_references_bar(status.references))
    if status.running:
        parts.append(_running_table(status.running, list(status.directions)))
    parts.extend(_stalled(trial) for trial in status.running if trial.is_stalled)
    if status.front:
        parts.append(_front_table(status.front, list(status.directions)))
    parts.extend(_failure(record) for record in status.failures[-ROWS_SHOWN:])
    return Group(*parts)


def describe_values(values: dict[str, Any]) -> str:
    """A trial's values as ``alpha 0.3, architecture unet, width 16``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return ", ".join(f"{name} {format_number(value)}" for name, value in flat.items())


def describe_objectives(row: Mapping[str, Any], objectives: list[str]) -> str:
    """The objectives of a row as ``Dice liver 0.912, PSNR 34.1``."""
    return ", ".join(f"{_label(name)} {format_score(row[name])}" for name in objectives if name in row)


def format_score(value: float) -> str:
    """Four significant digits, trailing zeros included: ``34.10``."""
    return f"{value:#.4g}"


def format_number(value: object) -> str:
    """Floats with four significant digits, all else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_duration(seconds: float) -> str:
    """``1:02:05``."""
    return str(datetime.timedelta(seconds=round(seconds)))


def _head(status: StudyStatus) -> Text:
    ended = sum(status.counts.get(state, 0) for state in FINAL_STATES)
    text = Text.assemble(("Study ", "bold"), str(status.folder), "  ", (_state(status), "bold"), "\n")
    text.append(f"{ended} of {status.trials} trials ended")
    for state, count in status.counts.items():
        text.append(f"  {count} {state}", style=_STYLES.get(state, ""))
    if status.duplicates:
        text.append(f"  {status.duplicates} duplicates not run", style="dim")
    if status.front:
        text.append(f"  front: {len(status.front)} trials")
    if status.hypervolume_share is not None:
        text.append(f"  hypervolume: {status.hypervolume_share:.3f} of the box of values seen")
    if status.seconds_left is not None:
        text.append(f"  about {format_duration(status.seconds_left)} left")
    if status.timeout is not None:
        text.append(f"  stops after {format_duration(status.timeout)}")
    if status.trial_timeout is not None:
        text.append(f"  a trial fails after {format_duration(status.trial_timeout)}")
    changed = describe_control(status.control)
    if changed:
        text.append(f"\nset: {changed}")
    spent = describe_spent(status.spent, status.budget)
    if spent:
        text.append(f"\nbudget: {spent}")
    if status.ended_by is not None:
        text.append(f"\nended: {status.ended_by}", style="yellow")
    return text


def _state(status: StudyStatus) -> str:
    if status.state == "running" and status.driver is not None:
        return f"running (process {status.driver.pid} on {status.driver.host})"
    if status.state == "stopped" and status.driver is not None:
        ago = format_duration(time.time() - status.driver.heartbeat)
        return f"stopped: its driver died, last sign of life {ago} ago; run it again to continue"
    return {"stopped": "stopped; run it again to continue", "finished": "finished"}.get(status.state, "")


def _references_bar(references: ReferencesAdvanced) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=references.total, completed=references.done, width=_BAR_WIDTH)
    row.add_row("References", bar, f"{references.done} of {references.total}", references.method)
    return row


def _running_table(trials: list[RunningTrial], objectives: list[str]) -> Table:
    table = _table("Running", [trials[0].step, *map(_label, objectives)])
    for trial in trials[:ROWS_SHOWN]:
        row: Mapping[str, Any] = trial.row
        values = [format_score(row[name]) if name in row else "" for name in objectives]
        epoch = f"{trial.epoch} of {trial.epochs}" if trial.epochs else str(trial.epoch)
        epoch += f" ({trial.pause})" if trial.pause else ""
        table.add_row(str(trial.trial), epoch, *values, escape(describe_values(trial.values)))
    return table


def _stalled(trial: RunningTrial) -> Text:
    took = f"; its {trial.step}s took {format_duration(trial.epoch_seconds)}" if trial.epoch_seconds else ""
    idle = format_duration(trial.idle_seconds or 0.0)
    return Text(f"trial {trial.trial} makes no progress: no {trial.step} for {idle}{took}", style="yellow")


def _front_table(front: list[TrialRecord], objectives: list[str]) -> Table:
    table = _table("Front so far", list(map(_label, objectives)))
    for record in sorted(front, key=lambda record: record.objectives[objectives[0]])[:ROWS_SHOWN]:
        values = [format_score(record.objectives[name]) for name in objectives]
        table.add_row(str(record.trial), *values, escape(describe_values(record.values)))
    return table


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    for column in columns:
        table.add_column(column, justify="right")
    table.add_column("values")
    return table


def _failure(record: TrialRecord) -> Text:
    return Text(f"trial {record.trial} failed: {record.reason}", style=_STYLES[FAIL])


def _label(objective: str) -> str:
    return OBJECTIVES[objective].label if objective in OBJECTIVES else objective
