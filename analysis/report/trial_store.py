"""Everything that the page knows of the trials, once: columns that its table, cards, filters and charts share.

Values stand in columns, constant ones once and repeated ones as numbers of a list, so that 10,000 trials take about
a megabyte. ``assets/store.js`` reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.axis_scales import AxisScale, scale_of
from analysis.contestants import chosen_trials
from analysis.metric_info import metric_info
from analysis.names import format_value, method_name, parameter_name
from analysis.report.trial_pictures import trial_pictures
from analysis.results_table import ARCHITECTURE, CONFIG_SEED, SEARCH_SPLIT, ResultsTable
from analysis.selection import front_trials
from analysis.tables import column_title, shown_metrics
from taskct_core import schema as S

Value = int | float | str | None
Group = Literal["identity", "config", "score", "cost"]
_FEW = 64  # different values of a column that are told by their number in a list of them
_STATUS_WORDS = {S.FAIL: "failed"}


@dataclass(frozen=True)
class Column:
    """One column of the store.

    Attributes:
        key: unique, ``config_alpha`` or ``validation:psnr_lodopab``.
        title: what the page calls it.
        group: what it says of a trial.
        values: one a trial: a number, a text, or None.
        split: of a score.
        in_table: whether the table of all trials has it.
        searched: whether the search chose it, so that hover texts name it.
        scale: that it is drawn on; None of texts, and of numbers that are drawn linearly.
    """

    key: str
    title: str
    group: Group
    values: Sequence[Value]
    split: str = ""
    in_table: bool = False
    searched: bool = False
    scale: AxisScale | None = None


def trial_store(table: ResultsTable) -> dict[str, Any]:
    """The columns packed for the page, with the numbers of the trials, the front, and pictures of some."""
    return {
        "trials": [int(trial) for trial in table.trials.index],
        "columns": [_packed_column(column) for column in trial_columns(table)],
        "front": front_trials(table),
        "objectives": [f"{SEARCH_SPLIT}:{name}" for name in table.objectives],
        "directions": {f"{SEARCH_SPLIT}:{name}": table.direction(name) for name in table.objectives},
        "pictures": trial_pictures(table),
    }


def trial_columns(table: ResultsTable) -> list[Column]:
    """What is told of every trial; scores of the split of claims for those alone that validation chose."""
    columns = [*_identity(table), *_configuration(table), *_scores(table, SEARCH_SPLIT, None)]
    if table.claim_split != SEARCH_SPLIT:
        columns += _scores(table, table.claim_split, chosen_trials(table))
    return columns + _costs(table)


def _identity(table: ResultsTable) -> list[Column]:
    trials = table.trials
    status = [_STATUS_WORDS.get(value, str(value).lower()) for value in trials[S.STATUS]]
    methods = [method_name(str(value)) for value in trials[S.METHOD]]
    architectures = [table.architecture(trial) for trial in trials.index]
    columns = [
        Column(S.STATUS, "status", "identity", status, in_table=True),
        Column(S.METHOD, "method", "identity", methods, in_table=True, searched=S.METHOD in table.searched),
        Column("architecture", "architecture", "identity", architectures),
    ]
    if S.FAILURE_REASON in trials:
        reasons = [value if isinstance(value, str) else None for value in trials[S.FAILURE_REASON]]
        columns.append(Column(S.FAILURE_REASON, "failure", "identity", reasons, in_table=any(reasons)))
    return columns


def _configuration(table: ResultsTable) -> list[Column]:
    searched = [name for name in table.searched if name != S.METHOD]
    first = [name for name in (*searched, CONFIG_SEED) if name in table.trials]
    return [
        Column(
            name,
            parameter_name(name),
            "config",
            [_plain(value) for value in table.trials[name]],
            in_table=name in first,
            searched=name in searched,
            scale=scale_of(table, name),
        )
        for name in dict.fromkeys([*first, *table.config_columns])
    ]


def _scores(table: ResultsTable, split: str, trials: Iterable[int] | None) -> list[Column]:
    scores = table.scores(split, shown_metrics(table))
    if trials is not None:  # who reads others would choose by them
        scores = scores.loc[scores.index.intersection(list(trials))]
    scores = scores.reindex(table.trials.index)
    return [
        Column(
            f"{split}:{name}",
            column_title(str(name)),
            "score",
            [_plain(value) for value in scores[name]],
            split=split,
            in_table=split == SEARCH_SPLIT,
        )
        for name in scores
    ]


def _costs(table: ResultsTable) -> list[Column]:
    found = [name for name in (S.SECONDS, S.PARAMETERS) if name in table.trials]
    return [
        Column(name, name, "cost", [_plain(value) for value in table.trials[name]], in_table=True)
        for name in found
        if table.trials[name].notna().any()
    ]


def _plain(value: object) -> Value:
    """A number, a text, or None for what is missing."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return format_value(value)
    number = float(value)
    if math.isnan(number):
        return None
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    return int(number) if number.is_integer() and abs(number) < 1e15 else float(f"{number:.6g}")


def _packed_column(column: Column) -> dict[str, Any]:
    packed: dict[str, Any] = {
        "key": column.key,
        "title": column.title,
        "group": column.group,
        "split": column.split,
        "inTable": column.in_table,
        "searched": column.searched,
        "values": _packed(column.values),
    }
    if column.group == "score":
        packed["unit"] = metric_info(column.key.partition(":")[2]).unit
        packed["label"] = metric_info(column.key.partition(":")[2]).label
    if column.scale is not None:
        packed["scale"] = vars(column.scale)
    return packed


def _packed(values: Sequence[Value]) -> dict[str, Any] | Sequence[Value]:
    """``{"all": value}``, ``{"levels": [...], "codes": [...]}`` or the values themselves, whichever is short."""
    levels = list(dict.fromkeys(values))
    if len(levels) == 1:
        return {"all": levels[0]}
    if len(levels) <= _FEW or not all(isinstance(value, int | float) or value is None for value in levels):
        places = {level: place for place, level in enumerate(levels)}
        return {"levels": levels, "codes": [places[value] for value in values]}
    return values


def filters(table: ResultsTable) -> list[dict[str, Any]]:
    """The choices that a reader can hide: title, column of the store, and its values, where there are several."""
    titles = {
        "architecture": "Architecture",
        S.METHOD: "Method",
        S.CONFIG_PREFIX + "image_loss": "Image loss",
        S.CONFIG_PREFIX + "task_loss": "Task loss",
    }
    columns = {column.key: column for column in (*_identity(table), *_configuration(table))}
    shown = []
    for key, title in titles.items():
        if key not in columns or (key == "architecture" and ARCHITECTURE not in table.trials):
            continue
        values = sorted({str(value) for value in columns[key].values if value is not None})
        if len(values) > 1:
            shown.append({"title": title, "column": key, "values": values})
    return shown
