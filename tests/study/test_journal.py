"""A damaged journal is mended where what it means is plain, refused where not, and never written to while damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies import InThisProcess, plan, run_here, study_config, table

from study.monitor.status import study_status
from study.run import run_study
from study.search.events import Event, TrialFinished
from study.search.storage.opening import open_study, reopen_or_begin
from study.search.storage.records import read_records
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import StudyError

Damage = Callable[[bytes], bytes]


def joined_at(place: int) -> Damage:
    """Two neighbouring lines are one."""

    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        lines[place] = lines[place].rstrip(b"\n")
        return b"".join(lines)

    return damage


def with_line(line: bytes, place: int) -> Damage:
    def damage(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        return b"".join([*lines[:place], line, *lines[place:]])

    return damage


MENDED: dict[str, Damage] = {
    "a blank line within": with_line(b"\n", 5),
    "blanks within": with_line(b"  \r\n", 5),
    "a blank first line": with_line(b"\n", 0),
    "two joined lines": joined_at(3),
    "two joined last lines": joined_at(-2),
    "three joined lines and zeros": lambda content: joined_at(3)(joined_at(4)(content)) + bytes(100),
    "zeros at the end": lambda content: content + bytes(4096),
    "zeros before a line": with_line(bytes(64), 6),
    "lines of another system": lambda content: content.replace(b"\n", b"\r\n"),
}
REFUSED: dict[str, Damage] = {
    "zeros within": lambda content: content[:300] + bytes(100) + content[400:],
    "half a line within": with_line(b'{"op_code": 4, "worker', 5),
    "half a line with an end": with_line(b'{"op_code": 4, "worker\n', 10**6),
    "a list": with_line(b"[1, 2]\n", 5),
    "a text": with_line(b"conflict <<<<<\n", 10**6),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two trials, of which three are wanted."""
    folder = tmp_path_factory.mktemp("journal") / "study"
    run_here(study_config(trials=2), folder)
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The table of three."""
    return table(run_here(study_config(trials=3), tmp_path_factory.mktemp("whole")).trials)


@pytest.fixture
def half(begun: Path, tmp_path: Path) -> Path:
    return shutil.copytree(begun, tmp_path / "study")


@pytest.mark.parametrize("damage", MENDED.values(), ids=MENDED)
def test_what_is_plain_is_mended_and_the_damaged_journal_kept(
    half: Path, damage: Damage, expected: list[Any]
) -> None:
    journal = StudyFolder(half).journal
    damaged = damage(journal.read_bytes())
    journal.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"is mended; as it was it is kept in journal\.log\.damaged\."):
        found = run_here(study_config(trials=3), half)
    assert table(found.trials) == expected
    assert table(read_records(open_study(half))) == expected
    assert (half / "journal.log.damaged").read_bytes() == damaged


@pytest.mark.parametrize("damage", REFUSED.values(), ids=REFUSED)
def test_what_could_mean_anything_is_refused_and_left_as_it_is(half: Path, damage: Damage) -> None:
    journal = StudyFolder(half).journal
    journal.write_bytes(damage(journal.read_bytes()))
    before = journal.read_bytes()
    with pytest.raises(StudyError, match="taskct study rebuild"):
        run_here(study_config(trials=3), half)
    assert journal.read_bytes() == before and not list(half.glob("*.damaged*"))


def test_a_reader_says_who_mends(half: Path) -> None:
    journal = StudyFolder(half).journal
    journal.write_bytes(joined_at(3)(journal.read_bytes()))
    before = journal.read_bytes()
    with pytest.raises(StudyError, match="it mends what can be understood"):
        study_status(half)
    assert journal.read_bytes() == before


def test_every_damaged_journal_is_kept(half: Path) -> None:
    for damage in (joined_at(3), MENDED["a blank line within"]):
        StudyFolder(half).journal.write_bytes(damage(StudyFolder(half).journal.read_bytes()))
        with pytest.warns(UserWarning, match="mended"):
            run_here(study_config(trials=3), half)
    assert {path.name for path in half.glob("*.damaged*")} == {"journal.log.damaged", "journal.log.damaged1"}


WHILE_RUNNING: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:500]),
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "replaced by a copy": lambda path: (
        shutil.copy(path, f"{path}.copy") and Path(f"{path}.copy").rename(path)
    ),
    "half a line at its end": lambda path: path.write_bytes(path.read_bytes() + b'{"op_co'),
    "lines of something else at its end": lambda path: path.write_bytes(
        path.read_bytes() + b"conflict <<<\n>>>\n"
    ),
}


@pytest.mark.parametrize("damage", WHILE_RUNNING.values(), ids=WHILE_RUNNING)
def test_a_journal_damaged_under_its_driver_is_written_to_no_more(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    journal = StudyFolder(tmp_path).journal
    left: list[bytes | None] = []

    def strike(event: Event) -> None:
        if isinstance(event, TrialFinished) and event.trial == 0 and not left:
            damage(journal)
            left.append(journal.read_bytes() if journal.exists() else None)

    with pytest.raises(StudyError, match=r"journal\.log") as caught:
        run_study(plan(study_config(trials=3), tmp_path), InThisProcess(), strike)
    assert "rebuild" in caught.value.next_step
    assert (journal.read_bytes() if journal.exists() else None) == left[0]


def put(line_with: bytes, *path: str, value: Any) -> Damage:
    """Another value in the last line that holds a text."""

    def damage(content: bytes) -> bytes:
        lines = content.splitlines()
        place = max(number for number, line in enumerate(lines) if line_with in line)
        operation = json.loads(lines[place])
        inner = operation
        for name in path[:-1]:
            inner = inner[name]
        assert path[-1] in inner
        inner[path[-1]] = value
        lines[place] = json.dumps(operation).encode()
        return b"\n".join(lines) + b"\n"

    return damage


OTHER_KINDS: dict[str, Damage] = {
    "a plan's number": put(b'"plan"', "user_attr", "plan", "trials", value={"a": 1}),
    "a plan": put(b'"plan"', "user_attr", "plan", value=[]),
    "a trial's values": put(b'"values":[', "values", value=[{"a": 1}, 1.0]),
    "too few of them": put(b'"values":[', "values", value=[1.0]),
    "an objective": put(b'"objectives"', "user_attr", "objectives", value={"dice_liver": []}),
    "a curve": put(b'"curves"', "user_attr", "curves", value={"dice_liver": 1.0}),
    "an epoch": put(b'"last_epoch"', "user_attr", "last_epoch", value="one"),
    "a parameter": put(b'"param_name":"learning_rate"', "param_value_internal", value="text"),
    "names of objectives": put(b"metric_names", "system_attr", "study:metric_names", value=["one"]),
    "half a letter": put(b'"user_attr":{"values"', "user_attr", "values", value={"image_loss": "\ud800"}),
    "a fingerprint": put(b'"fingerprint"', "user_attr", "fingerprint", value=7),
}


@pytest.mark.parametrize("damage", OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_values_of_another_kind_are_told_and_nothing_is_written(half: Path, damage: Damage) -> None:
    journal = StudyFolder(half).journal
    journal.write_bytes(damage(journal.read_bytes()))
    before = journal.read_bytes()
    for read in (study_status, lambda folder: run_here(study_config(trials=3), folder)):
        with pytest.raises(StudyError, match=r"what its driver wrote|journal\.log must") as caught:
            read(half)
        assert "taskct study rebuild" in caught.value.next_step
    assert journal.read_bytes() == before
    reopen_or_begin(half, None, ["maximize", "maximize"])  # as `study rebuild` begins
    assert (half / "journal.log.unreadable").read_bytes() == before
