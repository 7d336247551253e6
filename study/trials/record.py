"""What a finished trial leaves in its folder: its rows, those of its slices, pictures, and the network itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from study.provenance import provenance
from study.trials.front import write_front_panel
from study.trials.inputs import TrialInputs, Worker, load_audit
from study.trials.panels import write_panel
from study.trials.scores import final_scores, image_quality_of
from taskct_core import schema
from taskct_core.apply.card import ReconstructorCard, save_reconstructor, scores_of
from taskct_core.apply.noise import noise_hu
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import Batch, EpochRow, SliceRow, epoch_row, slice_row, write_rows
from taskct_core.contracts.tables import write_table
from taskct_core.errors import StudyError
from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.reconstructors import count_parameters, inputs_of
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.front import FrontTraining, trained_reconstructor
from taskct_core.training.trial import Training


def write_record(
    training: Training | FrontTraining,
    folder: TrialFolder,
    inputs: TrialInputs,
    worker: Worker,
    identity: EpochRow,
) -> None:
    """Score the kept reconstructor on test slices, too, and prove the task network untouched.

    ``identity``: the columns that all rows of the trial share.

    Raises:
        StudyError: if a task network that judged changed.
    """
    _require_unchanged(identity[schema.TASK_NETWORK_HASH], [training.frozen_task_network])
    if isinstance(training, Training):
        _require_unchanged(identity.get(schema.FURTHER_JUDGES_HASH, ""), training.judges.all[1:])
    epoch = training.epoch
    if isinstance(training, Training):
        training.use_kept()
        epoch = training.kept.epoch
    audit, audit_hash = load_audit(inputs)
    identity = epoch_row(identity, audit_hash, {schema.EPOCH: epoch, schema.KEPT_EPOCH: epoch})
    final: list[EpochRow] = []
    samples: list[SliceRow] = []
    curves: list[dict[str, object]] = []
    for split in schema.SCORED_SPLITS:
        if split not in inputs.feeds:
            continue
        points, rows = final_scores(training, inputs, split, worker, audit)
        here = {schema.SPLIT: split}
        measured = image_quality_of(training, inputs, split, worker)
        points[0] = epoch_row(points[0], measured.columns)
        final += [epoch_row(identity, here, point, provenance(str(worker.device))) for point in points]
        method, number = identity[schema.METHOD], identity[schema.TRIAL]
        samples += [slice_row({"trial": number, "method": method, "split": split}, row) for row in rows]
        curves += measured.curve_rows({"trial": number, "method": method, "split": split})
    if worker.is_first:
        save_samples(folder.samples, samples)
        if curves:
            save_samples(folder.image_quality, curves)
        if inputs.panel:
            if isinstance(training, FrontTraining):
                write_front_panel(folder.front_panel, training, inputs.panel)
            write_panel(folder.panel, *_predict_panel(training, inputs.panel))
        _save_reconstructor(training, folder, inputs, identity, final)
        write_rows(folder.final, final)


def _require_unchanged(before: str, frozen: Sequence[TaskNetwork]) -> None:
    after = " ".join(network.weights_hash() for network in frozen)
    if after != before:
        raise StudyError(
            "a frozen task network must not change during training",
            f"weights {after[:12]} after the trial, {before[:12]} before",
            "This is a defect of taskct or of a plugged-in network: its results are not valid.",
        )


def save_samples(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of slices, or of curves, as Parquet."""
    write_table(path, pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False))


def _save_reconstructor(
    training: Training | FrontTraining,
    folder: TrialFolder,
    inputs: TrialInputs,
    identity: EpochRow,
    final: list[EpochRow],
) -> None:
    """Leave the kept reconstructor in files that can be used without the study; of a front, that of the trial's alpha."""
    network = trained_reconstructor(training, training.config.alpha)
    card = ReconstructorCard.of(
        training.config,
        parameters=count_parameters(network),
        inputs=inputs_of(network),
        geometry=inputs.geometry.to_dict(),
        scan=inputs.scan,
        noise_hu=noise_hu(_panel_hu(inputs.panel)),
        data_hash=identity[schema.DATA_HASH],
        task_network_hash=identity[schema.TASK_NETWORK_HASH],
        scores=scores_of(list(final)),
        trial=identity[schema.TRIAL],
    )
    save_reconstructor(network, card, folder.path)


def _panel_hu(panel: Batch) -> np.ndarray:
    """The low-dose images of the slices shown, ``(K, H, W)`` in HU."""
    if schema.FBP not in panel:
        return np.zeros((0, 1, 1))
    return mu_to_hu(panel[schema.FBP][:, 0].double().cpu().numpy() * MU_MAX)


def _predict_panel(training: Training | FrontTraining, panel: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction ``(K, 1, H, W)`` and predicted labels ``(K, H, W)`` of the shown slices."""
    image = training.reconstruct(panel)
    return image, training.frozen_task_network.predict(image)
