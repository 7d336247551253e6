"""The trade-off: two scores against each other, the non-dominated trials joined by a line."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis import pareto
from analysis.figures import style
from analysis.figures.points import (
    Unavailable,
    reference_points,
    reference_traces,
    series_traces,
    trial_points,
)
from analysis.results_table import ResultsTable
from taskct_core import schema as S


@dataclass(frozen=True)
class FrontData:
    """Points of a two-score chart.

    Attributes:
        points: one row a trial (see ``trial_points``) with ``on_front``.
        fronts: name of a front -> its trials, ordered by ``x``.
    """

    x: str
    y: str
    split: str
    points: pd.DataFrame
    references: pd.DataFrame
    fronts: dict[str, list[int]]


def compute_front(table: ResultsTable, x: str, y: str, split: str | None = None) -> FrontData | Unavailable:
    """Trials by two metrics on the split of claims (or the one named), with their common front."""
    return _compute(table, x, y, split, by_architecture=False)


def compute_fronts_by_architecture(
    table: ResultsTable, x: str, y: str, split: str | None = None
) -> FrontData | Unavailable:
    """The same with a front for each architecture; unavailable where there is only one."""
    data = _compute(table, x, y, split, by_architecture=True)
    if isinstance(data, FrontData) and data.points["architecture"].nunique() < 2:
        only = data.points["architecture"].iloc[0]
        return Unavailable(f"All trials use one architecture ({only}); the front above is already its front.")
    return data


def _compute(
    table: ResultsTable, x: str, y: str, split: str | None, by_architecture: bool
) -> FrontData | Unavailable:
    split = split or table.claim_split
    missing = [name for name in (x, y) if name not in table.metrics]
    if missing:
        return Unavailable(f"The results hold no finite value of {' and '.join(missing)}.")
    points = trial_points(table, split, (x, y))
    if points.empty:
        return Unavailable(f"No trial has finite {x} and {y} on the {split} split yet.")
    complete = points[points["status"] == S.COMPLETE]
    groups = complete.groupby("architecture") if by_architecture else [("all trials", complete)]
    fronts = {str(name): _front_trials(group, x, y) for name, group in groups if len(group)}
    on_front = {trial for front in fronts.values() for trial in front}
    points = points.assign(on_front=points["trial"].isin(on_front))
    return FrontData(x, y, split, points, reference_points(table, split, (x, y)), fronts)


def _front_trials(points: pd.DataFrame, x: str, y: str) -> list[int]:
    directions = [S.METRICS[x].direction, S.METRICS[y].direction]
    front = points[pareto.non_dominated(points[[x, y]].to_numpy(), directions)]
    return [int(trial) for trial in front.sort_values([x, y])["trial"]]


def draw_front(data: FrontData) -> go.Figure:
    """Scatter with the front as a line that steps nowhere: it only joins what was measured."""
    colours = style.architecture_colours(data.points["architecture"])
    figure = style.figure(x=style.metric_label(data.x), y=style.metric_label(data.y), height=480)
    by_trial = data.points.set_index("trial")
    for name, trials in data.fronts.items():
        front = by_trial.loc[trials]
        figure.add_scatter(
            x=front[data.x].tolist(),
            y=front[data.y].tolist(),
            mode="lines",
            name=f"front, {name}",
            line={"color": colours.get(name, style.NEUTRAL), "width": 2, "dash": "dot"},
            hoverinfo="skip",
            meta={
                "front": name,
                "architecture": name if name in colours and len(data.fronts) > 1 else None,
                "directions": [S.METRICS[data.x].direction, S.METRICS[data.y].direction],
            },
        )
    figure.add_traces(series_traces(data.points, data.x, data.y, colours))
    figure.add_traces(reference_traces(data.references, data.x, data.y))
    return figure
