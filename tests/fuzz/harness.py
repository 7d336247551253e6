"""Reads mutated files, one after another, and tells what came of each.

A target is a folder of files and a function that reads it as a command would. An input is that folder with one file
mutated. What may come of it: a taskct error that says rule, value and next step (``clean``), or a result
(``accepted``), which must be that of the folder as it was wherever that can be known; else it is ``wrong``. Any
other exception is a ``traceback``, and more than ``MOST_SECONDS`` are a ``hang``.
"""

from __future__ import annotations

import random
import shutil
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mutations import Kind, Mutated, mutate

from taskct_core.errors import TaskctError

Outcome = Literal["clean", "accepted", "wrong", "traceback", "hang"]
MOST_SECONDS = 5.0  # of the processor


class Hanging(BaseException):
    """Nothing of ours catches it."""


@dataclass(frozen=True)
class Target:
    """Files, and what is read from them.

    Attributes:
        name: of the target.
        files: path below the folder -> content: all that the folder holds.
        mutated: which of them are mutated, and of what kind they are.
        read: the folder -> a result; raises a TaskctError for what it cannot read.
        problem: (result, the result without mutation, what was done) -> what is wrong with it; None if nothing.
    """

    name: str
    files: dict[str, bytes]
    mutated: dict[str, Kind]
    read: Callable[[Path], Any]
    problem: Callable[[Any, Any, Mutated], str | None] = lambda found, whole, mutated: None


@dataclass
class Tally:
    """Outcomes of a target's inputs, and the inputs that should not be."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run_target(target: Target, room: Path, seed: int, inputs: Iterator[int]) -> Tally:
    """Read the inputs of these numbers, below ``room``; the same seed and number are the same input."""
    folder = room / "input"
    _fill(folder, target.files)
    whole = target.read(folder)
    names = sorted(target.mutated)
    tally = Tally()
    for number in inputs:
        draw = random.Random(f"{seed} {target.name} {number}")
        name = draw.choice(names)
        mutated = mutate(target.files[name], target.mutated[name], draw)
        _fill(folder, target.files | {name: mutated.content})
        outcome, said = _outcome(target, folder, whole, mutated)
        tally.counts[outcome] += 1
        if outcome not in ("clean", "accepted"):
            where = f"{target.name}, seed {seed}, input {number}: {mutated.mutation} of {name}"
            tally.faults.append(f"{outcome}: {where}: {said}")
    shutil.rmtree(folder)
    return tally


def _outcome(target: Target, folder: Path, whole: Any, mutated: Mutated) -> tuple[Outcome, str]:
    try:
        with _limit(MOST_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = target.read(folder)
    except TaskctError as error:
        told = error.rule and error.received and error.next_step
        return ("clean", "") if told else ("wrong", "an error that says nothing")
    except Hanging:
        return "hang", f"over {MOST_SECONDS:g} s"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-6:]]
        return "traceback", f"{type(error).__name__}: {str(error)[:200]!r} in {' '.join(places)}"
    problem = target.problem(found, whole, mutated)
    return ("accepted", "") if problem is None else ("wrong", problem)


def _fill(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise Hanging

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
