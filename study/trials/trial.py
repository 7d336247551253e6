"""One trial: train a reconstructor, score it every epoch, leave its record in the trial's folder.

    config.yaml       the TrialConfig
    metrics.jsonl     one row an epoch, on the validation split (the epoch log)
    checkpoint.pt     everything needed to go on after the last finished epoch
    final.json        rows of the finished trial: validation and, where there is one, test split
    samples.parquet   one row a slice of those splits
    reconstructor.*   the kept weights as safetensors, and a card: all that is needed to use them
    image-quality.*   where it is measured: noise power and task transfer over spatial frequency
    panel.npz         reconstruction and prediction of the slices that reports show

``run_trial`` is the same whether Ray Train or a warm actor calls it: it is given its share of the data,
its device and a function to report with, and knows nothing else of where it runs. Started again in a
folder that has a checkpoint, it reports the epochs it has and goes on after them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
import yaml
from torch import nn

from study.data.batches import Share
from study.data.feed import Feed
from study.provenance import config_hash, provenance
from study.trials import epoch_log
from study.trials.checkpoint import restore, save_checkpoint
from study.trials.cost import CostMeter
from study.trials.front import final_rows, hypervolume_of_trial, score_epoch, write_front_panel
from study.trials.panels import write_panel
from study.trials.plugins import own_scores
from taskct_core import schema
from taskct_core.apply.card import ReconstructorCard, ScanRecord, save_reconstructor, scores_of
from taskct_core.apply.noise import noise_hu
from taskct_core.contracts.files import open_folder, write_text
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import Batch, EpochRow, SliceRow, epoch_row, slice_row, write_rows
from taskct_core.contracts.tables import write_table
from taskct_core.contracts.yaml_loader import read_yaml
from taskct_core.errors import ConfigError, DataError, StudyError
from taskct_core.geometry import Geometry
from taskct_core.hounsfield import MU_MAX, mu_to_hu
from taskct_core.image_quality.config import ImageQualityConfig
from taskct_core.image_quality.measure import ImageQuality, measure
from taskct_core.image_quality.observer import DRAWS
from taskct_core.image_quality.probes import Probe
from taskct_core.losses import IMAGE_LOSSES, TASK_LOSSES, parse_mix
from taskct_core.metrics import summarise
from taskct_core.metrics.slices import evaluate_images
from taskct_core.reconstructors import RECONSTRUCTORS, count_parameters, inputs_of
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.task_networks import load_task_network
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import FrontTraining, build_trial_training, trained_reconstructor
from taskct_core.training.trial import Training

_Part = TypeVar("_Part")


@dataclass(frozen=True)
class TrialInputs:
    """What all trials of a study share.

    Attributes:
        feeds: split -> where its batches come from.
        geometry: of the dataset.
        task_network: folder of the frozen task network.
        data_hash: of the dataset.
        panel: the slices that reports show, as one batch; empty for none.
        evaluation_batch_size: slices scored at a time.
        objectives: columns that the study optimises; a user's own are computed from the rows of the slices.
        trust: which plug-ins may be imported that the task network's folder or the study's storage names.
        fresh: how the samples of the train split are drawn anew; empty: they are the stored ones.
        audit: folder of a second task network, which judges the finished trial and takes no part in its training.
        scan: how the dataset was scanned, for the reconstructor's card.
        image_quality: what is inserted into livers to measure image quality on.
        probes: split -> the scans of that; empty: it is not measured.
    """

    feeds: dict[str, Feed]
    geometry: Geometry
    task_network: str
    data_hash: str
    panel: Batch = field(default_factory=Batch)
    evaluation_batch_size: int = 16
    objectives: tuple[str, ...] = ()
    trust: Trust = BUILT_IN_ONLY
    fresh: str = ""
    audit: str | None = None
    scan: ScanRecord = ScanRecord()
    image_quality: ImageQualityConfig = ImageQualityConfig()
    probes: dict[str, list[Probe]] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """The process a trial runs in: its share of the samples, its device, and how its modules are wrapped."""

    share: Share = Share()
    device: torch.device = torch.device("cpu")
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module

    @property
    def is_first(self) -> bool:
        """Whether this worker writes the trial's files."""
        return self.share.rank == 0


