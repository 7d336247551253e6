"""What can be detected on the images, and their noise, sharpness and bias: the figures of AAPM TG-233."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis import statistics
from analysis.figures import style
from analysis.figures.method_profiles import MethodProfileData
from analysis.image_quality import ends_over_runs, image_quality, image_quality_curves
from analysis.method_draws import draws_of_methods
from analysis.method_scores import shown_rows
from analysis.metric_info import metric_info
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.sample_scores import align
from analysis.selection import best_trial
from analysis.unavailable import NotApplicable
from taskct_core import schema as S
from taskct_core.metrics.pooled import signed_bias

_DASHES = ("solid", "dash", "dot", "dashdot")
AXES = {"nps": "noise power [HU² mm²]", "ttf": "share of the contrast that is kept"}


@dataclass(frozen=True)
class LesionData:
    """Rows of trial, name, dice, dprime, low, high; which trials validation says are best in either, if they are there."""

    split: str
    rows: pd.DataFrame
    best_dice: int | None
    best_dprime: int | None

    def winners(self) -> dict[int, str]:
        """Trial -> what validation says it is best in."""
        words: dict[int, list[str]] = {}
        for trial, word in ((self.best_dice, "best Dice"), (self.best_dprime, "best d'")):
            if trial is not None:
                words.setdefault(trial, []).append(word)
        return {trial: " and ".join(found) for trial, found in words.items()}


def compute_lesions_against_dice(table: ResultsTable) -> LesionData:
    """Every trial and reference that has both scores on the split of claims."""
    found = image_quality(table)
    dice = table.scores(table.claim_split, [S.PRIMARY_DICE])
    rows = found[[S.DPRIME, f"{S.DPRIME}_low", f"{S.DPRIME}_high"]].join(dice, how="inner")
    rows.columns = pd.Index(["dprime", "low", "high", "dice"])
    rows = rows.dropna(subset=["dprime", "dice"])
    trained = rows.index[rows.index >= 0]
    if trained.empty:
        raise NotApplicable("No trial has both a Dice and a d'.")
    rows = rows.reset_index(names="trial")
    names = [table.label(trial) for trial in rows["trial"]]
    return LesionData(
        table.claim_split,
        rows.assign(name=names),
        _best_on_validation(table, S.PRIMARY_DICE, trained),
        _best_on_validation(table, S.DPRIME, trained),
    )


def _best_on_validation(table: ResultsTable, metric: str, trials: pd.Index) -> int | None:
    scores = table.complete_scores(SEARCH_SPLIT, [metric])
    if metric not in scores:
        return None
    return best_trial(scores[metric].reindex(trials), table.direction(metric))


def draw_lesions_against_dice(data: LesionData) -> go.Figure:
    """A marker a trial with the interval of its d'; references beside them, winners named."""
    figure = style.figure(x=style.short_label(S.PRIMARY_DICE), y="d' of inserted lesions")
    for is_trial, name, colour, symbol in (
        (True, "trials", style.OKABE_ITO["blue"], "circle"),
        (False, "references", style.NEUTRAL, "diamond"),
    ):
        rows = data.rows[(data.rows["trial"] >= 0) == is_trial]
        figure.add_scatter(
            x=rows["dice"].tolist(),
            y=rows["dprime"].tolist(),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (rows["high"] - rows["dprime"]).tolist(),
                "arrayminus": (rows["dprime"] - rows["low"]).tolist(),
                "thickness": 1,
                "width": 3,
                "color": colour,
            },
            mode="markers" if is_trial else "markers+text",
            text=rows["name"].tolist(),
            textposition="top center",
            name=name,
            marker={"size": 9, "symbol": symbol, "color": colour},
            hovertemplate="%{text}<br>Dice %{x:.3f}, d' %{y:.2f}<extra></extra>",
        )
    for trial, words in data.winners().items():
        row = data.rows.set_index("trial").loc[trial]
        figure.add_annotation(x=row["dice"], y=row["dprime"], text=words, showarrow=True, arrowhead=0, ay=28)
    return figure


@dataclass(frozen=True)
class FrequencyData:
    """A curve for each shown method over spatial frequency: rows of name, frequency_per_mm, value."""

    curve: str
    rows: pd.DataFrame


