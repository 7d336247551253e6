"""Gain, gap and recommended alpha over dose, and the dose at which task-adaptive training starts to pay."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.axis_scales import AxisScale
from analysis.figures import style
from analysis.over_dose import OverDose, over_dose, tables_by_dose
from analysis.results_table import ResultsTable
from analysis.several_studies import StudyComparison
from taskct_core import schema as S

_TITLES = {
    "gain": "gain in Dice over no task loss",
    "cost": "change in PSNR [dB] from no task loss",
    "gap": "share of the gap to full dose that is closed",
}
_WIDEST_LINE = 46  # letters of a sentence above a chart, on a phone
_ASIDE = 0.01
_ALPHA_SCALE = AxisScale("logit", 0.001, 0.999, ends=(0.0, 1.0))


def compute_over_dose(table: ResultsTable) -> OverDose:
    """Of a study whose slices vary in dose."""
    return over_dose(tables_by_dose(table))


def compute_studies_over_dose(comparison: StudyComparison) -> OverDose:
    """Of studies that differ in dose."""
    pairs = zip(comparison.doses, comparison.tables, strict=True)
    return over_dose([(dose, table) for dose, table in pairs if dose is not None])


def draw_over_dose(data: OverDose, what: str) -> go.Figure:
    """``gain``, ``cost`` or ``gap`` with its 95 % interval; the gain by both judges, and the dose at which it starts to
    pay."""
    rows = data.rows
    figure = style.figure(x="photons per ray", y=_TITLES[what])
    figure.add_hline(y=0, line={"color": style.NEUTRAL, "width": 1})
    _add_line(figure, rows, what, "blue", "frozen network")
    if what == "gain" and data.has_second_judge:
        _add_line(figure, rows, "gain_audit", "orange", "second network (audit)", aside=_ASIDE)
        inside = {"orientation": "v", "x": 1, "xanchor": "right", "y": 1, "yanchor": "top"}
        figure.update_traces(showlegend=True).update_layout(legend=inside)
    write_doses(figure, rows[S.PHOTONS_PER_RAY].tolist())
    if what == "gain":
        _write_when_it_pays(figure, data)
    return figure


def _add_line(
    figure: go.Figure, rows: pd.DataFrame, what: str, color: str, name: str, aside: float = 0.0
) -> None:
    """``aside``: share of the axis by which it stands right of its doses, so that intervals do not hide each other."""
    doses = rows[S.PHOTONS_PER_RAY]
    figure.add_scatter(
        x=(doses * (doses.max() / doses.min()) ** aside).tolist(),
        customdata=doses.tolist(),
        y=rows[what].tolist(),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (rows[f"{what}_high"] - rows[what]).tolist(),
            "arrayminus": (rows[what] - rows[f"{what}_low"]).tolist(),
            "thickness": 1.5,
            "width": 4,
        },
        mode="lines+markers",
        line={"color": style.OKABE_ITO[color], "width": 2},
        marker={"size": 9},
        name=name,
        hovertemplate="%{y:.3g} at %{customdata:.4g} photons<extra></extra>",
        showlegend=False,
    )


def _write_when_it_pays(figure: go.Figure, data: OverDose) -> None:
    figure.update_layout(margin_t=44)
    figure.add_annotation(
        text="<br>".join(textwrap.wrap(words_of(data), _WIDEST_LINE)),
        xref="paper",
        yref="paper",
        x=0,
        y=1.01,
        showarrow=False,
        xanchor="left",
        yanchor="bottom",
        align="left",
    )
    if data.starts_to_pay is not None and math.isfinite(data.starts_to_pay):
        line = {"color": style.OKABE_ITO["vermillion"], "dash": "dash", "width": 1.5}
        figure.add_vline(x=data.starts_to_pay, line=line)


def write_doses(figure: go.Figure, doses: Sequence[float]) -> None:
    """The doses themselves along the axis, which a grid of decades would leave a reader to guess."""
    texts = [f"{dose:,.0f}" if dose >= 100 else f"{dose:.3g}" for dose in doses]
    figure.update_xaxes(type="log", tickvals=doses, ticktext=texts)


def words_of(data: OverDose) -> str:
    """When task-adaptive training pays, in a sentence."""
    if not data.enough_patients:
        patients = f"{data.patients} patient{'' if data.patients == 1 else 's'}"
        return f"With {patients} no gain is called one: where it starts to pay is not known."
    if data.starts_to_pay is None:
        return "At the lowest dose the interval of the gain holds 0: where it starts to pay is not known."
    if math.isinf(data.starts_to_pay):
        return "The gain's interval lies above 0 at every dose."
    return f"The gain's interval lies above 0 below {data.starts_to_pay:.3g} photons a ray."


def draw_alpha_over_dose(data: OverDose) -> go.Figure:
    """The recommended alpha, on the logit scale."""
    figure = style.figure(x="photons per ray", y="recommended alpha")
    figure.add_scatter(
        x=data.rows[S.PHOTONS_PER_RAY].tolist(),
        y=_ALPHA_SCALE.positions(data.rows["alpha"]).tolist(),
        text=[f"{alpha:.3g}" for alpha in data.rows["alpha"]],
        mode="lines+markers+text",
        textposition="top center",
        line={"color": style.OKABE_ITO["blue"], "width": 2},
        marker={"size": 9},
        hovertemplate="alpha %{text} at %{x:.4g} photons<extra></extra>",
        showlegend=False,
    )
    write_doses(figure, data.rows[S.PHOTONS_PER_RAY].tolist())
    positions, texts = zip(*_ALPHA_SCALE.ticks(), strict=True)
    found = _ALPHA_SCALE.positions(data.rows["alpha"])
    # Half a tick beyond the values, so that more than one is written and no label is cut.
    figure.update_yaxes(
        tickvals=positions, ticktext=texts, range=[float(found.min()) - 1.5, float(found.max()) + 1.5]
    )
    return figure
