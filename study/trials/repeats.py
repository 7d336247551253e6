"""A configuration run on every fold and seed: one trial of a search, made of several runs.

    trials/0003/runs/fold-0-seed-1/    one run: the folder of a trial, of which everything holds that holds of a trial
    trials/0003/metrics.jsonl          a row after each run: means over patients of the runs so far; its epoch counts runs
    trials/0003/final.json             the whole trial's rows, then each run's, told apart by ``run``, ``fold`` and ``seed``
    trials/0003/samples.parquet        one row a slice of every run
    trials/0003/image-quality.parquet  the curves of every run, where image quality is measured
    trials/0003/panel.npz              the shown slices of every fold, by its run with the first seed

To a search the runs of a trial are what epochs are to a trial that is run once: it may be stopped after any of them. A
killed trial goes on with the run that it was in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from study.provenance import config_hash, provenance
from study.trials import epoch_log
from study.trials.inputs import TrialInputs
from study.trials.panels import join_panels
from study.trials.plugins import own_scores
from study.trials.record import save_samples
from study.trials.trial_config import write_trial_config
from taskct_core import schema
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow, SliceRow, epoch_row, read_rows, slice_row, write_rows
from taskct_core.contracts.tables import read_table
from taskct_core.errors import ConfigError
from taskct_core.metrics import summarise
from taskct_core.reconstructors.config import ReferenceNetworkConfig
from taskct_core.training.config import TrialConfig

RunOne = Callable[[TrialConfig, TrialFolder, TrialInputs], None]
_OF_ONE_RUN = (schema.RUN, schema.FOLD, schema.EPOCH, schema.KEPT_EPOCH, schema.SECONDS)


@dataclass(frozen=True)
class Repeats:
    """What a study's trials are repeated over.

    Attributes:
        folds: what the runs of each fold share; of a dataset without folds the one there is, as None.
        seeds: how many, from the configuration's on.
    """

    folds: Mapping[int | None, TrialInputs]
    seeds: int

    @property
    def runs(self) -> list[tuple[int | None, int]]:
        """Fold and number of the seed, in the order of the runs: every fold with one seed, then with the next."""
        return [(fold, seed) for seed in range(self.seeds) for fold in self.folds]

    @property
    def shared(self) -> TrialInputs:
        """What is the same for all of them, from the first."""
        return next(iter(self.folds.values()))


def folds_of(inputs: TrialInputs | Repeats) -> dict[int | None, TrialInputs]:
    """What each fold's runs share; of anything but a cross-validation by fold there is one, None."""
    if isinstance(inputs, Repeats):
        return dict(inputs.folds)
    return {None: inputs}


def run_name(fold: int | None, seed: int) -> str:
    """The name of a run's folder."""
    return f"seed-{seed}" if fold is None else f"fold-{fold}-seed-{seed}"


def repeat_trial(
    config: TrialConfig,
    folder: TrialFolder,
    repeats: Repeats,
    run_one: RunOne,
    report: Callable[[EpochRow], None],
    trial: int = 0,
) -> None:
    """Run a configuration on every fold and seed, going on after the runs that its folder has.

    Args:
        config: of the trial; its seed is the first.
        folder: of the trial.
        repeats: folds and seeds.
        run_one: trains one run in the folder it is given.
        report: called with the row of the runs so far after each, also after those that an earlier start has finished.
        trial: its number.

    Raises:
        ConfigError: for a trial that answers for many alphas.
    """
    if config.mode == "front":
        raise ConfigError(
            "study.repeats repeats trials of one alpha",
            "mode front, which answers for every alpha",
            "Leave front out of the modes, or give seeds as points: {seed: [0, 1, 2]} in study.enqueue.",
        )
    write_trial_config(folder, config)
    logged = {row[schema.EPOCH]: row for row in epoch_log.read(folder)}
    so_far = _Runs()
    for count, (fold, number) in enumerate(repeats.runs, start=1):
        seed = config.seed + number
        run, inputs = folder.run(run_name(fold, seed)), repeats.folds[fold]
        if not run.final.is_file():
            run_one(config.model_copy(update={"seed": seed}), run, inputs)
        so_far.add(run, {schema.TRIAL: trial, schema.FOLD: fold, schema.SEED: seed})
        row = logged.get(count) or _row_of_runs("validation", count, config, so_far, inputs.objectives)
        if count not in logged:
            epoch_log.append(folder, row)
        report(row)
    whole = [
        _row_of_runs(split, len(repeats.runs), config, so_far, repeats.shared.objectives)
        for split in schema.SCORED_SPLITS
        if any(row["split"] == split for row in so_far.samples)
    ]
    save_samples(folder.samples, so_far.samples)
    if so_far.curves:
        save_samples(folder.image_quality, so_far.curves)
    join_panels([folder.run(run_name(fold, config.seed)).panel for fold in repeats.folds], folder.panel)
    write_rows(folder.final, [*whole, *so_far.final])


