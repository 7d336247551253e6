"""The task networks: segmentation networks that judge reconstructions. One line an architecture.

A factory takes its own parameters, and ``num_classes`` if it has such an argument, and returns an
``nn.Module`` from a windowed image ``(B, 1, H, W)`` to logits ``(B, num_classes, H, W)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from taskct_core.registry import BUILT_IN_ONLY, Trust

if TYPE_CHECKING:
    from taskct_core.task_networks.config import TaskNetworkConfig
    from taskct_core.task_networks.network import TaskNetwork
    from taskct_core.task_networks.storage import TaskNetworkCard

TASK_NETWORKS = {
    "unet": "taskct_core.task_networks.architectures:unet",
    "segresnet": "taskct_core.task_networks.architectures:segresnet",
    "dynunet": "taskct_core.task_networks.architectures:dynunet",
    "torchscript": "taskct_core.task_networks.imported:torchscript",
}
PROGRAMS = ("torchscript",)  # of TASK_NETWORKS: what runs is a program that lies in the network's folder
CLASSES = {"liver_tumour": 3, "liver": 2}  # with the background


def build_task_network(config: TaskNetworkConfig) -> TaskNetwork:
    """A fresh or imported task network; see ``TaskNetwork.from_config``."""
    from taskct_core.task_networks.network import TaskNetwork

    return TaskNetwork.from_config(config)


def load_task_network(folder: Path, trust: Trust = BUILT_IN_ONLY) -> tuple[TaskNetwork, TaskNetworkCard]:
    """A stored task network, frozen, and its card; see ``storage.load_task_network``."""
    from taskct_core.task_networks import storage

    return storage.load_task_network(folder, trust)


def load_task_network_card(folder: Path) -> TaskNetworkCard:
    """The card alone; see ``storage.load_task_network_card``."""
    from taskct_core.task_networks import storage

    return storage.load_task_network_card(folder)
