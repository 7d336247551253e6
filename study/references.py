"""The bounds of a comparison: the full-dose image, and plain reconstructions without learning.

Scored once a study with the metrics and the task network of its trials. Writes references.json,
references-samples.parquet and their panels into the study folder.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from study.feed import Share
from study.files import write_json
from study.panels import write_panel, write_panel_truth
from study.provenance import provenance
from study.results import REFERENCE_SAMPLES_FILE, REFERENCES_FILE
from study.trial import TrialInputs, plain_row, save_samples
from taskct_core import schema
from taskct_core.metrics import summarise
from taskct_core.task_networks import load_task_network
from taskct_core.training import evaluate_images

IMAGES = {"full_dose": schema.FULL_DOSE, "fbp": schema.FBP}
Row = dict[str, Any]


def write_references(study_folder: Path, inputs: TrialInputs) -> None:
    """Score the references on the validation and test slices, unless the folder has them already."""
    if (study_folder / REFERENCES_FILE).is_file():
        return
    task_network, card = load_task_network(Path(inputs.task_network))
    rows: list[Row] = []
    samples: list[Row] = []
    for number, (method, column) in enumerate(IMAGES.items(), start=1):
        start = time.perf_counter()
        for split in ("validation", "test"):
            if split not in inputs.feeds:
                continue
            batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=Share())
            scored = evaluate_images(task_network, batches, column)
            identity = {schema.TRIAL: -number, schema.METHOD: method, schema.SPLIT: split}
            samples += [identity | row for row in scored]
            rows.append(
                identity
                | {
                    schema.EPOCH: 0,
                    schema.SECONDS: time.perf_counter() - start,
                    schema.PARAMETERS: 0,
                    schema.DATA_HASH: inputs.data_hash,
                    schema.TASK_NETWORK_HASH: card.content_hash,
                    schema.METRIC_POLICY: schema.POLICY_TEXT,
                }
                | summarise(scored)
                | provenance("cpu")
            )
        if inputs.panel:
            image = inputs.panel[column]
            write_panel(
                study_folder / schema.PANELS_FOLDER / f"{method}.npz", image, task_network.predict(image)
            )
    if inputs.panel:
        write_panel_truth(study_folder / schema.PANELS_FOLDER, inputs.panel)
    save_samples(study_folder / REFERENCE_SAMPLES_FILE, samples)
    write_json(study_folder / REFERENCES_FILE, [plain_row(row) for row in rows])
