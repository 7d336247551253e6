"""The study folder's tables: trial folders and references -> results.parquet and samples.parquet.

Reads, for every trial, config.yaml, metrics.jsonl, final.json and samples.parquet; for the references
references.json and references-samples.parquet. Writes one flat row a trial, epoch and split. It may run
while trials are running: it takes what is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml

from study.search.storage.records import TrialRecord
from study.trials import epoch_log
from taskct_core import schema
from taskct_core.contracts.files import write_bytes
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.rows import EpochRow, epoch_row, read_rows
from taskct_core.contracts.tables import read_table, with_format, write_table

_REDO_SAMPLES = "Delete it: the slices of that method stay out of the tables until it is scored again."


def export_results(
    study_folder: StudyFolder | Path, name: str, trials: Iterable[TrialRecord]
) -> pd.DataFrame:
    """Write the tables of a study from what its trials have left so far, and return the results.

    Args:
        study_folder: of the study.
        name: of the study, for its column.
        trials: as the study's storage knows them.
    """
    study = StudyFolder.at(study_folder)
    rows = _reference_rows(study)
    sample_files = [study.reference_samples]
    for record in trials:
        folder = study.trial(record.trial)
        rows += _trial_rows(folder, record)
        if record.status != schema.PRUNED:
            sample_files.append(folder.samples)
            _collect_panel(folder.panel, study.panel(record.trial))
    results = pd.DataFrame([{schema.STUDY: name, **row} for row in rows])
    if results.empty:
        return results
    _write_results(study.results, results)
    samples = [
        read_table(path, next_step=_REDO_SAMPLES).to_pandas() for path in sample_files if path.is_file()
    ]
    if samples:
        _write_results(study.samples, pd.concat(samples, ignore_index=True))
    return results


def _collect_panel(source: Path, target: Path) -> None:
    if source.is_file() and not target.is_file():
        write_bytes(target, source.read_bytes())


def _write_results(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_table(path, with_format(table, schema.RESULTS_FORMAT_VERSION))


def _trial_rows(folder: TrialFolder, record: TrialRecord) -> list[EpochRow]:
    reason = record.reason if record.status == schema.FAIL else None
    state = {schema.STATUS: record.status, schema.FAILURE_REASON: reason} | _config_columns(folder)
    if record.status == schema.PRUNED:  # its worker may have trained on until it was stopped
        rows = epoch_log.read(folder, record.last_epoch)
    else:
        rows = epoch_log.read(folder)
        rows += [row for row in read_rows(folder.final) if row[schema.SPLIT] == "test"]
    if not rows and record.status == schema.FAIL:
        # It failed before its first epoch: its place in the table stays, without scores.
        rows = [{schema.EPOCH: 0}]
    # A trainable of the user's own need not log what its folder tells.
    told = {
        schema.TRIAL: record.trial,
        schema.METHOD: state.get(f"{schema.CONFIG_PREFIX}mode"),
        schema.SPLIT: "validation",
    }
    return [epoch_row(told, row, state) for row in rows]


def _config_columns(folder: TrialFolder) -> dict[str, Any]:
    """A trial's configuration as flat columns; architecture parameters stand beside the rest."""
    if not folder.config.is_file():
        return {}
    values = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    values |= values.pop("architecture_parameters", {})
    return {f"{schema.CONFIG_PREFIX}{name}": value for name, value in values.items()}


def _reference_rows(study: StudyFolder) -> list[EpochRow]:
    return [epoch_row(row, {schema.STATUS: schema.REFERENCE}) for row in read_rows(study.references)]