def compute_frequency_curves(table: ResultsTable, curve: str) -> FrequencyData:
    """``nps`` or ``ttf`` of the methods of the table, a method's seeds averaged."""
    found = image_quality_curves(table)
    found = found[found[S.CURVE] == curve]
    blocks = []
    for method in shown_rows(table):
        rows = found[found[S.TRIAL].isin(method.trials)]
        means = rows.groupby(S.FREQUENCY, as_index=False)[S.VALUE].mean()
        blocks.append(means.assign(name=method.label))
    rows = pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame()
    if rows.empty:
        raise NotApplicable("None of the shown methods has this curve.")
    return FrequencyData(curve, rows)


def draw_frequency_curves(data: FrequencyData) -> go.Figure:
    """A line a method."""
    figure = style.figure(x="spatial frequency [1/mm]", y=AXES[data.curve])
    looks = itertools.cycle(itertools.product(_DASHES, style.OKABE_ITO.values()))
    for (name, rows), (dash, colour) in zip(data.rows.groupby("name", sort=False), looks, strict=False):
        figure.add_scatter(
            x=rows[S.FREQUENCY].tolist(),
            y=rows[S.VALUE].tolist(),
            mode="lines",
            name=str(name),
            line={"color": colour, "dash": dash, "width": 2},
            hovertemplate=f"{name}: %{{y:.3g}} at %{{x:.2f}}/mm<extra></extra>",
        )
    figure.update_yaxes(rangemode="tozero")
    return figure


def compute_bias_by_tissue(table: ResultsTable) -> MethodProfileData:
    """Mean error of each tissue in HU, with its sign, of the methods of the table; intervals over patients and seeds."""
    if not {*S.ERROR_COUNTS} & {*table.samples}:
        raise NotApplicable("The study's slices hold no errors by tissue.")
    methods = [method for method in shown_rows(table) if method.trials[0] != table.reference("full_dose")]
    samples = align(table, [trial for method in methods for trial in method.trials], table.claim_split)
    scored = [method for method in methods if set(method.trials) <= set(samples.trials)]
    blocks = []
    for tissue in S.TISSUES_HU:
        names = [f"{tissue}_error_{part}" for part in ("sum_hu", "pixels")]
        columns = [samples.values[name] for name in names if name in samples.values]
        if len(columns) < len(names) or not np.nansum(columns[1]):
            continue
        statistic = partial(_bias, columns[0], columns[1])
        score, low, high = draws_of_methods(samples, scored, statistic).interval()
        frame = pd.DataFrame({"metric": tissue, "score": score, "low": low, "high": high})
        blocks.append(frame.assign(name=[method.label for method in scored]))
    if not blocks:
        raise NotApplicable("The study's slices hold no errors by tissue.")
    titles = {tissue: f"{metric_info(f'bias_{tissue}').label} [HU], 0 is none" for tissue in S.TISSUES_HU}
    return MethodProfileData(table.claim_split, pd.concat(blocks, ignore_index=True), titles)


def _bias(sums: statistics.Array, pixels: statistics.Array, drawn: statistics.Resamples) -> statistics.Array:
    """``(draw, trial)`` of sums ``(slice, trial)``."""
    return signed_bias(*(drawn.sums(values) for values in (sums, pixels)))


def compute_image_quality_profile(table: ResultsTable) -> MethodProfileData:
    """The scores on inserted lesions of the methods of the table; d' with its interval over places and training runs."""
    found = image_quality(table)
    rows = []
    for method in shown_rows(table):
        of_method = found.loc[found.index.intersection(list(method.trials))]
        for metric in S.IMAGE_QUALITY_METRICS if len(of_method) else ():
            low, high = ends_over_runs(of_method, metric)
            score = of_method[metric].mean()
            rows.append({"metric": metric, "name": method.label, "score": score, "low": low, "high": high})
    frame = pd.DataFrame(rows)
    frame = frame[np.isfinite(frame["score"])] if len(frame) else frame
    if frame.empty:
        raise NotApplicable("None of the shown methods was measured on inserted lesions.")
    order = {metric: place for place, metric in enumerate(S.IMAGE_QUALITY_METRICS)}
    frame = frame.sort_values("metric", key=lambda names: names.map(order), kind="stable")
    return MethodProfileData(table.claim_split, frame.reset_index(drop=True))
