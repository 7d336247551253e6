"""``taskct pretrain``: full-dose slices of a dataset -> a frozen task network's folder.

Runs as one Ray task, where the cluster has the CPU or GPU for it. Interrupted, it starts anew: it is short,
and a half-trained network must not be taken for a finished one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from study.config import ExperimentConfig
from study.data.batches import Share
from study.data.dataset import DatasetCard
from study.data.feed import Feed, open_feeds
from study.experiment.stage import Stage
from study.experiment.workspace import Workspace
from taskct_core import schema
from taskct_core.contracts.folders import TaskNetworkFolder
from taskct_core.contracts.rows import Batch
from taskct_core.errors import DataError, StudyError
from taskct_core.task_networks import load_task_network_card
from taskct_core.task_networks.config import TaskNetworkConfig

Scored = tuple[Any, dict[str, float]]  # a TaskNetwork and its validation scores
Row = dict[str, Any]
_EVALUATION_BATCH_SIZE = 16
_THREADS_ON_CPU = 2
# Of a slice: a thread with fewer waits for the others longer than it computes, and spins while it waits, which on a busy
# machine costs many times what one thread takes.
_PIXELS_A_THREAD = 64 * 64


class PretrainStage(Stage[Row]):
    """Trains the task network, or takes one that was made elsewhere as it is."""

    makes = "task network"

    @property
    def folder(self) -> Path:
        return self.experiment.workspace.task_network

    def check(self) -> None:
        pass  # the configuration was checked when it was read; all else needs the dataset

    def find_done(self) -> bool:
        if self.experiment.config.pretrained is not None:
            return True
        card = self.experiment.dataset
        if not TaskNetworkFolder(self.folder).card.is_file():
            return False
        _refuse_other_network(self.folder, self.experiment.config.task_network, card)
        return True

    def make(self, on_step: Callable[[Row], None]) -> None:
        for row in pretrain(self.experiment.config, self.experiment.dataset, self.experiment.workspace):
            on_step(row)


def pretrain(experiment: ExperimentConfig, card: DatasetCard, workspace: Workspace) -> Iterator[Row]:
    """Train the experiment's task network, yielding each epoch's row. Needs a running Ray session.

    Raises:
        DataError: if the dataset has no validation samples.
    """
    if not card.shards["validation"]:
        raise DataError(
            "a task network is chosen by its validation score, so the dataset needs validation samples",
            f"none in {workspace.dataset}",
            "Give the validation split a patient (data.split) and simulate again.",
        )
    feeds = open_feeds(card, workspace.dataset, experiment.execution.data_path)
    yield from _run_remotely(experiment, feeds, workspace.task_network, card)


def _refuse_other_network(folder: Path, config: TaskNetworkConfig, card: DatasetCard) -> None:
    found = load_task_network_card(folder)
    differences = [
        f"{name}: {getattr(found.network, name)} -> {getattr(config, name)}"
        for name in TaskNetworkConfig.model_fields
        if getattr(found.network, name) != getattr(config, name)
    ]
    if found.data_hash != card.data_hash:
        differences.append(f"data hash: {found.data_hash[:12]} -> {card.data_hash[:12]}")
    if differences:
        raise StudyError(
            "a task network's folder keeps the settings and data it was trained with",
            f"others for {folder} ({'; '.join(differences)})",
            "Give the experiment another name or output, or delete the folder to train it anew.",
        )


def _run_remotely(
    experiment: ExperimentConfig, feeds: Mapping[str, Feed], folder: Path, card: DatasetCard
) -> Iterator[dict[str, Any]]:
    import ray

    gpus = 1 if experiment.execution.use_gpu else 0
    threads = training_threads(math.prod(card.image_shape), int(ray.cluster_resources().get("CPU", 1)))

    patients = {} if experiment.task_network.is_imported else card.patients

    @ray.remote(num_cpus=1, num_gpus=gpus)
    def train() -> Iterator[dict[str, Any]]:
        yield from train_task_network(
            experiment.task_network,
            feeds,
            folder,
            data_hash=card.data_hash,
            patients=patients,
            device="cuda" if gpus else "cpu",
            threads=threads,
        )

    rows: Any = train.remote()  # a generator of references: each epoch arrives as it ends
    for row in rows:
        yield ray.get(row)


def training_threads(pixels: int, cpus: int) -> int:
    """Threads of the one process that trains a task network: it runs alone, so it may use what trials will share later.

    Args:
        pixels: of a slice.
        cpus: of the cluster.
    """
    return max(1, min(_THREADS_ON_CPU, cpus, pixels // _PIXELS_A_THREAD))


def train_task_network(
    config: TaskNetworkConfig,
    feeds: Mapping[str, Feed],
    folder: Path,
    *,
    data_hash: str,
    patients: dict[str, list[str]],
    device: str,
    threads: int,
) -> Iterator[dict[str, Any]]:
    """Train and store a task network, yielding every epoch's loss and validation scores.

    A network that comes trained (``config.is_imported``) is only scored: one row, of epoch 0.
    """
    import torch

    from taskct_core.task_networks.storage import save_task_network

    torch.set_num_threads(threads)
    make = _imported if config.is_imported else _trained
    network, best = yield from make(config, feeds, device)
    segmentation = {name: best[name] for name in schema.SEGMENTATION_METRICS if not math.isnan(best[name])}
    save_task_network(network, folder, data_hash=data_hash, patients=patients, scores=segmentation)


def _trained(
    config: TaskNetworkConfig, feeds: Mapping[str, Feed], device: str
) -> Generator[dict[str, Any], None, Scored]:
    from taskct_core.metrics import summarise
    from taskct_core.task_networks.pretraining import Pretraining

    pretraining = Pretraining(config, device)
    for epoch in range(1, config.epochs + 1):
        batches = feeds["train"].shuffled(config.batch_size, seed=config.seed, epoch=epoch, share=Share())
        losses = pretraining.train_epoch(batches)
        scores = summarise(pretraining.evaluate(_validation(feeds)))
        pretraining.record(scores)
        yield {schema.EPOCH: epoch} | losses | scores
        if pretraining.should_stop():
            break
    return pretraining.best()


def _imported(
    config: TaskNetworkConfig, feeds: Mapping[str, Feed], device: str
) -> Generator[dict[str, Any], None, Scored]:
    from taskct_core.metrics import summarise
    from taskct_core.metrics.slices import evaluate_images
    from taskct_core.task_networks import build_task_network

    network = build_task_network(config).to(device).freeze()
    scores = summarise(evaluate_images(network, _validation(feeds), schema.FULL_DOSE, device))
    yield {schema.EPOCH: 0} | scores
    return network, scores


def _validation(feeds: Mapping[str, Feed]) -> Iterator[Batch]:
    return feeds["validation"].ordered(_EVALUATION_BATCH_SIZE, share=Share())