def run_trial(
    config: TrialConfig,
    folder: TrialFolder | Path,
    inputs: TrialInputs,
    worker: Worker,
    report: Callable[[EpochRow], None],
    trial: int = 0,
) -> None:
    """Train and evaluate one configuration, continuing from the folder's checkpoint if it has one.

    Args:
        config: of the trial.
        folder: of the trial; made if it is missing.
        inputs: what the study's trials share.
        worker: this process's part.
        report: called with every epoch's row, by every worker.
        trial: its number, written into the rows.

    Raises:
        DataError: if the checkpoint belongs to another configuration.
        StudyError: if the frozen task network changed during training.
    """
    task_network, card = load_task_network(open_folder(inputs.task_network), inputs.trust)
    training = build_trial_training(
        config, geometry=inputs.geometry, task_network=task_network, device=worker.device, wrap=worker.wrap
    )
    run = TrialRun(training, folder, inputs, worker, card.content_hash, trial)
    for row in run.rows_so_far:
        report(row)
    while not run.is_trained:
        start = time.perf_counter()
        losses = _reduced_losses(training, inputs, config, training.epoch + 1, worker)
        report(run.end_epoch(losses, time.perf_counter() - start))
    run.finish()


class TrialRun:
    """What a trial leaves in its folder: a row and a checkpoint after each epoch, its record at the end.

    Made in a folder that has a checkpoint, it goes on from there. Whoever makes it trains the epochs.

    Args:
        training: freshly built; its checkpoint is loaded.
        folder: of the trial; made if it is missing.
        inputs: what the study's trials share.
        worker: this process's part.
        task_network_hash: of the frozen task network.
        trial: its number, written into the rows.

    Attributes:
        rows_so_far: of the epochs that are trained already.

    Raises:
        DataError: if the checkpoint belongs to another configuration.
    """

    def __init__(
        self,
        training: Training | FrontTraining,
        folder: TrialFolder | Path,
        inputs: TrialInputs,
        worker: Worker,
        task_network_hash: str,
        trial: int = 0,
    ) -> None:
        self.training = training
        self._folder = TrialFolder.at(folder)
        self._inputs = inputs
        self._worker = worker
        config = training.config
        self._identity: EpochRow = {
            schema.TRIAL: trial,
            schema.METHOD: config.mode,
            schema.SEED: config.seed,
            schema.PARAMETERS: training.parameter_count,
            schema.DATA_HASH: inputs.data_hash,
            schema.TASK_NETWORK_HASH: task_network_hash,
            schema.CONFIG_HASH: config_hash(config.settings()),
            schema.METRIC_POLICY: schema.POLICY_TEXT,
        }
        if worker.is_first:
            write_trial_config(self._folder, config)
        done, self._seconds = restore(training, self._folder, self._identity, inputs.fresh)
        self.rows_so_far = epoch_log.read(self._folder, done)
        self._cost = CostMeter(worker.device, inputs.panel)

    @property
    def is_trained(self) -> bool:
        """Whether no epoch is left to train."""
        return self.training.epoch >= self.training.config.epochs

    def end_epoch(self, losses: dict[str, float], seconds: float) -> EpochRow:
        """Score the epoch that was trained last, and write its row and checkpoint.

        Args:
            losses: means over its samples, by column.
            seconds: that its training took.
        """
        training, epoch = self.training, self.training.epoch
        start = time.perf_counter()
        scores = _score_epoch(training, self._inputs, self._worker, more=training.config.epochs - epoch)
        self._seconds += seconds + time.perf_counter() - start
        here = {schema.SPLIT: "validation", schema.EPOCH: epoch, schema.SECONDS: self._seconds}
        measured = losses | scores | self._cost.columns(training.reconstruct)
        row = epoch_row(self._identity, here, measured, provenance(str(self._worker.device)))
        if self._worker.is_first:
            epoch_log.append(self._folder, row)
            save_checkpoint(training, self._folder, self._identity, epoch, self._seconds, self._inputs.fresh)
        return row

    def finish(self) -> None:
        """Write the record of the trained trial.

        Raises:
            StudyError: if the frozen task network changed during training.
        """
        identity = epoch_row(self._identity, {schema.SECONDS: self._seconds})
        _finish(self.training, self._folder, self._inputs, self._worker, identity)


