"""How a metric changes with alpha: seeds aggregated where alpha was swept, else medians over bins.

On validation, where alpha may be chosen by what is seen, and on the scale that alpha was searched on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.axis_scales import AxisScale, scale_of
from analysis.figures import style
from analysis.figures.points import POSITION, reference_points, series_traces, trial_points
from analysis.names import method_name
from analysis.results_table import ALPHA, ALPHA_MODES, CONFIG_SEED, PLAIN_MODES, SEARCH_SPLIT, ResultsTable
from analysis.unavailable import NotApplicable, Unavailable
from taskct_core import schema as S

_SHOWN_MODES = (*PLAIN_MODES, *ALPHA_MODES)
_BINS = 5
_FEWEST_IN_BIN = 3


@dataclass(frozen=True)
class AlphaCurveData:
    """One metric against alpha.

    Attributes:
        points: one row a trial (see ``trial_points``) with its ``position`` on the axis.
        curves: rows of architecture, curve (number), position, alpha (of a sweep), centre, low, high, trials (how many), trial (the
            first of them).
        swept: True where curves join configurations equal but for alpha and seed (centre: mean over
            seeds; low, high: lowest and highest seed); False where they are medians and quartiles of
            all trials of an architecture in a bin of positions, over which other parameters vary too.
    """

    metric: str
    split: str
    points: pd.DataFrame
    references: pd.DataFrame
    curves: pd.DataFrame
    swept: bool
    scale: AxisScale | None


def compute_alpha_curve(table: ResultsTable, metric: str, split: str | None = None) -> AlphaCurveData:
    """The trials that have an alpha, with curves through them."""
    split = split or SEARCH_SPLIT
    if ALPHA not in table.trials:
        raise Unavailable("The results have no column config_alpha.")
    if metric not in table.metrics:
        reason = f"The results hold no finite value of {metric}."
        raise Unavailable(reason) if metric in table.objectives else NotApplicable(reason)
    if table.is_repeated(metric):
        raise NotApplicable(f"{metric} is the same as another metric that is drawn.")
    points = trial_points(table, split, (metric,))
    has_alpha = points["alpha"].notna() & points["method"].isin(_SHOWN_MODES)
    points = points[has_alpha & (points["status"] == S.COMPLETE)].reset_index(drop=True)
    points.loc[points["method"].isin(PLAIN_MODES), "alpha"] = 0.0
    if points.empty:
        raise Unavailable(f"No complete trial has an alpha and a finite {metric} on the {split} split yet.")
    scale = scale_of(table, ALPHA)
    points[POSITION] = points["alpha"] if scale is None else scale.positions(points["alpha"])
    curves = _swept_curves(table, points, metric)
    swept = len(curves) > 0
    curves = curves if swept else _binned_curves(points, metric)
    references = reference_points(table, split, (metric,))
    return AlphaCurveData(metric, split, points, references, curves, swept, scale)


def _swept_curves(table: ResultsTable, points: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and range over seeds for every set of trials that are equal but for alpha and seed.

    Reconstruction alone is the alpha 0 of task-adaptive training, so it begins that mode's curve.
    """
    points = points[points["trial"].isin(table.distinct_runs)]
    keys = table.fact(_equal_but_for_alpha).loc[points["trial"]].to_numpy()
    points = points.assign(curve=pd.factorize(_swept_mode(points["method"]) + "\n" + keys)[0])
    sweeps = points.groupby("curve")["alpha"].nunique()
    points = points[points["curve"].isin(sweeps.index[sweeps >= 3])]
    grouped = points.groupby(["architecture", "curve", "alpha", POSITION])
    return _summarise(grouped, metric, "mean", 0.0, 1.0)


def _equal_but_for_alpha(table: ResultsTable) -> pd.Series:
    """Trial -> a text that is the same for trials whose configurations differ in alpha, mode and seed alone."""
    free = {ALPHA, CONFIG_SEED, S.CONFIG_PREFIX + "mode"}
    fixed = [c for c in table.config_columns if c not in free]
    if not fixed:
        return pd.Series("", index=table.trials.index)
    return table.trials[fixed].astype("string").fillna("").agg("\n".join, axis=1)


