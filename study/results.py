"""The study folder's tables: trial folders and references -> results.parquet and samples.parquet.

Reads, for every trial, config.yaml, metrics.jsonl, final.json and samples.parquet; for the references
references.json and references-samples.parquet. Writes one flat row a trial, epoch and split, and one for
each alpha of a front trial that is done. It may run
while trials are running: it takes what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from study.provenance import config_hash
from study.search.storage.records import TrialRecord
from study.trials import epoch_log
from taskct_core import schema
from taskct_core.contracts.files import write_bytes
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.rows import EpochRow, epoch_row, read_rows
from taskct_core.contracts.tables import read_frame, with_format, write_table
from taskct_core.contracts.yaml_loader import read_yaml
from taskct_core.errors import ConfigError, DataError
from taskct_core.training.config import TrialConfig

Default = TypeVar("Default")
Read = TypeVar("Read")

_REDO = (
    "Restore it from a copy; without it the tables lack what it held. `taskct evaluate` scores a trial again."
)


OnDamage = Callable[[DataError], None]


def export_results(
    study_folder: StudyFolder | Path,
    name: str,
    trials: Iterable[TrialRecord],
    on_damage: OnDamage = lambda _error: None,
) -> pd.DataFrame:
    """Write the tables of a study from what its trials have left so far, and return the results.

    Args:
        study_folder: of the study.
        name: of the study, for its column.
        trials: as the study's storage knows them.
        on_damage: called for each file that cannot be read; what it held is left out, everything else is not.
    """
    study = StudyFolder.at(study_folder)
    files = _Files(on_damage)
    references = files.rows_of(study.references, lambda trial: trial is not None and trial < 0)
    rows = [epoch_row(row, {schema.STATUS: schema.REFERENCE}) for row in references]
    sample_files, curve_files = [study.reference_samples], [study.reference_image_quality]
    for record in trials:
        folder = study.trial(record.trial)
        rows += _trial_rows(folder, record, files)
        if record.status != schema.PRUNED:
            sample_files.append(folder.samples)
            curve_files.append(folder.image_quality)
            _collect_panel(folder.panel, study.panel(record.trial))
            _collect_panel(folder.front_panel, study.front_panel(record.trial))
    results = pd.DataFrame([{schema.STUDY: name, **row} for row in rows])
    if results.empty:
        return results
    _write_results(study.results, results)
    samples = [table for path in sample_files for table in files.tables(path)]
    if samples:
        _write_results(study.samples, pd.concat(samples, ignore_index=True))
    curves = [table for path in curve_files for table in files.tables(path)]
    if curves:
        _write_results(study.image_quality, pd.concat(curves, ignore_index=True))
    return results


class _Files:
    """Reads what trials left; a damaged file is told of and costs what it held."""

    def __init__(self, on_damage: OnDamage) -> None:
        self._on_damage = on_damage

    def rows_of(self, path: Path, is_theirs: Callable[[int | None], bool]) -> list[EpochRow]:
        """The rows of a file, all of which must be of the trial whose file it is."""
        found: list[EpochRow] = self._or([], lambda: _require_theirs(read_rows(path), path, is_theirs))
        return found

    def epochs_of(self, folder: TrialFolder, trial: int, last_epoch: int | None = None) -> list[EpochRow]:
        """The rows of an epoch log, in which a user's own trainable need not name the trial."""
        rows = epoch_log.read(folder, last_epoch)
        found: list[EpochRow] = self._or(
            [], lambda: _require_theirs(rows, folder.epoch_log, lambda named: named in (trial, None))
        )
        return found

    def tables(self, path: Path) -> list[pd.DataFrame]:
        """The table, alone in a list; none where there is no such file."""
        if not path.is_file():
            return []
        found: list[pd.DataFrame] = self._or([], lambda: [read_frame(path, next_step=_REDO)])
        return found

    def config(self, path: Path, rows: list[EpochRow]) -> dict[str, Any] | None:
        """A trial's configuration, if it is the one that its rows were trained with; None where it is not known."""
        if not path.is_file():
            return None
        known: dict[str, Any] | None = self._or(None, lambda: _read_config(path, rows))
        return known

    def _or(self, default: Default, read: Callable[[], Read]) -> Default | Read:
        try:
            return read()
        except DataError as error:
            self._on_damage(error)
            return default


