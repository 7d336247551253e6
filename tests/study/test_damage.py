"""One damaged file costs what it held: a clear word, the rest goes on, and what can be rebuilt is."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import analysis
from study.results import export_results
from study.scoring.evaluate import evaluate_study
from study.scoring.references import write_references
from study.search.lock import read_driver, study_lock
from study.search.storage.opening import open_study
from study.search.storage.records import TrialRecord
from study.trials import epoch_log
from study.trials.inputs import TrialInputs, Worker
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import Folder, StudyFolder, TrialFolder
from taskct_core.contracts.rows import read_rows
from taskct_core.contracts.tables import read_frame
from taskct_core.errors import DataError, StudyError, TaskctError

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "not text": lambda content: b"\xff\xfe" + content,
    "another thing": lambda content: b"[1, 2]\n",
}
TRIAL_FILES = ("config.yaml", "final.json", "samples.parquet", "metrics.jsonl", "panel.npz", "checkpoint.pt")
STUDY_FILES = (
    "study.json",
    "references.json",
    "references-samples.parquet",
    "results.parquet",
    "samples.parquet",
    "evaluations.parquet",
    "evaluation-samples.parquet",
    "panels/slices.json",
    "panels/truth.npz",
    "panels/fbp.npz",
)


@pytest.fixture(scope="module")
def inputs(small: Any) -> TrialInputs:
    return small.trial_inputs(shown=True, slices=2)


def record(trial: int) -> TrialRecord:
    values = {"alpha": 0.1 + trial}
    return TrialRecord(trial, schema.COMPLETE, values, {}, 2, None, 0, None, None, True)


RECORDS = [record(0), record(1)]


@pytest.fixture(scope="module")
def whole(small: Any, inputs: TrialInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder of two trained trials, with its tables, references, panels and evaluations."""
    folder = tmp_path_factory.mktemp("damage") / "study"
    for trial in (0, 1):
        config = small.experiment.trial.model_copy(update={"alpha": 0.1 + 0.5 * trial})
        run_trial(config, StudyFolder(folder).trial(trial).path, inputs, Worker(), lambda row: None, trial)
    write_references(folder, inputs)
    export_results(folder, "damaged", RECORDS)
    record = {
        "name": "damaged",
        "objectives": [schema.PRIMARY_DICE, schema.PRIMARY_PSNR],
        "dataset": {"patients": small.card.patients},
        "folders": {
            "dataset": str(small.workspace.dataset),
            "task_network": str(small.workspace.task_network),
        },
    }
    StudyFolder(folder).card.write_text(json.dumps(record))
    evaluate_study(folder, trials=[1])
    return folder


@pytest.fixture(scope="module")
def complete(whole: Path) -> pd.DataFrame:
    """What its trials gave."""
    return read_frame(whole / StudyFolder.results)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "study")


def spoil(path: Path, damage: str) -> None:
    path.write_bytes(DAMAGES[damage](path.read_bytes()))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", TRIAL_FILES)
def test_a_damaged_file_of_a_trial_costs_no_other_trial(
    name: str, damage: str, folder: Path, complete: pd.DataFrame
) -> None:
    path = StudyFolder(folder).trial(0).path / name
    spoil(path, damage)
    told: list[DataError] = []
    results = export_results(folder, "damaged", RECORDS, told.append)
    kept, whole = (
        table[table[schema.TRIAL] != 0].dropna(axis=1, how="all").reset_index(drop=True)
        for table in (results, complete)
    )
    pd.testing.assert_frame_equal(kept, whole, check_like=True, check_dtype=False)
    if name in ("config.yaml", "final.json", "samples.parquet"):
        assert all(str(path) in error.received and error.next_step for error in told) and told
    if name == "config.yaml":  # what the search drew is known to the storage
        trial = results[results[schema.TRIAL] == 0]
        assert (trial[f"{schema.CONFIG_PREFIX}alpha"] == 0.1).all()
    if name in ("config.yaml", "checkpoint.pt"):
        score(folder, trial=0)


def test_a_trial_without_a_whole_file_costs_no_report_and_no_score_of_another(folder: Path) -> None:
    for name in TRIAL_FILES:
        spoil(StudyFolder(folder).trial(0).path / name, "zeroed")
    assert analysis.write_report(folder).is_file()
    assert len(evaluate_study(folder, trials=[1])) == 3


def score(folder: Path, trial: int) -> None:
    """A score or a clear word."""
    try:
        evaluate_study(folder, trials=[trial])
    except TaskctError as error:
        assert error.next_step


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", STUDY_FILES)
def test_a_damaged_file_of_a_study_is_rebuilt_or_told(
    name: str, damage: str, folder: Path, inputs: TrialInputs
) -> None:
    spoil(folder / name, damage)
    if damage == "zeroed" and not name.startswith("references"):  # which neither of the two reads
        try:
            analysis.write_report(folder)
        except TaskctError as error:
            assert error.next_step and Path(name).name in str(error)
        score(folder, trial=1)
    told: list[DataError] = []
    export_results(folder, "damaged", RECORDS, told.append)
    if name.startswith("references"):
        assert told
        before = {row[schema.METHOD] for row in read_rows_or_none(folder)}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            write_references(folder, inputs)
        assert any("scored again" in str(warning.message) for warning in caught) or before
        rows = read_rows(StudyFolder(folder).references)
        assert {row[schema.METHOD] for row in rows} == {"full_dose", "fbp"}
        told.clear()
        export_results(folder, "damaged", RECORDS, told.append)
        assert not told


