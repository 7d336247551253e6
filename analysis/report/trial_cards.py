"""What the page knows of each trial: hover text, filters, and the card that a click opens."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis import panels
from analysis.contestants import chosen_trials
from analysis.figures.markup import plain_markup
from analysis.figures.points import hover_text, study_colours
from analysis.figures.style import MARKER_PATHS, METHOD_MARKERS, PALETTE, SAFE_COLOURS
from analysis.metric_info import metric_info
from analysis.results_table import (
    ARCHITECTURE,
    SEARCH_SPLIT,
    ResultsTable,
    format_value,
    method_name,
    parameter_name,
)
from analysis.selection import front_trials, picks
from analysis.tables import shown_metrics
from analysis.unavailable import attempt
from taskct_core import schema as S
from taskct_core.errors import DataError

# Choices a reader can hide: column -> what the page calls it.
FILTERED = {
    ARCHITECTURE: "Architecture",
    S.METHOD: "Method",
    S.CONFIG_PREFIX + "image_loss": "Image loss",
    S.CONFIG_PREFIX + "task_loss": "Task loss",
}
MOST_CARDS_WITH_IMAGES = 60
MOST_SLICES = 2


def filters(table: ResultsTable) -> list[dict[str, Any]]:
    """The filters with more than one value: title, column and values (with the architectures' colours)."""
    shown = []
    colours = study_colours(table)
    for column, title in FILTERED.items():
        if column not in table.trials:
            continue
        values = sorted({str(value) for value in table.trials[column].dropna()})
        if len(values) > 1:
            options = [
                {
                    "value": value,
                    "label": method_name(value) if column == S.METHOD else value,
                    "colour": colours.get(value) if column == ARCHITECTURE else None,
                }
                for value in values
            ]
            shown.append({"title": title, "column": column, "options": options})
    return shown


def trial_key(table: ResultsTable) -> dict[str, Any]:
    """The charts' common key: architecture -> colour, method -> SVG path of its marker, a note or none."""
    colours = study_colours(table)
    methods = [name for name in METHOD_MARKERS if (table.trials[S.METHOD] == name).any()]
    return {
        "colours": colours,
        "note": _colour_note(len(colours)),
        "markers": {method_name(name): MARKER_PATHS[METHOD_MARKERS[name]] for name in methods},
    }


def _colour_note(count: int) -> str:
    if count > len(PALETTE):
        return f"{count} architectures: after {len(PALETTE)} colours repeat. Hover names the trial; filters single out."
    if count > SAFE_COLOURS:
        return f"More than {SAFE_COLOURS} colours are hard to tell apart: hover names the trial, filters single out."
    return ""


def trial_cards(table: ResultsTable) -> dict[int, dict[str, Any]]:
    """Trial -> its card; images only for the front and the picked trials, to keep the page small."""
    scores = {SEARCH_SPLIT: table.scores(SEARCH_SPLIT)}
    if table.claim_split != SEARCH_SPLIT:
        scores = {table.claim_split: _scores_of_chosen(table)} | scores
    pictures = _pictures(table)
    cards = {}
    for trial, row in zip(table.trials.index, table.trials.to_dict("records"), strict=True):
        config = {c: row[c] for c in table.config_columns if not pd.isna(row[c])}
        cards[int(trial)] = {
            "title": table.label(trial),
            "status": row[S.STATUS],
            "architecture": table.architecture(trial),
            "method": method_name(str(row[S.METHOD])),
            "failure": row.get(S.FAILURE_REASON) if isinstance(row.get(S.FAILURE_REASON), str) else None,
            "hover": plain_markup(hover_text(table, trial)),
            "filters": {c: str(row[c]) for c in FILTERED if c in row and not pd.isna(row[c])},
            "config": {parameter_name(c): format_value(value) for c, value in config.items()},
            "scores": _scores(table, scores, trial),
            "images": pictures.get(int(trial), []),
        }
    return cards


def _scores_of_chosen(table: ResultsTable) -> pd.DataFrame:
    """Scores on the split of claims, of the trials that validation chose: who reads others would choose by them."""
    scores = table.scores(table.claim_split)
    return scores.loc[scores.index.intersection(chosen_trials(table))]


def _scores(table: ResultsTable, scores: dict[str, pd.DataFrame], trial: int) -> list[dict[str, Any]]:
    listed = []
    for metric in shown_metrics(table):
        values = {
            split: f"{frame.at[trial, metric]:.4g}"
            for split, frame in scores.items()
            if trial in frame.index and math.isfinite(frame.at[trial, metric])
        }
        listed.append(
            {"label": metric_info(metric).label, "unit": metric_info(metric).unit, "values": values}
        )
    return listed


def _pictures(table: ResultsTable) -> dict[int, list[dict[str, str]]]:
    slices = attempt(panels.read_slices, table).result
    if slices is None:
        return {}
    wanted = [pick.trial for pick in picks(table)]
    wanted += front_trials(table)
    if len(table.trials) <= MOST_CARDS_WITH_IMAGES:
        wanted += [int(trial) for trial in table.trials.index]
    wanted = list(dict.fromkeys(wanted))[:MOST_CARDS_WITH_IMAGES]
    return {trial: _trial_pictures(table, trial, slices) for trial in wanted}


def _trial_pictures(table: ResultsTable, trial: int, slices: panels.PanelSlices) -> list[dict[str, str]]:
    try:
        panel = panels.read_panel(table, panels.panel_key(table, trial), slices)
    except DataError:
        return []
    if panel is None:
        return []
    return [
        {
            "source": panels.data_uri(panels.draw_image(panel, k, slices.truth, slices.window)),
            "caption": slices.caption(k),
        }
        for k in range(min(MOST_SLICES, len(panel.image)))
    ]
