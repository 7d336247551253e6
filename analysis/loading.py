"""Reads a study folder, local or at any fsspec URL: ``load(folder) -> ResultsTable``. Writes nothing.

Reads ``results.parquet``, which must be there, ``samples.parquet``, ``evaluations.parquet``,
``evaluation-samples.parquet`` and ``study.json``; images and trials' configurations are read where they are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from analysis.results_table import STATUS_RANK, ResultsTable
from taskct_core import schema as S
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.contracts.tables import read_frame
from taskct_core.errors import DataError
from taskct_core.redaction import redacted

_NEEDED = (S.TRIAL, S.METHOD, S.SPLIT, S.EPOCH, S.STATUS)
_NEEDED_SAMPLES = (S.TRIAL, S.METHOD, S.SPLIT, S.PATIENT, S.SLICE_INDEX)


def load(folder: str | Path) -> ResultsTable:
    """Read a study folder (a path, its ``results.parquet``, or an fsspec URL).

    Raises:
        DataError: if there is no readable results file of this schema version, or columns are missing.
    """
    files = open_study(folder)
    rows = read_frame(files.results, S.RESULTS_FORMAT_VERSION)
    _check_rows(rows)
    if S.FAILURE_REASON in rows:  # a library's error may quote the URL that it was given
        rows[S.FAILURE_REASON] = rows[S.FAILURE_REASON].map(redacted, na_action="ignore")
    rows, points = _without_points(rows)
    samples = pd.DataFrame(columns=list(_NEEDED_SAMPLES))
    if files.samples.is_file():
        samples = read_frame(files.samples, S.RESULTS_FORMAT_VERSION)
        _check_columns(StudyFolder.samples, samples, _NEEDED_SAMPLES)
    samples = _with_audit(samples, files, rows)
    study = StudyCard.read(files.card) if files.card.is_file() else StudyCard()
    of_runs = rows[S.RUN].notna() if S.RUN in rows else pd.Series(False, index=rows.index)
    whole, runs = rows[~of_runs], rows[of_runs]
    return ResultsTable(files, whole, samples, study, _read_evaluations(files), points, runs)


def _without_points(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row a trial, epoch and split; and the points of front trials, one an alpha."""
    if S.ALPHA not in rows:
        return rows, rows.iloc[:0]
    is_point = rows[S.ALPHA].notna()
    return rows[~is_point].reset_index(drop=True), rows[is_point].reset_index(drop=True)


def open_study(location: str | Path) -> StudyFolder:
    """The study folder at a path or fsspec URL, or the one of a ``results.parquet``.

    Raises:
        DataError: if it holds no results.
    """
    path = open_folder(location)
    folder = StudyFolder(path.parent if path.name == StudyFolder.results else path)
    if not folder.results.is_file():
        raise DataError(
            f"a study folder must hold {StudyFolder.results}",
            f"{folder}" + ("" if folder.path.exists() else " (no such folder)"),
            "Name the folder `taskct study run` wrote; the file appears with its first evaluated epoch.",
        )
    return folder


def _with_audit(samples: pd.DataFrame, files: StudyFolder, rows: pd.DataFrame) -> pd.DataFrame:
    """The slices' rows with their counts under the last network that audited them, where one has."""
    if not files.evaluation_samples.is_file() or S.DATA_HASH not in rows:
        return samples
    audited = read_frame(files.evaluation_samples)
    if S.AUDIT_NETWORK_HASH not in audited:
        return samples
    own_data = audited[S.DATA_HASH].isin(rows[S.DATA_HASH].dropna())
    audited = audited[own_data & audited[S.AUDIT_NETWORK_HASH].notna()]
    counts = [
        name for name in audited if name.endswith(S.AUDIT_NETWORK_SUFFIX) and name != S.AUDIT_NETWORK_HASH
    ]
    if audited.empty or not counts:
        return samples
    audited = audited[audited[S.AUDIT_NETWORK_HASH] == audited[S.AUDIT_NETWORK_HASH].iloc[-1]]
    keys = [S.TRIAL, S.SPLIT, S.PATIENT, S.SLICE_INDEX]
    return samples.merge(audited[keys + counts].drop_duplicates(keys, keep="last"), how="left", on=keys)


def _read_evaluations(files: StudyFolder) -> pd.DataFrame:
    if not files.evaluations.is_file():
        return pd.DataFrame()
    rows = read_frame(files.evaluations)
    _check_columns(StudyFolder.evaluations, rows, (S.TRIAL, S.METHOD, S.SPLIT, S.DATA_HASH))
    return rows


def _check_rows(rows: pd.DataFrame) -> None:
    _check_columns(StudyFolder.results, rows, _NEEDED)
    if rows.empty:
        raise DataError(
            f"{StudyFolder.results} must hold at least one row",
            "0 rows",
            "Wait until the study has evaluated its first epoch, then report again.",
        )
    unknown = sorted(set(rows[S.STATUS]) - set(STATUS_RANK), key=str)
    if unknown:
        raise DataError(
            f"status must be one of {', '.join(S.STATUSES)}", f"{unknown}", "Export the study again."
        )


def _check_columns(name: str, table: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [column for column in needed if column not in table]
    if missing:
        raise DataError(
            f"{name} must have the columns {', '.join(needed)}",
            f"a table without {', '.join(missing)}",
            "Export the study again with this version of taskct.",
        )