def read_rows_or_none(folder: Path) -> list[Any]:
    try:
        return list(read_rows(StudyFolder(folder).references))
    except DataError:
        return []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_trial_with_a_damaged_checkpoint_is_trained_again(
    damage: str, small: Any, inputs: TrialInputs, folder: Path
) -> None:
    """All that it held follows from configuration and seed."""
    trial = StudyFolder(folder).trial(0)
    before = epoch_log.read(trial)
    spoil(trial.checkpoint, damage)
    config = small.experiment.trial.model_copy(update={"alpha": 0.1})
    with pytest.warns(UserWarning, match="begins anew"):
        run_trial(config, trial.path, inputs, Worker(), lambda row: None)
    after = epoch_log.read(trial)
    assert [row[schema.LOSS] for row in after] == [row[schema.LOSS] for row in before]


# --- single lines -----------------------------------------------------------------------------------

LINES = {
    "an epoch that is null": (b'{"epoch": null}', [1, 2]),
    "an epoch that is text": (b'{"epoch": "two"}', [1, 2]),
    "an epoch that is half": (b'{"epoch": 1.5}', [1, 2]),
    "an epoch that is true": (b'{"epoch": true, "loss": 9}', [1, 2]),
    "an infinite epoch": (b'{"epoch": "inf"}', [1, 2]),
    "no object": (b"[1, 2]", [1, 2]),
    "zeros": (bytes(50), [1, 2]),
    "a blank line": (b"", [1, 2]),
    "two joined lines": (b'{"epoch": 3}{"epoch": 4}', [1, 2, 3, 4]),
    "a row and half of one": (b'{"epoch": 3}{"epo', [1, 2, 3]),
    "deep nesting": (b'{"epoch": ' + b"[" * 100_000, [1, 2]),
    "a score that is text": (b'{"epoch": 3, "psnr_lodopab": "high"}', [1, 2]),
    "a loss that is true": (b'{"epoch": 3, "loss": true}', [1, 2]),
    "a method that is a number": (b'{"epoch": 3, "method": 4}', [1, 2]),
    "a host that is no text": (b'{"epoch": 3, "host": "\\ud800"}', [1, 2]),
    "a number too large for a table": (b'{"epoch": 3, "seconds": 1' + b"0" * 30 + b"}", [1, 2]),
    "a long number": (b'{"epoch": ' + b"9" * 5000 + b"}", [1, 2]),
}


@pytest.mark.parametrize(("line", "epochs"), LINES.values(), ids=LINES)
def test_a_damaged_line_of_an_epoch_log_costs_that_line(
    line: bytes, epochs: list[int], tmp_path: Path
) -> None:
    epoch_log.append(tmp_path, {"epoch": 1, "loss": 0.5})
    path = tmp_path / TrialFolder.epoch_log
    path.write_bytes(path.read_bytes() + line + b"\n")
    epoch_log.append(tmp_path, {"epoch": 2, "loss": 0.4})
    rows = epoch_log.read(tmp_path)
    assert [row["epoch"] for row in rows] == epochs
    assert rows[0]["loss"] == 0.5 and math.isfinite(rows[1]["loss"])


WHOLE_LOCK = b'{"host": "a", "pid": 1, "token": "t", "since": 1.0, "heartbeat": 2.0}'
LOCKS = [b"", b"{", bytes(80), b"[]", b"null", b'{"host": 1}', b'{"a": 2}', b"[" * 100_000]
LOCKS += [WHOLE_LOCK.replace(b"1,", b'"x",'), WHOLE_LOCK.replace(b"2.0", b"null"), b"\xff" + WHOLE_LOCK]


@pytest.mark.parametrize("content", LOCKS)
def test_a_damaged_lock_is_nobodys(content: bytes, tmp_path: Path) -> None:
    (tmp_path / Folder.lock).write_bytes(content)
    assert read_driver(tmp_path) is None
    with study_lock(tmp_path):
        assert read_driver(tmp_path) is not None


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"\xff{}", b'{"study_name": 1, "url": null}', b"[]", b"9" * 5000]
)
def test_a_damaged_storage_card_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / StudyFolder.storage).write_bytes(content)
    with pytest.raises(StudyError, match=r"storage\.json must name the study"):
        open_study(tmp_path)


def test_scores_of_another_trial_are_not_taken(folder: Path) -> None:
    """A file that was copied from one trial's folder into another's."""
    for name in (TrialFolder.final, TrialFolder.epoch_log):
        shutil.copy(StudyFolder(folder).trial(1).path / name, StudyFolder(folder).trial(0).path / name)
    told: list[DataError] = []
    results = export_results(folder, "damaged", RECORDS, told.append)
    assert any("scores of its own trial" in error.rule for error in told)
    other = read_rows(StudyFolder(folder).trial(1).final)[0][schema.PRIMARY_PSNR]
    taken = results[(results[schema.TRIAL] == 0) & (results[schema.PRIMARY_PSNR] == other)]
    assert taken.empty and (results[schema.TRIAL] == 1).sum() == 3


@pytest.mark.parametrize("name", ["results.parquet", "samples.parquet", "trials/0000/samples.parquet"])
def test_a_changed_bit_in_a_table_is_noticed(name: str, folder: Path) -> None:
    export_results(folder, "damaged", RECORDS)
    content = bytearray((folder / name).read_bytes())
    column = pq.read_metadata(folder / name).row_group(0).column(0)
    pages = column.dictionary_page_offset or column.data_page_offset
    content[pages + column.total_compressed_size - 1] ^= 4  # the last byte of a page
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match="must be a readable Parquet file"):
        read_frame(folder / name)
