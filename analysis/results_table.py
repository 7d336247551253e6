"""The typed table that every analysis starts from; ``analysis.load`` reads one from a study folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from analysis.metric_info import means_alike, structures_alike
from analysis.names import format_value, parameter_name, reference_name
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.modes import MODES

# Epoch metrics are computed on it and the search optimises them: fit for steering, not for claims.
SEARCH_SPLIT = "validation"
# Neither training nor the search sees it: the split of every claim.
CLAIM_SPLIT = "test"
ARCHITECTURE = S.CONFIG_PREFIX + "architecture"
ALPHA = S.CONFIG_PREFIX + "alpha"
CONFIG_SEED = S.CONFIG_PREFIX + "seed"
LIVER_DICE = "dice_liver_patient_nnunet"

# A trial that failed and was retried to the end counts as complete.
STATUS_RANK = {S.RUNNING: 0, S.PRUNED: 1, S.FAIL: 2, S.COMPLETE: 3, S.REFERENCE: 4}
# Training modes whose mix of losses alpha sets; those without a task loss are their case of alpha 0.
ALPHA_MODES = tuple(name for name, mode in MODES.items() if mode.mixes)
PLAIN_MODES = tuple(name for name, mode in MODES.items() if not mode.uses_task_loss)
OWN_NETWORK_MODES = tuple(name for name, mode in MODES.items() if mode.trains_task_network)


_Fact = TypeVar("_Fact")


@dataclass(frozen=True, eq=False)  # compared by identity; tables have no truth value
class ResultsTable:
    """One study's results.

    Attributes:
        folder: where they were read from.
        rows: ``results.parquet`` as written, one row a trial, epoch and split; without the points of front trials
            and ``runs``.
        samples: ``samples.parquet`` as written, without rows where the study has none.
        study: ``study.json``, without values where there is none.
        evaluations: ``evaluations.parquet`` as written, of any data; without rows where there is none.
        front_points: rows of ``results.parquet`` that are points of front trials: one a trial, split and alpha.
        runs: rows of the runs of repeated trials, one a run and split, with ``run``, ``fold`` and ``seed``.
        hide: what plain values go through that are read from the folder later, to leave out what a report must not tell.
    """

    folder: StudyFolder = field(repr=False)
    rows: pd.DataFrame = field(repr=False)
    samples: pd.DataFrame = field(repr=False)
    study: StudyCard = field(repr=False)
    evaluations: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    front_points: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    runs: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)
    hide: Callable[[Any], Any] | None = field(default=None, repr=False)

    _facts: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    def fact(self, compute: Callable[[ResultsTable], _Fact]) -> _Fact:
        """What ``compute`` tells of this study: worked out when it is first asked for, and kept with the study."""
        if compute not in self._facts:
            self._facts[compute] = compute(self)
        return cast(_Fact, self._facts[compute])

    @property
    def name(self) -> str:
        return self.study.name or self.folder.path.name or "study"

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row a trial, references left out: status, configuration, cost. The index is its number."""
        return self._summaries[self._summaries[S.STATUS] != S.REFERENCE]

    @cached_property
    def references(self) -> pd.DataFrame:
        """One row a reference (full dose, FBP, ...), indexed by its negative number."""
        return self._summaries[self._summaries[S.STATUS] == S.REFERENCE]

    @cached_property
    def _summaries(self) -> pd.DataFrame:
        rows = self.rows.sort_values([S.TRIAL, S.EPOCH], kind="stable")
        last = rows.groupby(S.TRIAL, sort=True).last()  # the last value that is not null
        rank = rows[S.STATUS].map(STATUS_RANK).groupby(rows[S.TRIAL]).max()
        last[S.STATUS] = rank.map({number: status for status, number in STATUS_RANK.items()})
        return last.drop(columns=[*self.metrics, S.SPLIT], errors="ignore")

    @cached_property
    def metrics(self) -> list[str]:
        """The known metric columns that hold any finite value: in the order of the schema, then own objectives."""
        own = [name for name in self.study.directions if name not in S.METRICS]
        present = [name for name in (*S.METRICS, *own) if name in self.rows]
        finite = np.isfinite(self.rows[present].to_numpy(dtype=float, na_value=np.nan)).any(axis=0)
        return [name for name, any_finite in zip(present, finite, strict=True) if any_finite]

    @cached_property
    def objectives(self) -> list[str]:
        """What the search optimised, as far as the columns are there; Dice and PSNR if nothing is said."""
        asked = self.study.objectives or [S.PRIMARY_DICE, S.PRIMARY_PSNR]
        return [name for name in asked if name in self.metrics]

    def is_repeated(self, metric: str) -> bool:
        """Whether a metric has the same values as an earlier one, so that a table or chart of it would be there twice.

        In a study of livers alone, or without a true tumour, the mean Dice is the liver's; without empty masks their
        policies agree.
        """
        return self._equals.get(metric, metric) != metric

    @cached_property
    def _equals(self) -> dict[str, str]:
        """Metric -> the first with the same values in every row; objectives and the Dice that is shown come first."""
        first: dict[bytes, str] = {}
        shown = [S.PRIMARY_DICE, LIVER_DICE, "dice_tumour_patient_nnunet"]
        order = dict.fromkeys([*self.objectives, *shown, *self.metrics])
        rows = self.rows[[name for name in order if name in self.metrics]].astype(float)
        rows = pd.concat([means_alike(of_split) for _, of_split in rows.groupby(self.rows[S.SPLIT])])
        return {str(name): first.setdefault(rows[name].to_numpy().tobytes(), str(name)) for name in rows}

    def direction(self, metric: str) -> S.Direction:
        """Which way a metric or an own objective is better."""
        return S.METRICS[metric].direction if metric in S.METRICS else self.study.directions[metric]

    @property
    def claim_split(self) -> str:
        """The split of headline numbers: test where any trial was evaluated on it, else validation."""
        scored = self.rows.loc[self.rows[S.STATUS] != S.REFERENCE, S.SPLIT]
        return CLAIM_SPLIT if (scored == CLAIM_SPLIT).any() else SEARCH_SPLIT

    def scores(self, split: str, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Metrics at the epoch that a trial keeps, or at its last one, one row a trial or reference, indexed by its number.

        Trials and references that were not evaluated on the split have no row; infinities (the PSNR of
        the full-dose image against itself) are kept.
        """
        metrics = self.metrics if metrics is None else [name for name in metrics if name in self.metrics]
        return self._last_rows.get(split, self._no_rows)[metrics]

    @cached_property
    def _last_rows(self) -> dict[str, pd.DataFrame]:
        """Split -> metrics at the epoch that is kept, by trial."""
        rows = self.rows_until_kept[[S.TRIAL, S.SPLIT, S.EPOCH, *self.metrics]].sort_values(
            S.EPOCH, kind="stable"
        )
        last = rows.drop_duplicates([S.TRIAL, S.SPLIT], keep="last").set_index(S.TRIAL).sort_index()
        return {
            str(split): means_alike(group[self.metrics].astype(float))
            for split, group in last.groupby(S.SPLIT)
        }

    def mean_structures(self, split: str) -> tuple[str, ...]:
        """The structures that the mean Dice of a split is of: those whose Dice every method there has."""
        return structures_alike(self._last_rows.get(split, self._no_rows), "patient", "nnunet")

    @cached_property
    def only_structure(self) -> str | None:
        """The one structure that Dice is of on every split, as in a study of livers alone; None where there are several."""
        known = {structure for split in self._last_rows for structure in self.mean_structures(split)}
        return known.pop() if len(known) == 1 else None

    @cached_property
    def rows_until_kept(self) -> pd.DataFrame:
        """Rows without the epochs that a trial trained after the one it keeps."""
        if S.KEPT_EPOCH not in self.rows:
            return self.rows
        kept = self.rows.sort_values(S.EPOCH, kind="stable").groupby(S.TRIAL)[S.KEPT_EPOCH].last()
        return self.rows[~(self.rows[S.EPOCH] > self.rows[S.TRIAL].map(kept))]

    @cached_property
    def _no_rows(self) -> pd.DataFrame:
        return pd.DataFrame(columns=self.metrics, index=pd.Index([], name=S.TRIAL, dtype=int), dtype=float)

    def seeds_of(self, trial: int) -> int:
        """With how many seeds a trial was run; 1 unless it is repeated."""
        if self.runs.empty:
            return 1
        return max(1, int(self.runs.loc[self.runs[S.TRIAL] == trial, S.SEED].nunique()))

    @property
    def folds(self) -> int:
        """How many folds the study's cross-validation has; 0 without one."""
        return 0 if self.runs.empty else int(self.runs[S.FOLD].nunique())

    def complete_scores(self, split: str, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """``scores`` of the complete trials only: what a front may be made of. An infinite one is none: NaN."""
        scores = self.scores(split, metrics)
        return scores.loc[scores.index.intersection(self._complete)].replace([np.inf, -np.inf], np.nan)

    @cached_property
    def _complete(self) -> pd.Index:
        return self.trials.index[self.trials[S.STATUS] == S.COMPLETE]

    @cached_property
    def feasible(self) -> pd.Index:
        """The trials that keep every constraint of the study at the epoch that they keep, on validation."""
        search = self.study.config.get("study")
        bounds = search.get("constraints") if isinstance(search, dict) else None
        rows = self.rows_until_kept
        rows = rows[rows[S.SPLIT] == SEARCH_SPLIT].sort_values(S.EPOCH, kind="stable")
        last = rows.drop_duplicates(S.TRIAL, keep="last").set_index(S.TRIAL)
        keeps = pd.Series(True, index=last.index)
        for column, bound in bounds.items() if isinstance(bounds, dict) else ():
            if isinstance(bound, int | float):
                keeps &= last[column] <= bound if column in last else False
        return last.index[keeps]

    @cached_property
    def config_columns(self) -> list[str]:
        """The columns of ``trials`` that hold a configuration."""
        return [c for c in self.trials if c.startswith(S.CONFIG_PREFIX) and c != S.CONFIG_HASH]

    @cached_property
    def searched(self) -> list[str]:
        """The columns of ``trials`` that the search chose: ``method`` and ``config_*``, where they differ.

        A seed is a repetition, not a choice; ``config_mode`` is what ``method`` says already. Trials of other modes have
        no settings of a front, which is no choice either.
        """
        skipped = (CONFIG_SEED, S.CONFIG_PREFIX + "mode")
        columns = [S.METHOD, *(c for c in self.config_columns if c not in skipped)]
        return [c for c in columns if self._count_values(c) > 1]

    def _count_values(self, column: str) -> int:
        values = self.trials[column]
        values = values.dropna() if column.startswith(f"{S.CONFIG_PREFIX}front_") else values
        return int(_as_plain(values).nunique(dropna=False))

    @cached_property
    def configurations(self) -> pd.Series:
        """For every trial the number of the first trial with the same configuration but for the seed."""
        columns = [S.METHOD, *(c for c in self.config_columns if c != CONFIG_SEED)]
        keys = self.trials[columns].astype("string").fillna("")
        first = keys.assign(trial=self.trials.index).groupby(columns, sort=False)["trial"].transform("first")
        return first.rename("configuration")

    @cached_property
    def distinct_runs(self) -> pd.Index:
        """The complete trials, the same configuration with the same seed counted once: a search may draw
        it again, which repeats the result and is no further evidence."""
        complete = self.trials[self.trials[S.STATUS] == S.COMPLETE]
        keys = pd.DataFrame({"configuration": self.configurations[complete.index]})
        keys["seed"] = complete.get(CONFIG_SEED, complete.index)
        return complete.index[~keys.duplicated().to_numpy()]

    def architecture(self, trial: int) -> str:
        """The architecture of a trial; a reference's own name for a reference."""
        if trial < 0 and trial in self.references.index:
            return str(self.references.at[trial, S.METHOD])
        return self._architectures.get(trial, "reconstructor")

    @cached_property
    def _architectures(self) -> dict[int, str]:
        values = self.trials[ARCHITECTURE] if ARCHITECTURE in self.trials else pd.Series(dtype=object)
        return {int(trial): value for trial, value in values.items() if isinstance(value, str)}

    def label(self, trial: int) -> str:
        """What a chart calls a row: ``trial 7``, or the reference's name."""
        if trial in self.references.index:
            return reference_name(str(self.references.at[trial, S.METHOD]))
        return f"trial {trial}"

    @cached_property
    def descriptions(self) -> dict[int, str]:
        """What was searched, in one line a trial: ``alpha 0.3, image loss mse, ...``."""
        columns = self.searched or [c for c in (ALPHA, ARCHITECTURE) if c in self.trials]
        values = self.trials[columns].to_dict("records")
        return {
            int(trial): ", ".join(
                f"{parameter_name(c)} {format_value(v)}" for c, v in row.items() if not _is_missing(v)
            )
            for trial, row in zip(self.trials.index, values, strict=True)
        }

    def of_own_data(self, evaluations: pd.DataFrame, split: str) -> pd.DataFrame:
        """Those rows of evaluations that are of the study's own data and of a split; references have the study's numbers."""
        if S.DATA_HASH not in evaluations or S.DATA_HASH not in self.rows:
            return pd.DataFrame(columns=[S.TRIAL, S.SPLIT])
        own_data = evaluations[S.DATA_HASH].isin(self.rows[S.DATA_HASH].dropna())
        rows = evaluations[own_data & (evaluations[S.SPLIT] == split)]
        numbers = [
            self.reference(str(method)) if trial < 0 else int(trial)
            for trial, method in zip(rows[S.TRIAL], rows[S.METHOD], strict=True)
        ]
        return rows.assign(**{S.TRIAL: numbers}).dropna(subset=[S.TRIAL])

    def of_trials(self, trials: Collection[int]) -> ResultsTable:
        """The study as if these were its only trials, beside its references."""

        def only(rows: pd.DataFrame) -> pd.DataFrame:
            return rows[rows[S.TRIAL].isin(trials) | (rows[S.TRIAL] < 0)] if len(rows) else rows

        parts = ("rows", "samples", "evaluations", "front_points", "runs")
        return replace(self, **{name: only(getattr(self, name)) for name in parts})

    def reference(self, method: str) -> int | None:
        """The (negative) number of a reference, None where the study has not evaluated it."""
        found = self.references.index[self.references[S.METHOD] == method]
        return int(found[0]) if len(found) else None


def _as_plain(column: pd.Series) -> pd.Series:
    """Lists and dicts (architecture parameters) as text, so that they can be counted."""
    return column.astype(str) if column.dtype == object else column


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
