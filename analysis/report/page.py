"""Fills the page template: sections with figures, tables, images, and the data the page's script needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jinja2
import plotly.offline
from plotly.utils import PlotlyJSONEncoder

from analysis import panels
from analysis.figures import ALPHA_CAPTION, FIGURES, IMAGES, style
from analysis.figures.image_panels import Cell, compute_image_panels
from analysis.figures.markup import plain_markup
from analysis.metric_info import in_words_of, metric_info
from analysis.report.answer_view import answer_view
from analysis.report.chart_key import trial_key
from analysis.report.front_slider import front_sliders
from analysis.report.methods_prose import methods_prose
from analysis.report.methods_text import methods_text
from analysis.report.table_html import front_html, methods_html, with_minus_signs
from analysis.report.trial_store import filters, trial_store
from analysis.results_table import ResultsTable
from analysis.selection import baseline, recommended
from analysis.summary import summarise
from analysis.unavailable import NotApplicable, attempt
from taskct_core import schema as S

# Anchor -> (heading, short name in the navigation).
SECTIONS = {
    "trade-off": ("The trade-off", "Trade-off"),
    "methods-compared": ("Methods compared", "Comparison"),
    "images": ("Images", "Images"),
    "alpha": ("What alpha does", "Alpha"),
    "correlation": ("Does image quality predict the task?", "Correlation"),
    "parameters": ("Parameters", "Parameters"),
    "search": ("The search", "Search"),
    "trials": ("Trials", "Trials"),
    "methods": ("Methods", "Methods"),
}


# In the order that they build upon each other: what every page needs, and what the page of one study does.
CHART_SCRIPTS = ("store.js", "report.js", "chart_tables.js")
TRIAL_SCRIPTS = (
    "answer.js",
    "front_slider.js",
    "trials_table.js",
    "coordinates.js",
    "side_by_side.js",
    "top_curves.js",
    "selection.js",
)
# Drawn by the page itself, from the trials' columns.
OWN_CHARTS = ("parallel",)
# The chart beside the answer: the first of these that the study has, of its own objectives before the usual ones.
ANSWER_FRONTS = ("front_objectives", "front_dice_psnr", "front_dice_ssim")
KEYED_SECTIONS = ("trade-off", "alpha", "alpha-more", "parameters", "search")


def render_page(table: ResultsTable, reload_seconds: float | None = None) -> str:
    """The whole page as text; nothing in it is fetched from elsewhere. See ``write_report``."""
    grid = _image_grid(table)
    sliders = front_sliders(table)
    view = answer_view(table)
    figures = _figures(table)
    page = (
        environment()
        .get_template("page.html")
        .render(
            table=table,
            reload_seconds=reload_seconds,
            written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            summary=[with_minus_signs(sentence) for sentence in summarise(table)],
            sections=SECTIONS,
            figures=figures,
            view=view,
            answer_data=embedded_json(_answer_data(view)),
            front_figure=_taken_front(figures["trade-off"]),
            alpha_caption=ALPHA_CAPTION,
            filters=filters(table),
            key=trial_key(table),
            compared=methods_html(table),
            grid=grid,
            pair=_default_pair(table),
            coordinates={
                "ramp": json.dumps(style.alpha_ramp(64)),
                "palette": json.dumps(style.PALETTE),
            },
            front=front_html(table),
            methods=methods_text(table),
            methods_prose=methods_prose(table),
            trial_data=embedded_json(trial_store(table)),
            sliders=sliders,
            slider_data=embedded_json(sliders),
            style=asset("style.css"),
            scripts=[asset(name) for name in (*CHART_SCRIPTS, *TRIAL_SCRIPTS)],
            plotly=plotly.offline.get_plotlyjs(),
        )
    )
    return in_words_of(table.only_structure, page)


def environment() -> jinja2.Environment:
    """Templates with escaping on: what a study says is text, never markup."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("analysis.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _figures(table: ResultsTable) -> dict[str, list[dict[str, Any]]]:
    """Section -> its figures, each with its JSON or the reason why there is none."""
    sections: dict[str, list[dict[str, Any]]] = {spec.section: [] for spec in FIGURES.values()}
    for name, spec in FIGURES.items():
        if spec.section == IMAGES or name in OWN_CHARTS:
            continue
        found = attempt(spec.compute, table)
        shown: dict[str, Any] = {
            "name": name,
            "title": _naming_objectives(spec.title, table),
            "caption": spec.caption,
        }
        if isinstance(found.missing, NotApplicable):
            continue
        if found.missing is not None:
            shown["reason"] = found.missing.reason
        else:
            figure = plain_markup(spec.draw(found.result).to_plotly_json())
            # The page's own key stands for the legends of these charts, which a phone has no room for.
            figure["layout"]["showlegend"] = spec.has_legend or spec.section not in KEYED_SECTIONS
            shown["json"] = embedded_json(_rounded(_without_hover_text(figure)))
            shown["height"] = figure["layout"]["height"]
        sections[spec.section].append(shown)
    return sections