def _require_theirs(
    rows: list[EpochRow], path: Path, is_theirs: Callable[[int | None], bool]
) -> list[EpochRow]:
    others = [row.get(schema.TRIAL) for row in rows if not is_theirs(row.get(schema.TRIAL))]
    if others:
        raise DataError(f"{path.name} must hold scores of its own trial", f"{path}: of {others[0]}", _REDO)
    return rows


def _collect_panel(source: Path, target: Path) -> None:
    if source.is_file() and not target.is_file():
        write_bytes(target, source.read_bytes())


def _write_results(path: Path, frame: pd.DataFrame) -> None:
    frame = frame.assign(**{str(name): _plain(column) for name, column in frame.items()})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_table(path, with_format(table, schema.RESULTS_FORMAT_VERSION))


def _plain(column: pd.Series) -> pd.Series:
    """A column that Arrow can hold: as texts, where what trials left in it is of several kinds."""
    try:
        pa.array(column, from_pandas=True)
    except (pa.ArrowException, UnicodeError, OverflowError):
        return column.map(lambda value: str(value).encode("utf-8", "replace").decode(), na_action="ignore")
    return column


def _trial_rows(folder: TrialFolder, record: TrialRecord, files: _Files) -> list[EpochRow]:
    reason = record.reason if record.status == schema.FAIL else None
    state: dict[str, Any] = {schema.STATUS: record.status, schema.FAILURE_REASON: reason}
    if record.status == schema.PRUNED:  # its worker may have trained on until it was stopped
        rows = files.epochs_of(folder, record.trial, record.last_epoch)
    else:
        rows = files.epochs_of(folder, record.trial)
        final = files.rows_of(folder.final, lambda trial: trial in (record.trial, None))
        rows += [row for row in final if _is_beyond_the_log(row)]
    if not rows and record.status == schema.FAIL:
        # It failed before its first epoch: its place in the table stays, without scores.
        rows = [{schema.EPOCH: 0}]
    of_whole = [row for row in rows if schema.RUN not in row]  # each run has a configuration of its own
    state |= _config_columns(folder, record, files, of_whole)
    # A trainable of the user's own need not log what its folder tells.
    told = {
        schema.TRIAL: record.trial,
        schema.METHOD: state.get(f"{schema.CONFIG_PREFIX}mode"),
        schema.SPLIT: "validation",
    }
    return [epoch_row(told, row, state) for row in rows]


def _is_beyond_the_log(row: EpochRow) -> bool:
    """Whether a final row says what the log does not: test scores, points of a front, runs of a repeated trial."""
    return row.get(schema.SPLIT) == "test" or schema.ALPHA in row or schema.RUN in row


def _read_config(path: Path, rows: list[EpochRow]) -> dict[str, Any]:
    values = read_yaml(path, _REDO)
    trained_with = rows[-1].get(schema.CONFIG_HASH) if rows else None
    is_known = config_hash(values) == trained_with if trained_with else _is_config(values)
    if not isinstance(values, dict) or not is_known:
        raise DataError(
            f"{path.name} must be what the trial was trained with", f"{path}, which is not", _REDO
        )
    return values


def _is_config(values: dict[str, Any]) -> bool:
    try:
        TrialConfig.parse(values)
    except ConfigError:
        return False
    return True


def _config_columns(
    folder: TrialFolder, record: TrialRecord, files: _Files, rows: list[EpochRow]
) -> dict[str, Any]:
    """A trial's configuration as flat columns, with its architecture's parameters beside the rest.

    Where its file is damaged, what the search drew for it is known all the same.
    """
    values = files.config(folder.config, rows)
    if values is None:
        values = dict(record.values) if folder.config.is_file() else {}
    parameters = values.pop("architecture_parameters", None)
    values |= parameters if isinstance(parameters, dict) else {}
    return {f"{schema.CONFIG_PREFIX}{name}": _flat(value) for name, value in values.items()}


def _flat(value: object) -> object:
    """A value for a cell of a table; a list is told in words."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
