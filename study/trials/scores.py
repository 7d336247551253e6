"""The scores of a trial: of each epoch on the validation split, of the finished trial on all that there is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from study.trials.front import final_rows, hypervolume_of_trial, score_epoch
from study.trials.inputs import TrialInputs, Worker
from study.trials.plugins import own_scores
from taskct_core import schema
from taskct_core.contracts.rows import EpochRow, SliceRow, epoch_row
from taskct_core.image_quality.measure import ImageQuality, measure
from taskct_core.metrics import summarise
from taskct_core.metrics.slices import evaluate_images
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.front import FrontTraining
from taskct_core.training.trial import Training


def epoch_scores(
    training: Training | FrontTraining, inputs: TrialInputs, worker: Worker, more: int
) -> dict[str, float]:
    """Metrics and losses of the epoch on the validation split, and which epoch is kept so far.

    ``more``: how many epochs follow.
    """
    if isinstance(training, FrontTraining):
        scores = score_epoch(
            training,
            lambda: slice_rows(training, inputs, "validation", worker),
            partial(_scores, inputs),
            _fbp_scores(training, inputs, "validation", worker),
        )
        return scores | image_quality_of(training, inputs, "validation", worker).columns
    rows = slice_rows(training, inputs, "validation", worker, more)
    scores = _scores(inputs, rows) | _single_hypervolume(training, inputs, "validation", worker, rows)
    scores |= image_quality_of(training, inputs, "validation", worker).columns
    return scores | training.keep(rows, scores)


def final_scores(
    training: Training | FrontTraining,
    inputs: TrialInputs,
    split: str,
    worker: Worker,
    audit: TaskNetwork | None,
) -> tuple[list[EpochRow], list[SliceRow]]:
    """The finished trial's rows on a split, its own first, and those of the split's slices."""
    score = partial(slice_rows, training, inputs, split, worker)
    if isinstance(training, FrontTraining):
        origin = _fbp_scores(training, inputs, split, worker)
        found, rows = final_rows(training, split, score, partial(_scores, inputs), origin)
        if audit is not None:  # it judges the network of the trial's own alpha
            training.show_alpha(training.config.alpha)
            rows = score(audit=audit)
            found[0] = epoch_row(found[0], _scores(inputs, rows))
        return found, rows
    rows = training.kept.rows if split == "validation" and audit is None else score(audit=audit)
    scores = _scores(inputs, rows) | _single_hypervolume(training, inputs, split, worker, rows)
    return [epoch_row(scores)], rows


def image_quality_of(
    training: Training | FrontTraining, inputs: TrialInputs, split: str, worker: Worker
) -> ImageQuality:
    """Image quality of a trial, of a front at its first alpha while it trains and then at its own.

    Each worker measures all of it, so that all keep the same epoch.
    """
    probes = inputs.probes.get(split, [])
    if probes and isinstance(training, FrontTraining):
        if training.epoch < training.config.epochs:
            training.show_while_training(training.epoch_alphas[0])
        else:
            training.show_alpha(training.config.alpha)
    return measure(probes, training.reconstruct, inputs.image_quality, worker.device)


def slice_rows(
    training: Training | FrontTraining,
    inputs: TrialInputs,
    split: str,
    worker: Worker,
    more: int = 0,
    audit: TaskNetwork | None = None,
) -> list[SliceRow]:
    """Rows of all slices of a split, from all workers; ``more``: see ``Feed``, ``audit``: see ``Training.evaluate``."""
    batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=worker.share, more=more)
    rows = [row for part in worker.gather(training.evaluate(batches, audit)) for row in part]
    return sorted(rows, key=lambda row: (row[schema.PATIENT], row[schema.SLICE_INDEX]))


def _scores(inputs: TrialInputs, rows: Sequence[SliceRow]) -> dict[str, float]:
    return summarise(rows) | own_scores(inputs.objectives, rows)


def _single_hypervolume(
    training: Training, inputs: TrialInputs, split: str, worker: Worker, rows: Sequence[SliceRow]
) -> dict[str, float]:
    """The hypervolume of a trial of one alpha, where the study searches by it."""
    if schema.HYPERVOLUME not in inputs.objectives:
        return {}
    return hypervolume_of_trial([summarise(rows)], _fbp_scores(training, inputs, split, worker))


def _fbp_scores(
    training: Training | FrontTraining, inputs: TrialInputs, split: str, worker: Worker
) -> dict[str, float]:
    """Metrics of plain FBP: what a trial's hypervolume begins at."""
    batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=worker.share)
    rows = evaluate_images(training.frozen_task_network, batches, schema.FBP, worker.device)
    return summarise([row for part in worker.gather(rows) for row in part])
