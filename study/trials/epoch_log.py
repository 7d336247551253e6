"""The epoch log of a trial: ``<trial folder>/metrics.jsonl``, one JSON object an epoch.

A trainable appends a row **before** it reports the same row to Ray Tune. The log, not Tune's memory, is
what a study is judged and resumed from: it outlives a killed driver, worker or node. An epoch may be
logged twice (a trial that was killed between checkpoint and report trains it again); the last row counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TypeGuard

from taskct_core.contracts.files import is_remote, write_bytes
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow, epoch_row, first_row, is_row, to_json
from taskct_core.schema import EPOCH, KEPT_EPOCH


def append(folder: TrialFolder | str | Path, row: Mapping[str, object]) -> None:
    """Add one epoch's row to the log of the trial in ``folder`` and force it to disk.

    A remote log is replaced by a longer one: object stores do not append.

    Args:
        folder: the trial's folder; made if absent.
        row: plain values by column name, with :data:`~taskct_core.schema.EPOCH`; NaN and infinities are kept.
    """
    line = to_json(row) + "\n"
    path = TrialFolder.at(folder).epoch_log
    if is_remote(path):
        logged = path.read_bytes() if path.is_file() else b""
        write_bytes(path, logged + line.encode("utf-8"))
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if _ends_torn(file):
            line = "\n" + line  # closes the line that a kill cut short, so that this one stands alone
        file.write(line.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())


def read(folder: TrialFolder | str | Path, last_epoch: int | None = None) -> list[EpochRow]:
    """Return the rows of the trial in ``folder``, one an epoch in ascending order; empty without a log.

    What a kill or a bad disk left of a line is no row; of two lines that were joined, both are. Of several rows for one
    epoch the last counts. Rows after ``last_epoch`` are left out.
    """
    path = TrialFolder.at(folder).epoch_log
    if not path.is_file():
        return []
    rows: dict[int, EpochRow] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        for row in _rows_of(line):
            rows[row[EPOCH]] = row
    return [rows[epoch] for epoch in sorted(rows) if last_epoch is None or epoch <= last_epoch]


def _rows_of(line: str) -> Iterator[EpochRow]:
    """The rows of a line of the log, up to what is damaged of it."""
    rest = line.strip()
    while rest:
        try:
            row, end = first_row(rest)
        except (ValueError, RecursionError):
            return
        epoch = row.get(EPOCH)
        if _is_whole(epoch) and is_row(row):
            yield epoch_row(row, {EPOCH: int(epoch)})
        rest = rest[end:].strip()


def _is_whole(epoch: object) -> TypeGuard[int | float]:
    if not isinstance(epoch, int | float) or isinstance(epoch, bool):
        return False
    return math.isfinite(epoch) and epoch == int(epoch)


def kept_row(rows: list[EpochRow]) -> EpochRow:
    """The row that a trial is judged by: of the epoch whose weights it keeps, by its last row; else that last row.

    Args:
        rows: of ``read``; not empty.
    """
    kept = rows[-1].get(KEPT_EPOCH)
    return next((row for row in rows if row[EPOCH] == kept), rows[-1])


def _ends_torn(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return False
    file.seek(size - 1)
    return bool(file.read(1) != b"\n")
