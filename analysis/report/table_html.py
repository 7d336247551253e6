"""The page's tables as plain rows of text for the template."""

from __future__ import annotations

import base64
import math
import re
from typing import Any

import pandas as pd

from analysis.front_configs import runnable_config
from analysis.method_scores import (
    gap_words,
    interval_basis,
    methods_table,
    printed_methods,
)
from analysis.names import method_name, parameter_name
from analysis.results_table import ResultsTable
from analysis.tables import column_title, front_table
from taskct_core import schema as S


def methods_html(table: ResultsTable) -> dict[str, Any]:
    """``{"head", "rows", "basis", "own", "audit", "lower"}`` of the table of methods; each score with its
    interval, ``own`` and ``audit`` saying whether those columns are there."""
    frame = methods_table(table)
    printed = printed_methods(table, frame)
    return {
        "head": list(printed),
        "rows": [list(map(with_minus_signs, row)) for row in printed.to_numpy().tolist()],
        "basis": interval_basis(table),
        "own": any(column.endswith(S.OWN_NETWORK_SUFFIX) for column in frame),
        "audit": any(column.endswith(S.AUDIT_NETWORK_SUFFIX) for column in frame),
        "lower": gap_words(table),
    }


def front_html(table: ResultsTable) -> dict[str, Any]:
    """``{"head", "rows": [{"trial", "cells", "address", "file"}]}`` of the front, with its scores on the claim split; the
    address is the trial's YAML as a ``data:`` URL, None where it is not stored."""
    frame = front_table(table, table.objectives)
    columns = [*table.objectives, *(c for c in map(parameter_name, table.searched) if c in frame)]
    rows = []
    for trial, row in zip(frame.index, frame[columns].to_dict("records"), strict=True):
        text = runnable_config(table, int(trial))
        encoded = base64.b64encode(text.encode()).decode() if text else None
        rows.append(
            {
                "trial": int(trial),
                "cells": [_cell(column, row[column]) for column in columns],
                "address": f"data:application/yaml;base64,{encoded}" if encoded else None,
                "file": f"trial-{int(trial):04d}.yaml",
            }
        )
    return {"head": [column_title(c) for c in columns], "rows": rows}


def with_minus_signs(text: str) -> str:
    """A text to be read, in which a hyphen before a number that is no part of a name is a minus sign."""
    return re.sub(r"(?<![\w-])-(?=[\d.])", "\N{MINUS SIGN}", text)


def _cell(column: str, value: object) -> str:
    if value is None or (not isinstance(value, str) and pd.isna(value)):
        return "–"
    if column == S.METHOD:
        return method_name(str(value))
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "∞"
    return str(value)
