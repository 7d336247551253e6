"""Does an image metric predict the task? Rank correlations over trials."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis.figures import style
from analysis.metric_info import metric_info
from analysis.results_table import SEARCH_SPLIT, ResultsTable
from analysis.statistics import rank_correlation
from analysis.unavailable import Unavailable
from taskct_core import schema as S

TASK_METRICS = (S.PRIMARY_DICE, "dice_liver_patient_nnunet", "dice_tumour_patient_nnunet")
_MARKERS = dict(zip(TASK_METRICS, ("circle", "square-open", "diamond-open"), strict=True))


@dataclass(frozen=True)
class CorrelationData:
    """Rows of image_metric, task_metric, rho, low, high, count."""

    split: str
    rows: pd.DataFrame


def compute_rank_correlations(table: ResultsTable) -> CorrelationData:
    """Spearman's rho of every image metric with Dice, over the complete trials on validation, where they may be looked at."""
    image_metrics = [name for name in table.metrics if name.startswith(("psnr_", "ssim_"))]
    scores = table.complete_scores(SEARCH_SPLIT)
    scores = scores.loc[scores.index.intersection(table.distinct_runs)]
    rows = []
    for image_metric in image_metrics:
        for task_metric in TASK_METRICS:
            if task_metric not in table.metrics or table.is_repeated(task_metric):
                continue
            found = rank_correlation(scores[image_metric], scores[task_metric])
            if found is not None:
                rows.append({"image_metric": image_metric, "task_metric": task_metric, **vars(found)})
    if not rows:
        raise Unavailable(
            "A rank correlation needs five complete trials with different configurations and scores; "
            f"there are {len(scores)}."
        )
    return CorrelationData(SEARCH_SPLIT, pd.DataFrame(rows))


def draw_rank_correlations(data: CorrelationData) -> go.Figure:
    """Dots with 95 % intervals; right of zero a better image went with a better segmentation."""
    names = data.rows["image_metric"].unique().tolist()
    count = len(names)
    figure = style.figure(x="Spearman's rho", y="", height=140 + 44 * count)
    figure.add_vline(x=0, line={"color": style.NEUTRAL, "width": 1})
    for offset, (task_metric, group) in enumerate(data.rows.groupby("task_metric", sort=False)):
        places = [-names.index(name) + 0.22 * (1 - offset) for name in group["image_metric"]]
        figure.add_scatter(
            x=group["rho"].tolist(),
            y=places,
            error_x={
                "type": "data",
                "symmetric": False,
                "array": (group["high"] - group["rho"]).tolist(),
                "arrayminus": (group["rho"] - group["low"]).tolist(),
                "thickness": 1,
                "width": 3,
                "color": style.NEUTRAL,
            },
            mode="markers",
            name=metric_info(str(task_metric)).label,
            marker={"symbol": _MARKERS[str(task_metric)], "size": 9, "color": style.NEUTRAL},
            text=[
                f"{low:.2f} to {high:.2f}, {n} trials"
                for low, high, n in zip(group["low"], group["high"], group["count"], strict=True)
            ],
            hovertemplate="%{fullData.name}: %{x:.2f}<br>%{text}<extra></extra>",
        )
    figure.update_yaxes(tickvals=[-i for i in range(count)], ticktext=[metric_info(n).label for n in names])
    figure.update_xaxes(range=[-1.05, 1.05])
    return figure
