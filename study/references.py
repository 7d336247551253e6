"""The bounds of a comparison: the full-dose image, and reconstructions without learning.

Scored once a study with the metrics and the task network of its trials. FBP is the dataset's own. TV and SIRT
need the sinograms (``simulation.store_sinogram``); their settings are tuned on validation slices, for PSNR, as
nobody would use them untuned. Writes references.json, references-samples.parquet and panels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from study.feed import Batch, Feed, Share
from study.files import write_json
from study.panels import write_panel, write_panel_truth
from study.plugins import own_scores
from study.provenance import provenance
from study.remote import open_folder
from study.results import REFERENCE_SAMPLES_FILE, REFERENCES_FILE
from study.trial import TrialInputs, plain_row, save_samples
from taskct_core import schema
from taskct_core.classical import CLASSICAL, tune
from taskct_core.metrics import summarise
from taskct_core.projection import RayTransform
from taskct_core.task_networks import load_task_network
from taskct_core.training import evaluate

IMAGES = {"full_dose": schema.FULL_DOSE, "fbp": schema.FBP}  # references that the dataset holds
ITERATIVE = ("tv", "sirt")  # references computed from the sinogram
_TUNING_SLICES = 8
Row = dict[str, Any]
Reconstruct = Callable[[Mapping[str, Any]], torch.Tensor]


def write_references(
    study_folder: Path, inputs: TrialInputs, on_row: Callable[[Row], None] = lambda row: None
) -> None:
    """Score the references on the validation and test slices, unless the folder has them already.

    ``on_row`` is called with the scores of each reference on each split: TV and SIRT take minutes.
    """
    if (study_folder / REFERENCES_FILE).is_file():
        return
    task_network, card = load_task_network(open_folder(inputs.task_network))
    rows: list[Row] = []
    samples: list[Row] = []
    for number, (method, reconstruct, settings) in enumerate(_references(inputs), start=1):
        start = time.perf_counter()
        for split in ("validation", "test"):
            if split not in inputs.feeds:
                continue
            batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=Share())
            scored = evaluate(batches, reconstruct, {"": task_network})
            identity = {schema.TRIAL: -number, schema.METHOD: method, schema.SPLIT: split}
            samples += [identity | row for row in scored]
            cost = {schema.EPOCH: 0, schema.SECONDS: time.perf_counter() - start, schema.PARAMETERS: 0}
            rows.append(
                {
                    **identity,
                    **cost,
                    schema.REFERENCE_SETTINGS: settings,
                    **_hashes(inputs, card.content_hash),
                }
                | summarise(scored)
                | own_scores(inputs.objectives, scored)
                | provenance("cpu")
            )
            on_row(rows[-1])
        if inputs.panel:
            image = reconstruct(inputs.panel)
            path = study_folder / schema.PANELS_FOLDER / f"{method}.npz"
            write_panel(path, image, task_network.predict(image))
    if inputs.panel:
        write_panel_truth(study_folder / schema.PANELS_FOLDER, inputs.panel)
    save_samples(study_folder / REFERENCE_SAMPLES_FILE, samples)
    write_json(study_folder / REFERENCES_FILE, [plain_row(row) for row in rows])


def _hashes(inputs: TrialInputs, task_network_hash: str) -> Row:
    return {
        schema.DATA_HASH: inputs.data_hash,
        schema.TASK_NETWORK_HASH: task_network_hash,
        schema.METRIC_POLICY: schema.POLICY_TEXT,
    }


def _references(inputs: TrialInputs) -> Iterator[tuple[str, Reconstruct, str]]:
    """Method, how it makes images of a batch, and the settings it has; the next is tuned when asked for."""
    for method, column in IMAGES.items():
        yield method, _stored(column), ""
    tuning = _first_slices(inputs.feeds["validation"], _TUNING_SLICES)
    if schema.SINOGRAM not in tuning:
        return
    transform = RayTransform(inputs.geometry)
    for method in ITERATIVE:
        settings = tune(method, transform, tuning[schema.SINOGRAM], tuning[schema.FULL_DOSE])
        described = ", ".join(f"{name} = {value:g}" for name, value in settings.items())
        yield method, _iterative(method, transform, settings), described


def _stored(column: str) -> Reconstruct:
    def reconstruct(batch: Mapping[str, Any]) -> torch.Tensor:
        image: torch.Tensor = batch[column]
        return image

    return reconstruct


def _iterative(method: str, transform: RayTransform, settings: dict[str, Any]) -> Reconstruct:
    return lambda batch: CLASSICAL[method](transform, batch[schema.SINOGRAM], **settings)


def _first_slices(feed: Feed, count: int) -> Batch:
    """Some slices of a split, the same each time."""
    return next(iter(feed.shuffled(count, seed=0, epoch=0, share=Share())))
