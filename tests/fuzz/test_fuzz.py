"""Mutated files of every kind: each ends in a taskct error or is read right, never in a traceback, a hang or a bomb.

Seeded: ``TASKCT_FUZZ_SEED`` starts elsewhere, ``TASKCT_FUZZ_INPUTS`` gives each kind of file more than its eight;
``benchmarks/fuzz.py`` reads thousands.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Target, run_target
from mutations import MUTATIONS, Mutated, mutate
from targets import make_targets

from taskct_core.errors import DataError

SEED = int(os.environ.get("TASKCT_FUZZ_SEED", "0"))
INPUTS = int(os.environ.get("TASKCT_FUZZ_INPUTS", "8"))


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> list[Target]:
    return make_targets(tmp_path_factory.mktemp("targets"))


@pytest.mark.slow
def test_mutated_files_end_in_an_error_or_are_read_right(targets: list[Target], tmp_path: Path) -> None:
    faults = [
        fault
        for target in targets
        for fault in run_target(target, tmp_path, SEED, iter(range(INPUTS))).faults
    ]
    assert faults == []


# --- the harness sees what it is to see ------------------------------------------------------------


def refuse(folder: Path) -> str:
    raise DataError("a rule", "a value", "a step")


def crash(folder: Path) -> str:
    raise KeyError("x")


def hang(folder: Path) -> str:
    while True:
        pass


def read(folder: Path) -> bytes:
    return (folder / "file").read_bytes()


def differs(found: Any, whole: Any, mutated: Mutated) -> str | None:
    return "other bytes" if found != whole else None


@pytest.mark.parametrize(
    ("strike", "outcome"),
    [(refuse, "clean"), (read, "accepted"), (crash, "traceback"), (hang, "hang")],
)
def test_the_harness_tells_outcomes_apart(
    strike: Callable[[Path], Any], outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.MOST_SECONDS", 0.2)

    def on_mutated(folder: Path) -> Any:
        return strike(folder) if read(folder) != b"0123456789" else b""

    target = Target("one", {"file": b"0123456789"}, {"file": "binary"}, on_mutated)
    tally = run_target(target, tmp_path, 0, iter(range(3)))
    assert set(tally.counts) == {outcome} and bool(tally.faults) == (outcome in ("traceback", "hang"))


def test_the_harness_compares_with_the_whole_file(tmp_path: Path) -> None:
    target = Target("one", {"file": b"0123456789"}, {"file": "binary"}, read, differs)
    assert set(run_target(target, tmp_path, 0, iter(range(3))).counts) == {"wrong"}


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutation_is_the_same_again_and_changes_the_file(kind: Any) -> None:
    content = b'{"a": {"b": 1, "c": ["d", 2.5]}}\n' * (40 if kind == "lines" else 1)
    found = [mutate(content, kind, random.Random(f"0 {number}")) for number in range(50)]
    assert [mutate(content, kind, random.Random(f"0 {number}")) for number in range(50)] == found
    assert sum(mutated.content != content for mutated in found) > 40
    assert len({mutated.mutation for mutated in found}) > 4
