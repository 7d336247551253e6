"""The table of methods for a terminal."""

from __future__ import annotations

import math
from typing import Any

from rich import box
from rich.table import Table

from analysis.figures.style import short_label
from analysis.method_scores import (
    GAP_CLOSED,
    gap_words,
    interval_basis,
    methods_table,
    scored_columns,
)
from analysis.metric_info import in_words_of
from analysis.results_table import ResultsTable
from analysis.tables import SHOWN_METRICS
from taskct_core import schema as S

_HEADS = {
    S.PRIMARY_DICE: "mean\nDice",
    "dice_liver_patient_nnunet": "liver\nDice",
    "dice_tumour_patient_nnunet": "tumour\nDice",
    S.PRIMARY_PSNR: "PSNR\n[dB]",
    S.PRIMARY_SSIM: "SSIM",
}
_OTHER_NETWORKS = {
    S.OWN_NETWORK_SUFFIX: (
        "own\nnetwork",
        "Own network: {} under the network that the trial trained itself.",
    ),
    S.AUDIT_NETWORK_SUFFIX: (
        "second\nnetwork",
        "Second network: {} under one that took no part in the training.",
    ),
}


def methods_console(table: ResultsTable, intervals: bool = True) -> Table:
    """``methods_table`` to be printed by rich: a method a row, each score above its 95 % interval.

    With intervals it wants 120 columns, without them it fits 80.
    """
    frame = methods_table(table)
    columns = scored_columns(frame, list(SHOWN_METRICS))
    notes = [interval_basis(table)] if intervals else []
    heads = dict(_HEADS)
    heads[S.PRIMARY_DICE] = f"{table.only_structure or 'mean'}\nDice"
    for suffix, (head, text) in _OTHER_NETWORKS.items():
        for column in (name for name in columns if name.endswith(suffix)):
            heads[column] = head
            label = in_words_of(table.only_structure, short_label(column.removesuffix(suffix)))
            notes.append(text.format(label))
    notes.append(
        f"Gap closed: in {table.only_structure or 'mean'} Dice, from {gap_words(table)} to full dose."
    )
    drawn = Table(
        title=f"Methods on the {table.claim_split} split",
        caption=" ".join(notes),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    drawn.add_column("method", min_width=19)
    for head in ("seeds", *(heads[column] for column in columns), "gap\nclosed"):
        drawn.add_column(head, justify="right", no_wrap=True)
    for row in frame.to_dict("records"):
        cells = [_score(row, column, intervals) for column in columns]
        seeds = str(row["seeds"]) if row["trials"] else ""
        drawn.add_row(row["name"], seeds, *cells, _cell(row, GAP_CLOSED, ".0%", intervals))
    return drawn


def _score(row: dict[Any, Any], column: str, intervals: bool) -> str:
    # Under other networks without: the page has them, and a terminal has no room for all.
    is_own = not column.endswith(S.NETWORK_SUFFIXES[1:])
    return _cell(row, column, ".2f" if column == S.PRIMARY_PSNR else ".3f", intervals and is_own)


def _cell(row: dict[Any, Any], column: str, form: str, interval: bool) -> str:
    score, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(score):
        return "–"
    text = "∞" if math.isinf(score) else format(score, form)
    shown = interval and math.isfinite(low) and math.isfinite(high) and low < high
    between = " to " if column == GAP_CLOSED else "–"  # a share can be negative
    return f"{text}\n{low:{form}}{between}{high:{form}}" if shown else text