@dataclass(frozen=True)
class _Runs:
    """What the runs of a trial have left so far: final rows, a row a slice, and curves of image quality."""

    final: list[EpochRow] = field(default_factory=list)
    samples: list[SliceRow] = field(default_factory=list)
    curves: list[dict[str, object]] = field(default_factory=list)

    def add(self, run: TrialFolder, where: Mapping[str, Any]) -> None:
        """Read one more run's, with columns that tell which it was."""
        final = read_rows(run.final)
        self.final.extend(epoch_row(row, where, {schema.RUN: run.path.name}) for row in final)
        self.samples.extend(slice_row(row, where) for row in _records(run.samples))
        if run.image_quality.is_file():
            self.curves.extend({**row, **where} for row in _records(run.image_quality))


def _records(table: Path) -> list[dict[str, Any]]:
    rows = read_table(table).to_pandas().to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _row_of_runs(
    split: str, count: int, config: TrialConfig, so_far: _Runs, objectives: Sequence[str]
) -> EpochRow:
    """The row of a trial after some of its runs."""
    of_split = [row for row in so_far.final if row[schema.SPLIT] == split]
    shared = {name: value for name, value in of_split[-1].items() if not _is_of_one_run(name)}
    own = {
        schema.SEED: config.seed,
        schema.EPOCH: count,
        schema.KEPT_EPOCH: count,
        schema.SECONDS: float(sum(row[schema.SECONDS] for row in of_split)),
        schema.CONFIG_HASH: config_hash(config.settings()),
    }
    scores = means_over_patients([row for row in so_far.samples if row["split"] == split], objectives)
    scores |= means_over_runs(of_split, schema.IMAGE_QUALITY_METRICS)
    return epoch_row(shared, own, scores, provenance(str(of_split[-1].get(schema.DEVICE, "cpu"))))


def _is_of_one_run(name: str) -> bool:
    scores = {metric + suffix for metric in schema.METRICS for suffix in schema.NETWORK_SUFFIXES}
    ends = {f"{metric}_{end}" for metric in schema.IMAGE_QUALITY_METRICS for end in ("low", "high")}
    return name in scores | ends or name in _OF_ONE_RUN


def means_over_patients(samples: Sequence[SliceRow], objectives: Sequence[str] = ()) -> dict[str, float]:
    """Every metric of each patient in each run, then means over a patient's runs, then over patients.

    What a patient has no value of, such as the tumour Dice of one without tumours, counts in no mean.

    Args:
        samples: slices of one split with their ``patient``, ``fold`` and ``seed``.
        objectives: columns that the study optimises; a user's own are computed as well.
    """
    runs: dict[str, dict[Any, list[SliceRow]]] = {}
    for row in samples:
        key = row.get(schema.FOLD), row.get(schema.SEED)
        runs.setdefault(row[schema.PATIENT], {}).setdefault(key, []).append(row)
    patients = []
    for of_patient in runs.values():
        scores = [summarise(rows) | own_scores(objectives, rows) for rows in of_patient.values()]
        patients.append({name: _mean([score[name] for score in scores]) for name in scores[0]})
    return {name: _mean([patient[name] for patient in patients]) for name in patients[0]}


def means_over_runs(runs: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, float]:
    """Means of the columns that the runs have, such as of what is measured on inserted lesions, not on patients' slices."""
    return {
        name: _mean([float(row.get(name, np.nan)) for row in runs])
        for name in columns
        if any(name in row for row in runs)
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def with_shared(
    repeats: Repeats,
    objectives: tuple[str, ...],
    audit: str | None,
    further_judges: tuple[str, ...] = (),
    references: tuple[ReferenceNetworkConfig, ...] = (),
) -> Repeats:
    """The same with the columns that a study optimises, the folders of its other judges, and networks made elsewhere."""
    folds = {
        fold: replace(
            inputs,
            objectives=objectives,
            audit=audit,
            further_judges=further_judges,
            references=references,
        )
        for fold, inputs in repeats.folds.items()
    }
    return replace(repeats, folds=folds)
