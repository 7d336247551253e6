"""The epoch log: rows come back as written, whatever a kill left of the last one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from study.trials import epoch_log
from taskct_core.contracts.folders import TrialFolder


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    rows = [{"epoch": epoch, "psnr_fixed": 30.0 + epoch, "note": "x"} for epoch in (1, 2, 3)]
    for row in rows:
        epoch_log.append(tmp_path / "0000", row)
    assert epoch_log.read(tmp_path / "0000") == rows


def test_no_log_is_no_rows(tmp_path: Path) -> None:
    assert epoch_log.read(tmp_path) == []


def test_nan_and_numpy_values_survive(tmp_path: Path) -> None:
    epoch_log.append(tmp_path, {"epoch": np.int64(1), "loss": math.nan, "psnr_fixed": np.float32(0.5)})
    (row,) = epoch_log.read(tmp_path)
    assert math.isnan(row["loss"]) and row["psnr_fixed"] == 0.5 and row["epoch"] == 1


def test_every_cut_of_the_file_leaves_the_whole_rows_and_room_for_more(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        epoch_log.append(tmp_path, {"epoch": epoch, "loss": 0.5})
    path = tmp_path / TrialFolder.epoch_log
    content = path.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        # A row is whole once its closing brace is there, newline or not.
        whole = content[:length].count(b"}")
        assert [row["epoch"] for row in epoch_log.read(tmp_path)] == list(range(1, whole + 1))
        epoch_log.append(tmp_path, {"epoch": 9, "loss": 0.1})
        assert [row["epoch"] for row in epoch_log.read(tmp_path)] == [*range(1, whole + 1), 9]


def test_the_last_row_of_an_epoch_counts(tmp_path: Path) -> None:
    for loss in (0.5, 0.4):
        epoch_log.append(tmp_path, {"epoch": 1, "loss": loss})
    assert epoch_log.read(tmp_path) == [{"epoch": 1, "loss": 0.4}]
