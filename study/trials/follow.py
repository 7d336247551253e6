"""Shows a trial's epochs as they are logged, while something else runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from study.trials import epoch_log
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow

_SECONDS_BETWEEN_LOOKS = 0.5


@contextmanager
def follow_epochs(folder: TrialFolder, on_row: Callable[[EpochRow], None]) -> Iterator[None]:
    """Call ``on_row`` for every epoch in a folder's epoch log, old and new, until the block ends."""
    done = threading.Event()
    thread = threading.Thread(target=_follow, args=(folder, on_row, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _follow(folder: TrialFolder, on_row: Callable[[EpochRow], None], done: threading.Event) -> None:
    seen = 0
    while True:
        finished = done.wait(_SECONDS_BETWEEN_LOOKS)
        rows = epoch_log.read(folder)
        for row in rows[seen:]:
            on_row(row)
        seen = len(rows)
        if finished:
            return
