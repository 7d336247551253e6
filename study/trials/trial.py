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
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from study.provenance import config_hash, provenance
from study.trials import epoch_log
from study.trials.checkpoint import restore, save_checkpoint
from study.trials.cost import CostMeter
from study.trials.inputs import TrialInputs, Worker, load_judges
from study.trials.record import write_record
from study.trials.scores import epoch_scores
from study.trials.trial_config import write_trial_config
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import TrialFolder
from taskct_core.contracts.rows import EpochRow, epoch_row
from taskct_core.task_networks import load_task_network
from taskct_core.training.config import TrialConfig
from taskct_core.training.front import FrontTraining, build_trial_training
from taskct_core.training.trial import Training


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
    judges, judges_hash = load_judges(inputs, config)
    training = build_trial_training(
        config,
        geometry=inputs.geometry,
        task_network=task_network,
        further_judges=judges,
        device=worker.device,
        wrap=worker.wrap,
    )
    run = TrialRun(training, folder, inputs, worker, card.content_hash, trial, judges_hash)
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
        judges_hash: the column of those that judge beside it, see ``load_judges``.

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
        judges_hash: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.training = training
        self._folder = TrialFolder.at(folder)
        self._inputs = inputs
        self._worker = worker
        config = training.config
        shared: EpochRow = {
            schema.TRIAL: trial,
            schema.METHOD: config.mode,
            schema.SEED: config.seed,
            schema.PARAMETERS: training.parameter_count,
            schema.DATA_HASH: inputs.data_hash,
            schema.TASK_NETWORK_HASH: task_network_hash,
            schema.CONFIG_HASH: config_hash(config.settings()),
            schema.METRIC_POLICY: schema.POLICY_TEXT,
        }
        self._identity = epoch_row(shared, judges_hash)
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
        scores = epoch_scores(training, self._inputs, self._worker, more=training.config.epochs - epoch)
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
        write_record(self.training, self._folder, self._inputs, self._worker, identity)


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
    parts = worker.gather(training.train_epoch(batches))
    weights = [part["samples"] for part in parts]
    return {
        name: float(np.average([part[name] for part in parts], weights=weights))
        for name in parts[0]
        if name != "samples"
    }
