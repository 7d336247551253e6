"""Every figure of a report: ``FIGURES[name]`` knows how to compute its data and how to draw it.

A ``compute_x(table)`` returns plain data, or raises ``Unavailable`` with the reason in words; ``draw_x(data)``
returns a Plotly figure. Adding a figure is one file and one entry here; the report, the exports and the
conformance tests pick it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import plotly.graph_objects as go

from analysis.figures.alpha import compute_alpha_curve, draw_alpha_curve
from analysis.figures.attainment import compute_attainment, draw_attainment
from analysis.figures.continuous_front import compute_continuous_front, draw_continuous_front
from analysis.figures.correlation import compute_rank_correlations, draw_rank_correlations
from analysis.figures.differences import (
    compute_architecture_differences,
    compute_differences,
    compute_patient_differences,
    draw_differences,
    draw_patient_differences,
)
from analysis.figures.front import draw_front
from analysis.figures.front_data import (
    compute_front,
    compute_front_of_objectives,
    compute_fronts_by_architecture,
    compute_tested_front,
)
from analysis.figures.history import (
    compute_hypervolume,
    compute_learning_curves,
    draw_hypervolume,
    draw_learning_curves,
)
from analysis.figures.image_panels import compute_image_panels, draw_image_panels
from analysis.figures.image_quality import (
    compute_bias_by_tissue,
    compute_frequency_curves,
    compute_image_quality_profile,
    compute_lesions_against_dice,
    draw_frequency_curves,
    draw_lesions_against_dice,
)
from analysis.figures.judges import compute_judges, draw_judges
from analysis.figures.method_profiles import compute_method_profiles, draw_method_profiles
from analysis.figures.over_dose import compute_over_dose, draw_alpha_over_dose, draw_over_dose
from analysis.figures.parameters import compute_importance, compute_parallel, draw_importance, draw_parallel
from analysis.metric_info import metric_info
from analysis.results_table import ResultsTable
from taskct_core.schema import (
    AUDIT_NETWORK_SUFFIX,
    METRICS,
    OWN_NETWORK_SUFFIX,
    PRIMARY_DICE,
    PRIMARY_PSNR,
    PRIMARY_SSIM,
)

IMAGES = "images"  # the page shows these in a grid of its own, and more slices of them
BEYOND_DICE = (
    "surface_dice_liver",
    "surface_dice_tumour",
    "hd95_liver",
    "hd95_tumour",
    "tumour_f1",
    "volume_error_liver",
    "volume_error_tumour",
)
ALPHA_METRICS = (
    PRIMARY_DICE,
    PRIMARY_PSNR,
    PRIMARY_SSIM,
    "dice_liver_patient_nnunet",
    "dice_tumour_patient_nnunet",
    "psnr_window",
)
# Bias and volume errors have charts of their own above; over alpha they would add a dozen to those that few open.
_FURTHER_ALPHA_METRICS = tuple(
    name for name in METRICS if name not in ALPHA_METRICS and not name.startswith(("bias_", "volume_error_"))
)


@dataclass(frozen=True)
class FigureSpec:
    """A figure's place in the report, its title, how to read it, and its two functions.

    ``has_legend``: in a section that has a key to trials, for what its lines are is not in that key.
    """

    section: str
    title: str
    caption: str
    compute: Callable[[ResultsTable], Any]
    draw: Callable[[Any], go.Figure]
    has_legend: bool = False


_POINTS_CAPTION = (
    "Validation split, on which trials are chosen. Each marker is a trial, its colour is alpha; the dotted line joins the trials that no other complete trial beats in both "
    "scores. Crosses on them are 95 % intervals over patients, if there are several and they fit the chart. Open markers are trials that are not "
    "complete; the dashed line is the full-dose image's score."
)
_FRONT_CAPTION = f"{_POINTS_CAPTION} Up and to the right is better."
_TESTED_CAPTION = (
    "Test split, which no choice has seen. Only trials that validation chose are shown, and what they are compared with: "
    "on validation the best of many look better than they are, and who picked from the test scores of all would repeat "
    "that here. Crosses are 95 % intervals over patients, if there are several and they fit the chart; the dashed line is the full-dose image's "
    "score."
)
ALPHA_CAPTION = (
    "Validation split: by these curves an alpha may be chosen. The axis is the one that alpha was searched on. Grey dashes: references. Lines join configurations that differ only in alpha (mean over seeds, band "
    "from lowest to highest seed). Where the search swept no such set, lines are medians and bands "
    "quartiles of at least three trials in a range of alpha, over which the other parameters vary too; "
    "with fewer trials there is no line."
)
_DIFFERENCE_CAPTION = (
    "Differences of paired scores with 95 % intervals over what the table's intervals are over. "
    "Filled: p < 0.05 after Holm's correction over all pairs and metrics shown, and at least 6 patients."
)
_WITHIN_ARCHITECTURES_CAPTION = (
    "Of each architecture the recommended training with the task loss minus the best without, both chosen on validation; "
    "networks that train a task network of their own are left out. Intervals and marks as above, corrected by themselves."
)
OVER_DOSE_CAPTION = (
    "At each dose the recommended trial and the best one without task loss are those that validation chose there; scores "
    "are of the test split where there is one, bars 95 % intervals over patients and seeds."
)
_IMPORTANCE_CAPTION = (
    "How much worse a random forest predicts held-out trials when this parameter is shuffled, on the "
    "validation split. Whiskers: standard deviation over folds and shuffles."
)
_LEARNING_CAPTION = (
    "Validation split. A cross marks where a trial was pruned, a ring one that is still running. Of more than 300 trials "
    "the front and the best are drawn. A point of a trial that is repeated is the mean of its runs so far."
)


def _front(x: str) -> FigureSpec:
    name = metric_info(x).label
    compute = partial(compute_front, x=x, y=PRIMARY_DICE)
    return FigureSpec("trade-off", f"Dice against {name}", _FRONT_CAPTION, compute, draw_front)


def _tested(x: str) -> FigureSpec:
    title = f"Dice against {metric_info(x).label}: what validation chose, on the test split"
    compute = partial(compute_tested_front, x=x, y=PRIMARY_DICE)
    return FigureSpec("trade-off", title, _TESTED_CAPTION, compute, draw_front)


def _over_dose(what: str, title: str) -> FigureSpec:
    draw = partial(draw_over_dose, what=what)
    return FigureSpec("trade-off", title, OVER_DOSE_CAPTION, compute_over_dose, draw)


def _alpha(metric: str) -> FigureSpec:
    section = "alpha" if metric in ALPHA_METRICS else "alpha-more"
    compute = partial(compute_alpha_curve, metric=metric)
    return FigureSpec(
        section, metric_info(metric).label, metric_info(metric).policy, compute, draw_alpha_curve
    )


def _differences(metric: str) -> FigureSpec:
    compute = partial(compute_differences, metric=metric)
    title = f"Differences in {metric_info(metric).label}"
    return FigureSpec("methods-compared", title, _DIFFERENCE_CAPTION, compute, draw_differences)


def _within_architectures(metric: str) -> FigureSpec:
    compute = partial(compute_architecture_differences, metric=metric)
    title = f"What the task loss changes in each architecture: {metric_info(metric).label}"
    return FigureSpec("methods-compared", title, _WITHIN_ARCHITECTURES_CAPTION, compute, draw_differences)


def _importance(objective: int) -> FigureSpec:
    compute = partial(compute_importance, objective=objective)
    title = f"Importance for objective {objective + 1}"
    return FigureSpec("parameters", title, _IMPORTANCE_CAPTION, compute, draw_importance)


def _hypervolume(against: Literal["trials", "seconds"]) -> FigureSpec:
    return FigureSpec(
        "search",
        f"Hypervolume over {against}",
        "How much of the objective space the validation front dominates, measured from the reference point. "
        "A flat end says that further trials added little.",
        partial(compute_hypervolume, against=against),
        draw_hypervolume,
    )


def _learning(metric: str) -> FigureSpec:
    compute = partial(compute_learning_curves, metric=metric)
    title = f"{metric_info(metric).label} in the course of a trial"
    return FigureSpec("search", title, _LEARNING_CAPTION, compute, draw_learning_curves)


FIGURES: dict[str, FigureSpec] = {
    "front_dice_psnr": _front(PRIMARY_PSNR),
    "front_dice_psnr_tested": _tested(PRIMARY_PSNR),
    "front_dice_ssim": _front(PRIMARY_SSIM),
    "front_dice_ssim_tested": _tested(PRIMARY_SSIM),
    "front_objectives": FigureSpec(
        "trade-off", "The search's objectives", _POINTS_CAPTION, compute_front_of_objectives, draw_front
    ),
    "continuous_front": FigureSpec(
        "trade-off",
        "Fronts of single trials",
        "Validation split. A line a trial of mode front: one training that answers for every alpha. Its markers are the alphas that it "
        "was scored at; the ring is where the slider below stands.",
        partial(compute_continuous_front, x=PRIMARY_PSNR, y=PRIMARY_DICE),
        draw_continuous_front,
    ),
    "attainment": FigureSpec(
        "trade-off",
        "The front over seeds",
        "What half of the seeds attain at least (attainment surface) with the configurations that validation chose, on the "
        "test split where there is one. The band holds 95 % of the surfaces of drawn patients and seeds.",
        partial(compute_attainment, x=PRIMARY_PSNR, y=PRIMARY_DICE),
        draw_attainment,
        has_legend=True,
    ),
    "gain_over_dose": _over_dose("gain", "What task-adaptive training gains, over dose"),
    "gap_over_dose": _over_dose("gap", "The gap that is closed, over dose"),
    "cost_over_dose": _over_dose("cost", "What it costs in PSNR, over dose"),
    "alpha_over_dose": FigureSpec(
        "trade-off",
        "The recommended alpha, over dose",
        OVER_DOSE_CAPTION,
        compute_over_dose,
        draw_alpha_over_dose,
    ),
    "fronts_by_architecture": FigureSpec(
        "trade-off",
        "A front for each architecture",
        "The same scores with the non-dominated trials of each architecture joined by its own line.",
        partial(compute_fronts_by_architecture, x=PRIMARY_PSNR, y=PRIMARY_DICE),
        draw_front,
    ),
    "differences_dice": _differences(PRIMARY_DICE),
    "differences_psnr": _differences(PRIMARY_PSNR),
    "differences_ssim": _differences(PRIMARY_SSIM),
    "within_architectures_dice": _within_architectures(PRIMARY_DICE),
    "within_architectures_psnr": _within_architectures(PRIMARY_PSNR),
    "patient_differences": FigureSpec(
        "methods-compared",
        "Patient by patient",
        "The first pair of the charts above, for each patient alone: do all agree in direction? A patient "
        "without tumour in truth and in both predictions has no tumour Dice.",
        compute_patient_differences,
        draw_patient_differences,
    ),
    "beyond_dice": FigureSpec(
        "methods-compared",
        "Outlines, lesions and volumes",
        "What Dice does not show: how far outlines lie apart, which lesions are found, how wrong volumes are. Lines are "
        "95 % intervals over what the table's are over. What is empty in truth and prediction has no score; where only one "
        "of them is, surface Dice is 0 and HD95 the slice's diagonal; a volume error needs a true volume.",
        partial(compute_method_profiles, metrics=BEYOND_DICE),
        draw_method_profiles,
    ),
    "judge_audit": FigureSpec(
        "methods-compared",
        "Does a second task network agree?",
        "A marker a trial that validation chose; on the dashed diagonal the frozen network and one that took no part in the training "
        "agree. References show how the two differ on images that were not made for either. A trial that lies "
        "further below the diagonal than they do has learnt to please the frozen network.",
        partial(compute_judges, suffix=AUDIT_NETWORK_SUFFIX),
        draw_judges,
    ),
    "judge_own": FigureSpec(
        "methods-compared",
        "The frozen network and the trial's own",
        "Trials that trained a task network of their own, judged by it and by "
        "the frozen one. Above the dashed diagonal the images suit their own network better: the two learnt "
        "to work together, which is no quality that another reader of the images would see.",
        partial(compute_judges, suffix=OWN_NETWORK_SUFFIX),
        draw_judges,
    ),
    "image_panels": FigureSpec(
        IMAGES,
        "Images, masks and errors of one slice",
        "Above: the images in the liver window. Middle: what the frozen task network draws on them, the truth "
        "last. Below: image minus full dose.",
        compute_image_panels,
        draw_image_panels,
    ),
    **{f"alpha_{metric}": _alpha(metric) for metric in (*ALPHA_METRICS, *_FURTHER_ALPHA_METRICS)},
    "rank_correlations": FigureSpec(
        "correlation",
        "Image metrics against Dice",
        "Validation split. Spearman's rho over complete trials with 95 % intervals (Bonett & Wright 2000). Near 0 or negative: "
        "choosing trials by that image metric does not choose good segmentations.",
        compute_rank_correlations,
        draw_rank_correlations,
    ),
    "lesions_against_dice": FigureSpec(
        "correlation",
        "Does Dice's winner also see lesions better?",
        "Detectability d' of a channelised Hotelling observer for lesions that were inserted into livers before the scan, at places and "
        "of a look that it knows; whiskers are 95 % intervals over the places. Up: lesions are easier to tell from none. What is "
        "named best was best on validation.",
        compute_lesions_against_dice,
        draw_lesions_against_dice,
    ),
    "image_quality_profile": FigureSpec(
        "correlation",
        "Detectability, noise and sharpness in the liver",
        "Measured on the inserted lesions and discs, method by method; lines of d' are 95 % intervals over places and training "
        "runs. Less noise with a lower mean frequency or a lower "
        "TTF is noise that was smoothed away together with detail.",
        compute_image_quality_profile,
        draw_method_profiles,
    ),
    "noise_power": FigureSpec(
        "correlation",
        "Noise power spectrum in the liver",
        "From differences of two scans of the same place, radially averaged (AAPM TG-233).",
        partial(compute_frequency_curves, curve="nps"),
        draw_frequency_curves,
    ),
    "task_transfer": FigureSpec(
        "correlation",
        "Task transfer function",
        "Which share of an inserted disc's contrast the images keep, over spatial frequency (AAPM TG-233). Below 1 at the "
        "left end: contrast is lost; above 1: it is exaggerated.",
        partial(compute_frequency_curves, curve="ttf"),
        draw_frequency_curves,
    ),
    "bias_by_tissue": FigureSpec(
        "correlation",
        "Bias in HU by tissue",
        "Mean error against the full-dose image, of pixels that no other tissue touches; right of 0 images are too bright. "
        "Lines are 95 % intervals over what the methods table's are over.",
        compute_bias_by_tissue,
        draw_method_profiles,
    ),
    "parallel": FigureSpec(
        "parameters",
        "All configurations",
        "A line a trial over the searched parameters and its scores; strong lines are the front. Below an "
        "axis: the parameter does not apply to that trial.",
        compute_parallel,
        draw_parallel,
    ),
    "importance_1": _importance(0),
    "importance_2": _importance(1),
    "importance_3": _importance(2),
    "hypervolume_trials": _hypervolume("trials"),
    "hypervolume_seconds": _hypervolume("seconds"),
    "learning_dice": _learning(PRIMARY_DICE),
    "learning_psnr": _learning(PRIMARY_PSNR),
}

__all__ = ["ALPHA_CAPTION", "FIGURES", "IMAGES", "FigureSpec"]
