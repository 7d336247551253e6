"""What lies on disk: names that old folders have, whole files, and study.json of every age."""

from __future__ import annotations

import inspect
import json
import math
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import taskct_core
from study.data.shards import SAMPLE_COLUMNS
from taskct_core import schema
from taskct_core.contracts import folders
from taskct_core.contracts.files import read_json, write_json, write_text, write_whole
from taskct_core.contracts.folders import (
    DatasetFolder,
    Entry,
    Folder,
    StudyFolder,
    TaskNetworkFolder,
    TrialFolder,
)
from taskct_core.contracts.rows import (
    Batch,
    EpochRow,
    SliceRow,
    finite_numbers,
    first_row,
    read_rows,
    to_json,
    write_rows,
)
from taskct_core.contracts.study_card import StudyCard
from taskct_core.contracts.tables import read_arrays, read_table, with_format, write_arrays, write_table
from taskct_core.errors import DataError

ROOT = Path(taskct_core.__file__).parents[1]


def test_names_are_those_of_every_folder_that_was_ever_written() -> None:
    study = StudyFolder(Path("s"))
    assert study.trial(3).epoch_log == Path("s/trials/0003/metrics.jsonl")
    assert study.trial(12345).checkpoint == Path("s/trials/12345/checkpoint.pt")
    assert study.panel(3) == Path("s/panels/trial-0003.npz") and study.panel("fbp") == Path(
        "s/panels/fbp.npz"
    )
    assert (study.card, study.results) == (Path("s/study.json"), Path("s/results.parquet"))
    assert (StudyFolder.results, StudyFolder.lock, TrialFolder.final) == (
        "results.parquet",
        "driver.lock",
        "final.json",
    )
    assert DatasetFolder.card == "dataset.json" and TaskNetworkFolder.card == "card.json"


def test_a_folder_travels_to_other_processes_and_compares_by_its_path(tmp_path: Path) -> None:
    folder = StudyFolder.at(str(tmp_path)).trial(1)
    assert pickle.loads(pickle.dumps(folder)) == folder == TrialFolder.at(folder) and str(folder).endswith(
        "0001"
    )


def test_no_other_source_file_names_a_file_of_a_folder() -> None:
    names = {
        name
        for _, kind in inspect.getmembers(
            folders, lambda member: inspect.isclass(member) and issubclass(member, Folder)
        )
        for name in (getattr(kind, key) for key, value in vars(kind).items() if isinstance(value, Entry))
    }
    literal = re.compile("|".join(f"[\"']{re.escape(name)}[\"']" for name in names if "." in name))
    sources = [path for part in ("taskct_core", "study", "analysis") for path in (ROOT / part).rglob("*.py")]
    again = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in sources
        if path.name != "folders.py"
        for found in literal.finditer(path.read_text(encoding="utf-8"))
    ]
    assert len(names) > 20 and again == []


def test_an_error_shows_an_empty_text_too() -> None:
    assert str(DataError("a name must not be empty", "", "Name it.")) == (
        "a name must not be empty; received ''. Name it."
    )


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "values.json"
    write_json(path, {"a": 1})

    def fail_half_way(temporary: Path) -> None:
        temporary.write_text("{")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(path, fail_half_way)
    assert read_json(path, "") == {"a": 1} and os.listdir(path.parent) == ["values.json"]


def test_damaged_files_are_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"{junk")
    for read in (lambda: read_json(path, "Do."), lambda: read_table(path), lambda: read_arrays(path)):
        with pytest.raises(DataError, match=r"^x must be"):
            read()
    np.savez(tmp_path / "objects.npz", a=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="NumPy archive"):
        read_arrays(tmp_path / "objects.npz")


def test_tables_and_arrays_come_back(tmp_path: Path) -> None:
    table = with_format(pa.table({"a": [1.5, None]}), 7, note="n")
    write_table(tmp_path / "t.parquet", table)
    assert read_table(tmp_path / "t.parquet", 7).equals(table)
    with pytest.raises(DataError, match="version 8"):
        read_table(tmp_path / "t.parquet", 8)
    write_arrays(tmp_path / "a.npz", label=np.arange(3))
    assert read_arrays(tmp_path / "a.npz")["label"].tolist() == [0, 1, 2]


def test_study_cards_of_every_age_are_read(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    old = {
        "name": "old",
        "dataset": None,
        "objectives": None,
        "folders": None,
        "config": {"study": {"trials": 5}},
        "something": [1],
    }
    write_text(path, json.dumps(old))
    card = StudyCard.read(path)
    assert (card.name, card.dataset, card.objectives, card.planned_trials) == ("old", {}, [], 5)
    assert card.photons_per_ray is None
    card.write(path)
    again = json.loads(path.read_text())
    assert again["something"] == [1] and StudyCard.read(path) == card
    assert StudyCard(dataset={"simulation": {"photons_per_ray": 4096}}).photons_per_ray == 4096.0


@pytest.mark.parametrize("text", ["[1]", '{"objectives": 3}', '{"name": {}}'])
def test_a_study_card_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(DataError, match=r"study\.json must hold an object"):
        StudyCard.read(tmp_path / "study.json")


def test_rows_come_back_from_json_that_every_reader_takes(tmp_path: Path) -> None:
    row = {
        "epoch": np.int64(2),
        "a": math.nan,
        "b": -math.inf,
        "c": np.float32(0.5),
        "d": "text",
        "e": [math.inf],
    }
    text = to_json(row)
    assert json.loads(text, parse_constant=lambda token: pytest.fail(token))["a"] is None
    back = first_row(text)[0]
    assert (back["epoch"], back["b"], back["c"], back["d"]) == (2, -math.inf, 0.5, "text") and math.isnan(
        back["a"]
    )
    write_rows(tmp_path / "rows.json", [row, row])
    assert [r["b"] for r in read_rows(tmp_path / "rows.json")] == [-math.inf] * 2
    assert read_rows(tmp_path / "none.json") == [] and finite_numbers(back) == {"epoch": 2, "c": 0.5}


def test_rows_of_older_versions_are_read_alike(tmp_path: Path) -> None:
    log = '{"epoch": 1, "psnr": Infinity, "dice": NaN}'
    final = '[{"epoch": 1, "psnr": "inf", "dice": null}]'
    (tmp_path / "final.json").write_text(final)
    rows: list[dict[str, Any]] = [first_row(log)[0], *map(dict, read_rows(tmp_path / "final.json"))]
    for row in rows:
        assert row["epoch"] == 1 and row["psnr"] == math.inf and math.isnan(row["dice"])


def test_rows_and_batches_have_columns_of_the_schema_only() -> None:
    columns = {value for value in vars(schema).values() if isinstance(value, str)}
    for kind in (Batch, SliceRow, EpochRow):
        assert set(kind.__annotations__) <= columns
    assert set(Batch.__annotations__) - {schema.SPLIT} == set(SAMPLE_COLUMNS) - set(schema.BASE_COLUMNS)