def _naming_objectives(title: str, table: ResultsTable) -> str:
    """A title that says "objective 1" with that objective's name."""
    for number, metric in enumerate(table.objectives, 1):
        title = title.replace(f"objective {number}", metric_info(metric).label)
    return title


def _answer_data(view: dict[str, Any] | None) -> dict[str, Any]:
    """What the first screen's script needs: the pictures and scores of what may be pointed at."""
    if view is None or view["images"] is None:
        return {}
    images = view["images"]
    return {
        "sources": images["sources"],
        "start": images["columns"][-1]["trial"],
        "window": images["window"],
        "ranges_hu": panels.ERROR_RANGES_HU,
        "patients": [row.title.lower() for row in images["rows"]],
    }


def _default_pair(table: ResultsTable) -> tuple[int | None, int | None]:
    """The trials that stand side by side before a reader chooses: the recommended one and the baseline."""
    complete = table.trials.index[table.trials[S.STATUS] == S.COMPLETE]
    best, base = recommended(table), baseline(table)
    if best is None:
        return None, None
    others = [int(trial) for trial in complete if trial != best.trial]
    if base is not None and base.trial != best.trial:
        return best.trial, base.trial
    return best.trial, others[0] if others else best.trial


def _taken_front(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """The chart that stands beside the answer, taken out of the trade-off's."""
    by_name = {figure["name"]: figure for figure in figures}
    name = next(
        (name for name in ANSWER_FRONTS if name in by_name and "reason" not in by_name[name]),
        ANSWER_FRONTS[1],
    )
    figures.remove(by_name[name])
    caption = (
        "Validation, where it was chosen. Colour: alpha. Crosses: 95 % intervals over patients. Dotted: the front. "
        "Dashed: full dose. Point at a trial for its images, press it for its details."
    )
    return by_name[name] | {"caption": caption}


def _image_grid(table: ResultsTable) -> dict[str, Any]:
    """``{"rows": [{"caption", "cells"}]}`` (a cell for each source), or ``{"reason"}``."""
    found = attempt(compute_image_panels, table)
    if found.missing is not None:
        return {"reason": found.missing.reason}
    rows = [
        {
            "caption": caption,
            "cells": [_shown_cell(cell) for cell in cells],
            "desk": columns_for(len(cells), 8),
            "phone": columns_for(len(cells), 3),
        }
        for caption, cells in found.needed.rows.items()
    ]
    return {"rows": rows, "window": found.needed.window, "error_hu": found.needed.error_hu}


def columns_for(count: int, most: int) -> int:
    """In how many columns pictures stand, some ``most`` at most, so that none stands alone in the last row."""
    candidates = [*range(min(most, count), 1, -1), *range(most + 1, count + 1)]
    return next(
        (columns for columns in candidates if count <= columns or count % columns != 1), max(count, 1)
    )


def _shown_cell(cell: Cell) -> dict[str, Any]:
    pictures = {"image": cell.image, "mask": cell.mask, "error": cell.error}
    uris = {name: None if picture is None else panels.data_uri(picture) for name, picture in pictures.items()}
    return {"title": cell.title, "why": cell.why, "trial": cell.trial, "scores": cell.scores, **uris}


def _without_hover_text(figure: dict[str, Any]) -> dict[str, Any]:
    """The page's script puts the trials' texts back, so that each is stored once, not once a chart."""
    for trace in figure["data"]:
        if "customdata" in trace and "text" not in trace.get("mode", ""):
            trace.pop("text", None)
    return figure


def _rounded(value: object) -> object:
    """A chart's JSON with six digits of each number, which no screen tells from more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value


def embedded_json(value: object) -> str:
    """JSON that can stand inside a script element, whatever its strings hold; NaN becomes null."""
    text = json.dumps(value, separators=(",", ":"), cls=PlotlyJSONEncoder)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def asset(name: str) -> str:
    """A file of ``assets/`` as text."""
    return resources.files("analysis.report").joinpath("assets", name).read_text(encoding="utf-8")