def write_trial_config(folder: TrialFolder | Path, config: TrialConfig) -> None:
    """Write what a trial is made with into its folder; ``read_trial_config`` reads it."""
    text = yaml.safe_dump(config.settings(), sort_keys=False)
    write_text(TrialFolder.at(folder).config, text)


def _reduced_losses(
    training: Training | FrontTraining, inputs: TrialInputs, config: TrialConfig, epoch: int, worker: Worker
) -> dict[str, float]:
    """Train one epoch; the means over the samples of all workers."""
    batches = inputs.feeds["train"].shuffled(
        config.batch_size,
        seed=config.seed,
        epoch=epoch,
        share=worker.share,
        more=config.epochs - epoch,
    )
    parts = _gather(training.train_epoch(batches), worker)
    weights = [part["samples"] for part in parts]
    return {
        name: float(np.average([part[name] for part in parts], weights=weights))
        for name in parts[0]
        if name != "samples"
    }


def _score_epoch(
    training: Training | FrontTraining, inputs: TrialInputs, worker: Worker, more: int
) -> dict[str, float]:
    """Metrics and losses of the epoch on the validation split, and which epoch is kept so far."""
    if isinstance(training, FrontTraining):
        scores = score_epoch(
            training,
            lambda: _scored(training, inputs, "validation", worker),
            partial(_scores, inputs),
            _fbp_scores(training, inputs, "validation", worker),
        )
        return scores | _image_quality(training, inputs, "validation", worker, intervals=False).columns
    rows = _scored(training, inputs, "validation", worker, more)
    scores = _scores(inputs, rows) | _single_hypervolume(training, inputs, "validation", worker, rows)
    scores |= _image_quality(training, inputs, "validation", worker, intervals=False).columns
    return scores | training.keep(rows, scores)


