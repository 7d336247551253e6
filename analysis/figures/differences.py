"""Differences between methods with intervals over patients, and the patients one by one."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.by_architecture import compare_within_architectures
from analysis.figures import style
from analysis.metric_info import metric_info
from analysis.paired_differences import (
    Comparisons,
    default_comparisons,
    default_pairs,
    needed_words,
    patient_differences,
)
from analysis.results_table import ResultsTable
from analysis.unavailable import Attempt, Unavailable, attempt

SIGNIFICANCE = 0.05
PATIENT_METRICS = {"dice_liver_patient_nnunet": "square-open", "dice_tumour_patient_nnunet": "diamond-open"}


@dataclass(frozen=True)
class DifferenceData:
    """Rows of name, other, difference, low, high, p_holm, supported (a claim the data can carry)."""

    metric: str
    rows: pd.DataFrame
    patients: int
    slices: int


def compute_differences(table: ResultsTable, metric: str) -> DifferenceData:
    """The report's comparisons in one metric; the Holm correction covers all metrics together."""
    return _in_metric(table.fact(default_comparisons).needed, metric)


def compute_architecture_differences(table: ResultsTable, metric: str) -> DifferenceData:
    """What the task loss changes within each architecture, in one metric; these are a family of their own."""
    return _in_metric(table.fact(_within_architectures).needed, metric)


def _within_architectures(table: ResultsTable) -> Attempt[Comparisons]:
    return attempt(compare_within_architectures, table)


def _in_metric(compared: Comparisons, metric: str) -> DifferenceData:
    rows = compared.rows[compared.rows["metric"] == metric].reset_index(drop=True)
    if rows.empty:
        raise Unavailable(f"The slices hold nothing that {metric} follows from.")
    supported = (rows["p_holm"] < SIGNIFICANCE) & compared.enough_patients
    return DifferenceData(metric, rows.assign(supported=supported), compared.patients, compared.slices)


def draw_differences(data: DifferenceData) -> go.Figure:
    """A row a pair: filled where the corrected p-value is below 0.05 and there are patients enough."""
    rows = data.rows[::-1]
    unit = metric_info(data.metric).unit
    figure = style.figure(
        x=f"difference [{unit}]" if unit else "difference", y="", height=120 + 56 * len(rows)
    )
    figure.add_vline(x=0, line={"color": style.NEUTRAL, "width": 1})
    figure.add_scatter(
        x=rows["difference"].tolist(),
        y=[
            f"{one}<br>− {other}" + ("" if supported else f"<br>{needed_words(needed)}")
            for one, other, supported, needed in zip(
                rows["name"], rows["other"], rows["supported"], rows["patients_needed"], strict=True
            )
        ],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["difference"]).tolist(),
            "arrayminus": (rows["difference"] - rows["low"]).tolist(),
            "thickness": 1.5,
            "width": 4,
            "color": style.NEUTRAL,
        },
        mode="markers",
        marker={
            "size": 10,
            "symbol": ["circle" if supported else "circle-open" for supported in rows["supported"]],
            "color": style.NEUTRAL,
            "line": {"width": 2, "color": style.NEUTRAL},
        },
        text=[
            f"{low:.3g} to {high:.3g}, p (Holm) {p:.3g}<br>{needed_words(needed)}"
            for low, high, p, needed in zip(
                rows["low"], rows["high"], rows["p_holm"], rows["patients_needed"], strict=True
            )
        ],
        hovertemplate="%{y}<br>%{x:.4g}<br>%{text}<extra></extra>",
        showlegend=False,
    )
    return figure


@dataclass(frozen=True)
class PatientDifferenceData:
    """Rows of metric, patient, difference, slices; patients ascending in the first metric."""

    name: str
    other: str
    rows: pd.DataFrame


def compute_patient_differences(table: ResultsTable) -> PatientDifferenceData:
    """Patient by patient: the trial with the best first objective against the baseline (or FBP).

    Liver and tumour are kept apart, for a patient without tumour has a liver Dice only.
    """
    pairs = default_pairs(table)
    if not pairs:
        raise Unavailable(
            "There is nothing to compare yet: no complete trial with a baseline or FBP beside it."
        )
    one, other = pairs[0]
    compared = table.fact(default_comparisons).result
    if compared is not None and compared.patients < 2:
        raise Unavailable("There is one patient only: the charts above are already of that patient.")
    blocks = []
    for metric in PATIENT_METRICS:
        rows = patient_differences(table, one, other, metric)
        blocks.append(rows.dropna().sort_values("difference").assign(metric=metric))
    rows = pd.concat(blocks, ignore_index=True)
    if rows.empty:
        raise Unavailable("No patient has a Dice that is defined for both.")
    return PatientDifferenceData(one.name, other.name, rows)


def draw_patient_differences(data: PatientDifferenceData) -> go.Figure:
    """A marker a patient and structure, against the line of no difference."""
    patients = data.rows["patient"].nunique()
    figure = style.figure(x=f"Dice of {data.name} − {data.other}", y="", height=140 + 24 * patients)
    figure.add_vline(x=0, line={"color": style.NEUTRAL, "width": 1})
    for metric, symbol in PATIENT_METRICS.items():
        rows = data.rows[data.rows["metric"] == metric]
        figure.add_scatter(
            x=rows["difference"].tolist(),
            y=rows["patient"].tolist(),
            mode="markers",
            name=metric.split("_")[1],
            marker={"symbol": symbol, "size": 10, "color": style.NEUTRAL, "line": {"width": 2}},
            text=[f"{slices} slices" for slices in rows["slices"]],
            hovertemplate="%{y}, %{fullData.name}: %{x:.4g}<br>%{text}<extra></extra>",
        )
    figure.update_yaxes(type="category")
    return figure
