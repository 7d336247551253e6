"""How a metric changes with alpha: seeds aggregated where alpha was swept, else medians over bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.figures import style
from analysis.figures.points import reference_points, series_traces, trial_points
from analysis.results_table import ALPHA, ALPHA_MODES, CONFIG_SEED, PLAIN_MODES, ResultsTable, method_name
from analysis.unavailable import Unavailable
from taskct_core import schema as S

_SHOWN_MODES = (*PLAIN_MODES, *ALPHA_MODES)
_BINS = 5
_FEWEST_IN_BIN = 3


@dataclass(frozen=True)
class AlphaCurveData:
    """One metric against alpha.

    Attributes:
        points: one row a trial (see ``trial_points``).
        curves: rows of architecture, curve (number), alpha, centre, low, high, trials (how many), trial (the
            first of them).
        swept: True where curves join configurations equal but for alpha and seed (centre: mean over
            seeds; low, high: lowest and highest seed); False where they are medians and quartiles of
            all trials of an architecture in a bin of alpha, over which other parameters vary too.
    """

    metric: str
    split: str
    points: pd.DataFrame
    references: pd.DataFrame
    curves: pd.DataFrame
    swept: bool


def compute_alpha_curve(table: ResultsTable, metric: str, split: str | None = None) -> AlphaCurveData:
    """The trials that have an alpha, with curves through them."""
    split = split or table.claim_split
    if ALPHA not in table.trials:
        raise Unavailable("The results have no column config_alpha.")
    if metric not in table.metrics:
        raise Unavailable(f"The results hold no finite value of {metric}.")
    points = trial_points(table, split, (metric,))
    has_alpha = points["alpha"].notna() & points["method"].isin(_SHOWN_MODES)
    points = points[has_alpha & (points["status"] == S.COMPLETE)].reset_index(drop=True)
    points.loc[points["method"].isin(PLAIN_MODES), "alpha"] = 0.0
    if points.empty:
        raise Unavailable(f"No complete trial has an alpha and a finite {metric} on the {split} split yet.")
    curves = _swept_curves(table, points, metric)
    swept = len(curves) > 0
    curves = curves if swept else _binned_curves(points, metric)
    return AlphaCurveData(metric, split, points, reference_points(table, split, (metric,)), curves, swept)


def _swept_curves(table: ResultsTable, points: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and range over seeds for every set of trials that are equal but for alpha and seed.

    Reconstruction alone is the alpha 0 of task-adaptive training, so it begins that mode's curve.
    """
    points = points[points["trial"].isin(table.distinct_runs)]
    keys = table.fact(_equal_but_for_alpha).loc[points["trial"]].to_numpy()
    points = points.assign(curve=pd.factorize(_swept_mode(points["method"]) + "\n" + keys)[0])
    sweeps = points.groupby("curve")["alpha"].nunique()
    points = points[points["curve"].isin(sweeps.index[sweeps >= 3])]
    grouped = points.groupby(["architecture", "curve", "alpha"])
    return _summarise(grouped, metric, "mean", 0.0, 1.0)


def _equal_but_for_alpha(table: ResultsTable) -> pd.Series:
    """Trial -> a text that is the same for trials whose configurations differ in alpha, mode and seed alone."""
    free = {ALPHA, CONFIG_SEED, S.CONFIG_PREFIX + "mode"}
    fixed = [c for c in table.config_columns if c not in free]
    if not fixed:
        return pd.Series("", index=table.trials.index)
    return table.trials[fixed].astype("string").fillna("").agg("\n".join, axis=1)


def _binned_curves(points: pd.DataFrame, metric: str) -> pd.DataFrame:
    edges = np.linspace(points["alpha"].min(), points["alpha"].max(), _BINS + 1)
    bins = np.clip(np.searchsorted(edges, points["alpha"], side="right") - 1, 0, _BINS - 1)
    curves = pd.factorize(_swept_mode(points["method"]))[0]
    points = points.assign(curve=curves, bin=bins)
    grouped = points.groupby(["architecture", "curve", "bin"])
    curves = _summarise(grouped, metric, "median", 0.25, 0.75)
    curves["alpha"] = grouped["alpha"].mean().to_numpy()
    curves = curves[curves["trials"] >= _FEWEST_IN_BIN].drop(columns="bin")
    # One bin alone is no curve.
    several = curves.groupby(["architecture", "curve"])["alpha"].transform("size") >= 2
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
    for architecture, curves in data.curves.groupby("architecture"):
        traces = _curve_traces(curves, colours[str(architecture)])
        if not data.swept:  # a median is of all the architecture's trials: it goes when a filter hides any
            of_architecture = data.points["architecture"] == architecture
            meta = {"trials": data.points.loc[of_architecture, "trial"].tolist()}
            traces = [trace.update(customdata=None, meta=meta) for trace in traces]
        figure.add_traces(traces)
    for trace in series_traces(data.points, "alpha", data.metric, colours, size=7):
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
        pd.concat(there_and_back), "curve", ["alpha", "edge", "trial"]
    )
    x, y, trials = style.broken_lines(curves, "curve", ["alpha", "centre", "trial"])
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
