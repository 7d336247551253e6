"""One page for several studies: how they differ, their fronts, their methods, the effect of dose."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.offline

from analysis.figures.across_tasks import compute_across_tasks, draw_across_tasks
from analysis.figures.markup import plain_markup
from analysis.figures.over_dose import (
    compute_studies_over_dose,
    draw_alpha_over_dose,
    draw_over_dose,
    words_of,
)
from analysis.figures.several_studies import (
    STUDY_METRICS,
    compute_dose,
    compute_study_fronts,
    draw_dose,
    draw_study_fronts,
)
from analysis.method_scores import interval_basis, share_with_interval, with_interval
from analysis.metric_info import metric_info
from analysis.report.page import CHART_SCRIPTS, asset, embedded_json, environment
from analysis.several_studies import StudyComparison, compare, shown_fact
from analysis.tables import SHOWN_METRICS, column_title
from analysis.unavailable import Attempt, NotApplicable, attempt
from taskct_core import schema as S
from taskct_core.contracts.files import open_folder, write_text


def write_comparison(folders: Sequence[str | Path], out: str | Path, side_by_side: bool = False) -> Path:
    """Compare studies in one HTML page and return its path.

    Args:
        folders: two or more study folders.
        out: the HTML file to write.
        side_by_side: see ``analysis.compare``.

    Raises:
        StudyError: if the studies must not be compared.
        DataError: if a folder cannot be read.
    """
    comparison = compare(folders, side_by_side)
    text = (
        environment()
        .get_template("several-studies.html")
        .render(
            names=comparison.names,
            comparable=comparison.comparable,
            differences=_differences(comparison),
            networks_differ=S.TASK_NETWORK_HASH in comparison.differences,
            figures=_figures(comparison),
            doses=_doses(comparison),
            methods=_methods(comparison),
            written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            style=asset("style.css"),
            scripts=[asset(name) for name in CHART_SCRIPTS],
            plotly=plotly.offline.get_plotlyjs(),
        )
    )
    path = open_folder(out)
    write_text(path, text)
    return path


def _differences(comparison: StudyComparison) -> list[list[str]]:
    return [
        [name.replace("_", " "), *(shown_fact(value) for value in values)]
        for name, values in comparison.differences.items()
    ]


def _figures(comparison: StudyComparison) -> list[dict[str, Any]]:
    charts: list[tuple[str, str, Attempt[Any], Any]] = []
    for x in (S.PRIMARY_PSNR, S.PRIMARY_SSIM):
        title = f"Fronts: Dice against {metric_info(x).label}"
        found: Attempt[Any] = attempt(compute_study_fronts, comparison, x, S.PRIMARY_DICE)
        charts.append((f"fronts_{x}", title, found, draw_study_fronts))
    for metric in STUDY_METRICS:
        title = f"{metric_info(metric).label} against dose"
        charts.append((f"dose_{metric}", title, attempt(compute_dose, comparison, metric), draw_dose))
    over_dose: Attempt[Any] = attempt(compute_studies_over_dose, comparison)
    for what, title in (("gain", "What task-adaptive training gains"), ("gap", "The gap that is closed")):
        draw = partial(draw_over_dose, what=what)
        charts.append((f"over_dose_{what}", f"{title}, over dose", over_dose, draw))
    charts.append(("over_dose_alpha", "The recommended alpha, over dose", over_dose, draw_alpha_over_dose))
    across: Attempt[Any] = attempt(compute_across_tasks, comparison)
    charts.append(("across_tasks", "Methods across all studies", across, draw_across_tasks))
    return [_chart(*chart) for chart in charts if not isinstance(chart[2].missing, NotApplicable)]


def _doses(comparison: StudyComparison) -> dict[str, Any] | None:
    """What is gained and what it costs at each dose, in a table; None where the studies tell of fewer than two."""
    found = attempt(compute_studies_over_dose, comparison).result
    if found is None:
        return None
    changes = {"gain": ("change in Dice", 3), "cost": ("change in PSNR [dB]", 2)}
    if found.has_second_judge:
        changes = {
            "gain": changes["gain"],
            "gain_audit": ("by the second network (audit)", 3),
            "cost": changes["cost"],
        }
    rows = [
        [
            f"{row[S.PHOTONS_PER_RAY]:,.0f}",
            f"{row['alpha']:.3g}",
            *(_change(row, name, digits) for name, (_, digits) in changes.items()),
            share_with_interval(row["gap"], row["gap_low"], row["gap_high"]),
        ]
        for row in found.rows.to_dict("records")
    ]
    titles = [title for title, _ in changes.values()]
    head = ["photons per ray", "recommended alpha", *titles, "gap closed"]
    return {"words": words_of(found), "head": head, "rows": rows}


def _change(row: Mapping[Any, float], name: str, digits: int) -> str:
    if math.isnan(row[name]):
        return "–"
    value, low, high = (f"{row[name + end]:+z.{digits}f}" for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})"


def _chart(name: str, title: str, found: Attempt[Any], draw: Callable[[Any], go.Figure]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": name,
        "title": title,
        "caption": "Scores of each study's test split, or of validation where nothing was scored on test. What is shown was "
        "chosen on validation, so that on test one point of a front may beat another.",
    }
    if found.missing is not None:
        return {**shown, "reason": found.missing.reason}
    figure = plain_markup(draw(found.result).to_plotly_json())
    return {**shown, "json": embedded_json(figure), "height": figure["layout"]["height"]}


def _methods(comparison: StudyComparison) -> dict[str, Any]:
    frame = comparison.methods()
    metrics = [name for name in SHOWN_METRICS if name in frame]
    rows = [
        [
            row["study"],
            "–" if row["photons_per_ray"] is None else f"{row['photons_per_ray']:g}",
            row["name"],
            str(row["seeds"]) if row["trials"] else "–",
            row["why"] or "–",
            *(with_interval(row[m], row[f"{m}_low"], row[f"{m}_high"]) for m in metrics),
        ]
        for row in frame.to_dict("records")
    ]
    head = ["study", "photons per ray", "method", "seeds", "chosen for", *map(column_title, metrics)]
    basis = {
        name: interval_basis(table) for name, table in zip(comparison.names, comparison.tables, strict=True)
    }
    return {"head": head, "rows": rows, "basis": basis}