def _binned_curves(points: pd.DataFrame, metric: str) -> pd.DataFrame:
    edges = np.linspace(points[POSITION].min(), points[POSITION].max(), _BINS + 1)
    bins = np.clip(np.searchsorted(edges, points[POSITION], side="right") - 1, 0, _BINS - 1)
    curves = pd.factorize(_swept_mode(points["method"]))[0]
    points = points.assign(curve=curves, bin=bins)
    grouped = points.groupby(["architecture", "curve", "bin"])
    curves = _summarise(grouped, metric, "median", 0.25, 0.75)
    curves[POSITION] = grouped[POSITION].mean().to_numpy()
    curves = curves[curves["trials"] >= _FEWEST_IN_BIN].drop(columns="bin")
    # One bin alone is no curve.
    several = curves.groupby(["architecture", "curve"])[POSITION].transform("size") >= 2
    return curves[several].reset_index(drop=True)


def _swept_mode(methods: pd.Series) -> pd.Series:
    """Plain training is task-adaptive training with alpha 0, and continues its curve."""
    return methods.replace(dict.fromkeys(PLAIN_MODES, "task_adaptive"))


def _summarise(
    groups: pd.core.groupby.DataFrameGroupBy, metric: str, centre: str, low: float, high: float
) -> pd.DataFrame:
    """Centre, quantiles at low and high, count and first trial of every group."""
    return pd.DataFrame(
        {
            "centre": groups[metric].agg(centre),
            "low": groups[metric].quantile(low),
            "high": groups[metric].quantile(high),
            "trials": groups.size(),
            "trial": groups["trial"].first(),
        }
    ).reset_index()


def draw_alpha_curve(data: AlphaCurveData) -> go.Figure:
    """Points, curves with their bands, and the references as horizontal lines."""
    colours = style.colours_of(data.points)
    figure = style.figure(x="alpha (weight of the task loss)", y=style.metric_label(data.metric), height=360)
    style.scale_axis(figure, data.scale)
    for architecture, curves in data.curves.groupby("architecture"):
        traces = _curve_traces(curves, colours[str(architecture)])
        traces[-1].update(name=f"{architecture}, {'mean over seeds' if data.swept else 'median'}")
        if not data.swept:  # a median is of all the architecture's trials: it goes when a filter hides any
            of_architecture = data.points["architecture"] == architecture
            meta = {"trials": data.points.loc[of_architecture, "trial"].tolist()}
            traces = [trace.update(customdata=None, meta=meta) for trace in traces]
        figure.add_traces(traces)
    for trace in series_traces(data.points, POSITION, data.metric, colours, size=7):
        figure.add_trace(trace)
    for place, row in enumerate(data.references.sort_values(data.metric).to_dict("records")):
        style.add_level(figure, row[data.metric], method_name(row["method"]), place)
    return figure


def _curve_traces(curves: pd.DataFrame, colour: str) -> list[go.Scatter]:
    """One trace of all bands and one of all lines; ``customdata`` lets a filter hide a curve."""
    there_and_back = [
        pd.concat([c.assign(edge=c["high"]), c[::-1].assign(edge=c["low"])]) for c in _each(curves)
    ]
    band_x, band_y, band_trials = style.broken_lines(
        pd.concat(there_and_back), "curve", [POSITION, "edge", "trial"]
    )
    x, y, trials = style.broken_lines(curves, "curve", [POSITION, "centre", "trial"])
    band = go.Scatter(
        x=band_x,
        y=band_y,
        customdata=band_trials,
        fill="toself",
        mode="none",
        fillcolor=_translucent(colour),
        hoverinfo="skip",
        showlegend=False,
    )
    line = go.Scatter(
        x=x,
        y=y,
        customdata=trials,
        mode="lines",
        line={"color": colour, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    return [band, line]


def _each(curves: pd.DataFrame) -> list[pd.DataFrame]:
    return [curve for _, curve in curves.groupby("curve")]


def _translucent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{style.BAND_OPACITY})"
