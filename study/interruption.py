"""Ctrl-C and SIGTERM end a command alike: one line, an exit code of their own, and nothing reported as finished."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_EXIT_BASE = 128  # a shell's exit code of a process that a signal ended, plus its number


class Unfinished(Exception):
    """A command ended in order before its work was done, such as at ``study.timeout``; the message says how to go on."""


class Interruption:
    """While the block runs, SIGTERM does what Ctrl-C does; a second signal ends the process at once.

    Attributes:
        signal: the first of them that came; None if none did.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            # After an interruption, what is left to do is to leave.
            signal.signal(number, signal.SIG_IGN if self.signal is not None else handler)

    @property
    def exit_code(self) -> int:
        return _EXIT_BASE + (self.signal or signal.SIGINT)

    def tell(self) -> None:
        """Write the one line that says what happened and how to go on."""
        print("Interrupted. The same command continues where it was.", file=sys.stderr, flush=True)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is not None and number == self.signal:
            self.tell()
            os._exit(self.exit_code)
        self.signal = self.signal or signal.Signals(number)
        if number == signal.SIGTERM:
            # To whoever handles Ctrl-C at the moment, such as Ray Tune, which stops its trials in order.
            signal.raise_signal(signal.SIGINT)
        else:
            raise KeyboardInterrupt


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put this process's handlers back after the block: Ray installs its own, and leaves them there.

    Its handler of SIGTERM prints a stack, that of Ray Tune swallows the first Ctrl-C after a run.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:  # which is not Python's
                signal.signal(number, handler)
