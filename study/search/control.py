"""What is changed of a study while it runs: ``control.json`` in its folder, written by commands, followed by its driver.

What it says holds for later drivers, too, until it is changed again.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from study.search.config import PrunerConfig
from taskct_core.config import Count, StrictModel
from taskct_core.contracts.files import is_remote, parse_json, read_whole, write_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, StudyError, first_line

try:
    import fcntl
except ImportError:  # Windows: of two commands at the same moment one is lost
    fcntl = None  # type: ignore[assignment]

_SECONDS_BETWEEN_LOOKS = 1.0


class Control(StrictModel):
    """What commands have changed of a study."""

    concurrent: Count | None = None  # trials at a time; None: as the study's configuration says
    pruner: PrunerConfig | None = None  # None: as the study's configuration says
    paused: list[int] = []  # trials that are not to run


def describe_control(control: Control) -> str:
    """``3 trials at a time, pruner asha (grace_epochs 1, reduction_factor 3)``; empty where nothing was changed."""
    parts = [f"{control.concurrent} trials at a time"] if control.concurrent else []
    if control.pruner is not None:
        settings = control.pruner.model_dump(exclude={"name"}, exclude_none=True)
        details = ", ".join(f"{name} {value}" for name, value in settings.items())
        parts.append(f"pruner {control.pruner.name} ({details})")
    parts += [f"paused: {' '.join(map(str, control.paused))}"] if control.paused else []
    return ", ".join(parts)


def read_control(folder: Path) -> Control:
    """What was changed of the study in ``folder``.

    Raises:
        StudyError: if its control.json holds something else.
    """
    return _parse(folder, _read(folder))


def change_control(folder: Path, change: Callable[[Control], Control]) -> Control:
    """Write what ``change`` makes of the study's control, whole; commands at the same moment wait for each other.

    Raises:
        StudyError: as :func:`read_control`.
    """
    with _alone(folder):
        control = change(read_control(folder))
        write_json(StudyFolder(folder).control, control.model_dump())
    return control


class ControlFollower:
    """A driver's look at its study's control.

    Args:
        folder: of the study.
        clock: seconds of a clock that is never set.

    Attributes:
        control: as it was at the last look.

    Raises:
        StudyError: as :func:`read_control`. One that is damaged later changes nothing, with a warning.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._content = _read(folder)
        self._next_look = clock() + _SECONDS_BETWEEN_LOOKS
        self.control = _parse(folder, self._content)

    def has_changed(self) -> bool:
        """Look, now and then, whether ``control`` is another than it was."""
        if self._clock() < self._next_look:
            return False
        self._next_look = self._clock() + _SECONDS_BETWEEN_LOOKS
        before = self.control
        try:
            content = _read(self._folder)
            if content != self._content:
                self._content = content
                self.control = _parse(self._folder, content)
        except (StudyError, OSError) as error:
            warnings.warn(f"the study goes on as before: {error}", stacklevel=2)
        return self.control != before


def _read(folder: Path) -> bytes:
    try:
        return read_whole(StudyFolder(folder).control)
    except FileNotFoundError:
        return b""


def _parse(folder: Path, content: bytes) -> Control:
    if not content:
        return Control()
    try:
        return Control.parse(parse_json(content))
    except (ValueError, ConfigError) as error:
        received = error.received if isinstance(error, ConfigError) else first_line(error)
        raise StudyError(
            f"{StudyFolder.control} must hold what `taskct study set`, `pause` and `resume` write",
            f"{StudyFolder(folder).control}: {received}",
            "Remove it, and give these commands again.",
        ) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    if fcntl is None or is_remote(folder):
        yield
        return
    mutex = os.open(folder / f".{StudyFolder.control}.mutex", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(mutex, fcntl.LOCK_EX)
        yield
    finally:
        os.close(mutex)
