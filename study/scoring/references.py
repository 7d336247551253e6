"""The bounds of a comparison: the full-dose image, and reconstructions without learning.

Scored once a study with the metrics and the task network of its trials. FBP is the dataset's own. TV and SIRT
need the sinograms (``simulation.store_sinogram``); their settings are tuned on validation slices, for PSNR, as
nobody would use them untuned. Writes references.json, references-samples.parquet and panels.
"""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

import torch

from study.data.batches import Share
from study.data.feed import Feed
from study.provenance import provenance
from study.trials.panels import write_panel, write_panel_truth
from study.trials.plugins import own_scores
from study.trials.trial import TrialInputs, save_samples
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import Batch, EpochRow, SliceRow, epoch_row, read_rows, slice_row, write_rows
from taskct_core.contracts.tables import read_frame
from taskct_core.errors import DataError
from taskct_core.metrics import summarise
from taskct_core.projection import RayTransform
from taskct_core.reconstructors.classical import CLASSICAL, tune
from taskct_core.task_networks import load_task_network
from taskct_core.training import evaluate

IMAGES = {"full_dose": schema.FULL_DOSE, "fbp": schema.FBP}  # references that the dataset holds
ITERATIVE = ("tv", "sirt")  # references computed from the sinogram
_TUNING_SLICES = 8
Reconstruct = Callable[[Batch], torch.Tensor]


def write_references(
    study_folder: StudyFolder | Path,
    inputs: TrialInputs,
    on_row: Callable[[EpochRow], None] = lambda row: None,
) -> None:
    """Score the references on the validation and test slices, but for those that the folder has already.

    ``on_row`` is called with the scores of each reference on each split: TV and SIRT take minutes, so each is
    kept as soon as it is scored. Where the files are damaged, all are scored again.
    """
    task_network, card = load_task_network(open_folder(inputs.task_network), inputs.trust)
    study = StudyFolder.at(study_folder)
    rows, samples = _known(study)
    for number, (method, make) in enumerate(_references(inputs).items(), start=1):
        if any(row[schema.METHOD] == method for row in rows):
            continue
        start = time.perf_counter()
        reconstruct, settings = make()
        for split in ("validation", "test"):
            if split not in inputs.feeds:
                continue
            batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=Share())
            scored = evaluate(batches, reconstruct, {"": task_network})
            identity = {schema.TRIAL: -number, schema.METHOD: method, schema.SPLIT: split}
            samples += [slice_row(identity, row) for row in scored]
            cost = {schema.EPOCH: 0, schema.SECONDS: time.perf_counter() - start, schema.PARAMETERS: 0}
            described = {schema.REFERENCE_SETTINGS: settings} | _hashes(inputs, card.content_hash)
            scores = summarise(scored) | own_scores(inputs.objectives, scored)
            rows.append(epoch_row(identity, cost, described, scores, provenance("cpu")))
            on_row(rows[-1])
        if inputs.panel:
            image = reconstruct(inputs.panel)
            write_panel(study.panel(method), image, task_network.predict(image))
            write_panel_truth(study, inputs.panel)
        save_samples(study.reference_samples, samples)
        write_rows(study.references, rows)


def _known(study: StudyFolder) -> tuple[list[EpochRow], list[SliceRow]]:
    """Rows of the references that are scored already, and of their slices; none where a file is damaged."""
    try:
        rows = read_rows(study.references)
        if not rows:
            return [], []
        samples = read_frame(study.reference_samples)
        methods = {row[schema.METHOD] for row in rows}
        slices: list[SliceRow] = samples[samples[schema.METHOD].isin(methods)].to_dict("records")
    except (DataError, KeyError) as error:
        warnings.warn(f"The references are scored again: {error}", stacklevel=2)
        return [], []
    return rows, slices


def _hashes(inputs: TrialInputs, task_network_hash: str) -> dict[str, str]:
    return {
        schema.DATA_HASH: inputs.data_hash,
        schema.TASK_NETWORK_HASH: task_network_hash,
        schema.METRIC_POLICY: schema.POLICY_TEXT,
    }


def _references(inputs: TrialInputs) -> dict[str, Callable[[], tuple[Reconstruct, str]]]:
    """Method -> what makes it: how it turns a batch into images, and the settings it was tuned to."""
    references: dict[str, Callable[[], tuple[Reconstruct, str]]] = {
        method: functools.partial(_stored, column) for method, column in IMAGES.items()
    }
    tuning = _first_slices(inputs.feeds["validation"], _TUNING_SLICES)
    if schema.SINOGRAM in tuning:
        for method in ITERATIVE:
            references[method] = functools.partial(_iterative, method, inputs, tuning)
    return references


def _stored(column: str) -> tuple[Reconstruct, str]:
    return itemgetter(column), ""


def _iterative(method: str, inputs: TrialInputs, tuning: Batch) -> tuple[Reconstruct, str]:
    transform = RayTransform(inputs.geometry)
    settings = tune(method, transform, tuning[schema.SINOGRAM], tuning[schema.FULL_DOSE])
    described = ", ".join(f"{name} = {value:g}" for name, value in settings.items())
    return lambda batch: CLASSICAL[method](transform, batch[schema.SINOGRAM], **settings), described


def _first_slices(feed: Feed, count: int) -> Batch:
    """Some slices of a split, the same each time."""
    return next(iter(feed.shuffled(count, seed=0, epoch=0, share=Share())))
