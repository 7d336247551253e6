"""The workers of a distributed training, started by test_training_distributed.py.

    python distributed_worker.py WORLD_SIZE FOLDER

Each is a process of its own, forked once everything is imported. It reads FOLDER/batches.pt (a list of batches), trains
every mode of ``CASES`` on its share of each batch with its modules wrapped in DDP, and writes FOLDER/result-RANK.pt:
case -> what ``train`` returns.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.trial import build_training

CASES = {
    "task_adaptive": {"mode": "task_adaptive"},
    "share": {"mode": "task_adaptive", "mixing": "share", "image_loss": "0.84*ms_ssim + 0.16*l1"},
    "joint": {"mode": "joint"},
    "sequential": {"mode": "sequential"},
}
NETWORK = TaskNetworkConfig(architecture_parameters={"width": 4})
QUICK = {"architecture": "dncnn", "architecture_parameters": {"width": 4, "depth": 3}, "epochs": 2}


def train(case: str, batches: list[dict[str, Any]], rank: int = 0, world_size: int = 1) -> dict[str, Any]:
    """Train a case on every ``world_size``-th sample of each batch, and apply what was learnt to the first.

    What the networks make of images is compared, not their weights: a bias before a normalisation has no
    gradient but rounding, which Adam scales up to a full step.
    """
    config = TrialConfig.parse(QUICK | CASES[case])
    wrap = DistributedDataParallel if world_size > 1 else _bare
    training = build_training(config, geometry=None, task_network=build_task_network(NETWORK), wrap=wrap)
    share = [{name: values[rank::world_size] for name, values in batch.items()} for batch in batches]
    means = [training.train_epoch(share) for _ in range(config.epochs)]
    own = training.own_task_network
    with torch.no_grad():
        images = training.reconstruct(batches[0])
        logits = (own or training.frozen_task_network).eval()(images)
    scales = training.state_dict()["loss_scales"]
    return {
        "losses": [epoch["loss"] for epoch in means],
        "images": images,
        "logits": logits,
        "scales": scales,
    }


def _bare(module: nn.Module) -> nn.Module:
    return module


def run(rank: int, world_size: int, folder: Path) -> None:
    """One worker."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    batches = torch.load(folder / "batches.pt", weights_only=True)
    torch.save({case: train(case, batches, rank, world_size) for case in CASES}, folder / f"result-{rank}.pt")
    torch.distributed.destroy_process_group()


def main() -> None:
    """Start all workers, and fail if one of them does."""
    world_size, folder = int(sys.argv[1]), Path(sys.argv[2])
    start_processes(run, (world_size, folder), nprocs=world_size, start_method="fork")


if __name__ == "__main__":
    main()