def _image_quality(
    training: Training | FrontTraining,
    inputs: TrialInputs,
    split: str,
    worker: Worker,
    intervals: bool = True,
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
    return measure(
        probes,
        training.reconstruct,
        inputs.image_quality,
        worker.device,
        draws=DRAWS if intervals else 0,
    )


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
    return summarise([row for part in _gather(rows, worker) for row in part])


def _scored(
    training: Training | FrontTraining,
    inputs: TrialInputs,
    split: str,
    worker: Worker,
    more: int = 0,
    audit: TaskNetwork | None = None,
) -> list[SliceRow]:
    """Rows of all slices of a split, from all workers; ``more``: see ``Feed``, ``audit``: see ``Training.evaluate``."""
    batches = inputs.feeds[split].ordered(inputs.evaluation_batch_size, share=worker.share, more=more)
    if isinstance(training, FrontTraining):  # whose points the frozen network judges alone
        scored = training.evaluate(batches)
    else:
        scored = training.evaluate(batches, audit)
    rows = [row for part in _gather(scored, worker) for row in part]
    return sorted(rows, key=lambda row: (row[schema.PATIENT], row[schema.SLICE_INDEX]))


def _gather(value: _Part, worker: Worker) -> list[_Part]:
    if worker.share.world_size == 1:
        return [value]
    parts: list[Any] = [None] * worker.share.world_size
    torch.distributed.all_gather_object(parts, value)
    return parts


def _finish(
    training: Training | FrontTraining,
    folder: TrialFolder,
    inputs: TrialInputs,
    worker: Worker,
    identity: EpochRow,
) -> None:
    """Score the kept reconstructor on test slices, too, and prove the task network untouched."""
    after = training.frozen_task_network.weights_hash()
    if after != identity[schema.TASK_NETWORK_HASH]:
        raise StudyError(
            "the frozen task network must not change during training",
            f"weights {after[:12]} after the trial, {identity[schema.TASK_NETWORK_HASH][:12]} before",
            "This is a defect of taskct or of a plugged-in network: its results are not valid.",
        )
    epoch = training.epoch
    if isinstance(training, Training):
        training.use_kept()
        epoch = training.kept.epoch
    audit, audit_hash = load_audit(inputs)
    identity = epoch_row(identity, audit_hash, {schema.EPOCH: epoch, schema.KEPT_EPOCH: epoch})
    final: list[EpochRow] = []
    samples: list[SliceRow] = []
    curves: list[dict[str, object]] = []
    for split in ("validation", "test"):
        if split not in inputs.feeds:
            continue
        points, rows = _final_rows(training, inputs, split, worker, audit)
        here = {schema.SPLIT: split}
        measured = _image_quality(training, inputs, split, worker)
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


def _final_rows(
    training: Training | FrontTraining,
    inputs: TrialInputs,
    split: str,
    worker: Worker,
    audit: TaskNetwork | None,
) -> tuple[list[EpochRow], list[SliceRow]]:
    """The finished trial's rows on a split, its own first, and those of the split's slices."""

    def score() -> list[SliceRow]:
        return _scored(training, inputs, split, worker, audit=audit)

    if isinstance(training, FrontTraining):
        origin = _fbp_scores(training, inputs, split, worker)
        return final_rows(training, split, score, partial(_scores, inputs), origin)
    rows = training.kept.rows if split == "validation" and audit is None else score()
    scores = _scores(inputs, rows) | _single_hypervolume(training, inputs, split, worker, rows)
    return [epoch_row(scores)], rows


def load_audit(inputs: TrialInputs) -> tuple[TaskNetwork | None, dict[str, str]]:
    """The network that judges beside the frozen one, and the column that names it; nothing without one."""
    if inputs.audit is None:
        return None, {}
    network, card = load_task_network(open_folder(inputs.audit), inputs.trust)
    return network, {schema.AUDIT_NETWORK_HASH: card.content_hash}


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


def save_samples(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows of slices, or of curves, as Parquet."""
    write_table(path, pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False))


def _predict_panel(training: Training | FrontTraining, panel: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Reconstruction ``(K, 1, H, W)`` and predicted labels ``(K, H, W)`` of the shown slices."""
    image = training.reconstruct(panel)
    return image, training.frozen_task_network.predict(image)


def require_trusted(config: TrialConfig, trust: Trust, source: object) -> None:
    """Refuse a configuration that comes from a folder and names plug-ins that are not trusted.

    Raises:
        ConfigError: naming the plug-in and ``source``.
    """
    trust.require(config.architecture, RECONSTRUCTORS, "reconstructor", source)
    trust.require(config.task_loss, TASK_LOSSES, "task loss", source)
    for _, name in parse_mix(config.image_loss):
        trust.require(name, IMAGE_LOSSES, "image loss", source)


def read_trial_config(folder: TrialFolder | Path, trust: Trust = BUILT_IN_ONLY) -> TrialConfig:
    """The configuration a trial's folder was made with.

    Raises:
        ConfigError: if it names a plug-in that is not trusted.
        DataError: if the folder is no trial's.
    """
    path = TrialFolder.at(folder).config
    if not path.is_file():
        raise DataError(
            f"a trial folder must hold {TrialFolder.config}", str(folder), "Name a folder under trials/."
        )
    next_step = "Restore it from a copy; `taskct study run` writes it for trials that go on."
    values = read_yaml(path, next_step)
    try:
        config = TrialConfig.parse(values)
    except ConfigError as error:
        raise DataError(
            f"{path.name} must be a trial's configuration", f"{path} ({error})", next_step
        ) from None
    require_trusted(config, trust, path)
    return config
