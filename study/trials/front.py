"""Scoring a trial of mode ``front``: a few alphas after each epoch, its whole grid at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from analysis.pareto import hypervolume
from taskct_core import schema
from taskct_core.contracts.rows import Batch, EpochRow, SliceRow, epoch_row
from taskct_core.contracts.tables import write_arrays
from taskct_core.training.front import FrontTraining

Score = Callable[[], list[SliceRow]]  # scores one split with the network that is shown
Summarise = Callable[[Sequence[SliceRow]], dict[str, float]]
Point = Mapping[str, float]  # metrics by column

AXES = (schema.PRIMARY_DICE, schema.PRIMARY_PSNR)


def hypervolume_of_trial(points: Sequence[Point], origin: Point) -> dict[str, float]:
    """The area that a trial's points dominate beyond ``origin``, by its column.

    Args:
        points: metrics of the trial at each of its alphas, or of its only one.
        origin: metrics of plain FBP on the same slices.
    """
    dice_and_psnr = np.array([[point[name] for name in AXES] for point in points])
    directions = [schema.METRICS[name].direction for name in AXES]
    return {schema.HYPERVOLUME: hypervolume(dice_and_psnr, [origin[name] for name in AXES], directions)}


def score_epoch(front: FrontTraining, score: Score, summarise: Summarise, origin: Point) -> dict[str, float]:
    """Scores of the epoch that was trained last, and of the whole trial once no epoch is left.

    Args:
        front: after ``train_epoch``.
        score: of the validation split.
        summarise: rows of slices -> metrics by column.
        origin: see ``hypervolume_of_trial``.
    """
    rows: dict[float, list[SliceRow]] = {}
    for alpha in front.epoch_alphas:
        front.show_while_training(alpha)
        rows[alpha] = score()
    points = [summarise(scored) for scored in rows.values()]
    columns = points[0] | front.keep(rows, points[0]) | hypervolume_of_trial(points, origin)
    if front.epoch < front.config.epochs:
        return columns
    front.settle(score, summarise)
    points = [front.at(alpha).scores for alpha in front.config.front_alphas]
    whole = {schema.KEPT_EPOCH: front.epoch, **hypervolume_of_trial(points, origin)}
    return columns | summarise(front.shown_rows) | whole


def final_rows(
    front: FrontTraining, split: str, score: Score, summarise: Summarise, origin: Point
) -> tuple[list[EpochRow], list[SliceRow]]:
    """The trial's own row on a split and one for each of its alphas, and the slices' rows of the first.

    Args:
        front: settled.
        split: that ``score`` scores; validation is scored already.
        score, summarise, origin: see ``score_epoch``.
    """
    own = front.at(front.config.alpha).position
    if split == "validation":
        scores = {candidate.position: candidate.scores for candidate in front.path_candidates}
        slices = front.shown_rows
    else:
        scored = {position: _scored_at(front, position, score) for position in _positions(front)}
        scores = {position: summarise(rows) for position, rows in scored.items()}
        slices = scored[own]
    points = {alpha: scores[front.at(alpha).position] for alpha in front.config.front_alphas}
    area = hypervolume_of_trial(list(points.values()), origin)
    rows = [epoch_row(scores[own], area)]
    rows += [epoch_row({schema.ALPHA: alpha}, point, area) for alpha, point in points.items()]
    return rows, slices


def _positions(front: FrontTraining) -> list[float]:
    """Where the networks of the trial's alphas lie, each once: several alphas may have the same."""
    alphas = (front.config.alpha, *front.config.front_alphas)
    return sorted({front.at(alpha).position for alpha in alphas})


def _scored_at(front: FrontTraining, position: float, score: Score) -> list[SliceRow]:
    front.show(position)
    return score()


def write_front_panel(path: Path, front: FrontTraining, shown: Batch) -> None:
    """Write what a front trial makes of the shown slices at each of its alphas.

    Arrays ``alpha (A,)``, ``image (A, K, H, W)`` in normalised attenuation and ``prediction`` alike.
    """
    images, predictions = [], []
    for alpha in front.config.front_alphas:
        front.show_alpha(alpha)
        image = front.reconstruct(shown)
        images.append(image.squeeze(1).cpu().numpy().astype(np.float16))
        predictions.append(front.frozen_task_network.predict(image).cpu().numpy().astype(np.uint8))
    front.show_alpha(front.config.alpha)
    write_arrays(
        path,
        alpha=np.array(front.config.front_alphas),
        image=np.stack(images),
        prediction=np.stack(predictions),
    )
