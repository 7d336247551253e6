"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, str], None]  # (steps done since the last call, what is going on)
_SECONDS_BETWEEN_LINES = 10.0

console = Console(highlight=False, soft_wrap=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show how far a job of ``total`` steps is; the block calls the yielded function as steps finish."""
    show = _bar if console.is_terminal else _lines
    with show(title, total) as advance:
        yield advance


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say at once what is going on while a block of unknown length runs; on a terminal, for how long already."""
    if not console.is_terminal:
        console.print(f"{what} ...", style="dim")
        yield
        return
    columns = (TextColumn("{task.description} ..."), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        bar.add_task(what, total=None)
        yield


@contextmanager
def _bar(title: str, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda steps, note: bar.update(task, advance=steps, note=note)


@contextmanager
def _lines(title: str, total: int) -> Iterator[Advance]:
    done, start, last_line = 0, time.monotonic(), 0.0

    def advance(steps: int, note: str) -> None:
        nonlocal done, last_line
        done += steps
        now = time.monotonic()
        if done >= total or now - last_line >= _SECONDS_BETWEEN_LINES:
            last_line = now
            console.print(f"{title}: {done}/{total} after {now - start:.0f} s  {note}".rstrip())

    yield advance
