"""The task network's folder: ``weights.safetensors`` and ``card.json``, which says what they are.

The card is written last and holds the weights' hash, so a folder that was half written or tampered with
is refused.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors.torch
from pydantic import ValidationError
from safetensors import SafetensorError

from taskct_core.config import StrictModel, TaskNetworkConfig
from taskct_core.errors import DataError
from taskct_core.schema import TASK_NETWORK_CARD, TASK_NETWORK_WEIGHTS
from taskct_core.task_networks.network import TaskNetwork

CARD_FORMAT_VERSION = 1


class TaskNetworkCard(StrictModel):
    """``card.json``.

    Attributes:
        network: architecture, its parameters, window, classes, and how it was pre-trained.
        data_hash: of the dataset it was trained on; empty if it came from elsewhere.
        scores: metric column -> value on full-dose validation slices.
        content_hash: ``TaskNetwork.weights_hash()``.
    """

    format_version: int = CARD_FORMAT_VERSION
    network: TaskNetworkConfig
    data_hash: str
    scores: dict[str, float | None]
    content_hash: str


def save_task_network(
    network: TaskNetwork,
    folder: Path,
    *,
    data_hash: str,
    scores: dict[str, float],
) -> TaskNetworkCard:
    """Write a task network's folder; a score that is not finite is stored as null."""
    card = TaskNetworkCard(
        network=network.config,
        data_hash=data_hash,
        scores={name: value if abs(value) < float("inf") else None for name, value in scores.items()},
        content_hash=network.weights_hash(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.network.state_dict().items()
    }
    _replace(folder / TASK_NETWORK_WEIGHTS, safetensors.torch.save(weights))
    _replace(folder / TASK_NETWORK_CARD, card.model_dump_json(indent=2).encode())
    return card


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def load_task_network_card(folder: Path) -> TaskNetworkCard:
    """Read a task network's card.

    Raises:
        DataError: if there is none, or it breaks its contract.
    """
    path = folder / TASK_NETWORK_CARD
    try:
        return TaskNetworkCard.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DataError(
            f"a task network's folder must hold {TASK_NETWORK_CARD}",
            str(folder),
            "Make one with `taskct pretrain`.",
        ) from None
    except (ValidationError, ValueError, OSError) as error:
        problem = str(error).splitlines()[0]
        raise DataError(
            f"{TASK_NETWORK_CARD} must describe a task network", f"{path} ({problem})", "Pre-train it again."
        ) from None


def load_task_network(folder: Path) -> tuple[TaskNetwork, TaskNetworkCard]:
    """Read a task network, frozen, and its card.

    Raises:
        DataError: if a file is missing or damaged, or the weights are not those of the card.
    """
    card = load_task_network_card(folder)
    network = TaskNetwork.from_config(card.network)
    path = folder / TASK_NETWORK_WEIGHTS
    try:
        network.network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(
            "a task network's weights must be readable and fit its card",
            f"{path} ({str(error).splitlines()[0]})",
            "Pre-train it again, or restore the folder from a copy.",
        ) from None
    received = network.weights_hash()
    if received != card.content_hash:
        raise DataError(
            "a task network's weights must be those its card was written for",
            f"hash {received[:12]} where the card in {folder} says {card.content_hash[:12]}",
            "Pre-train it again, or restore the folder from a copy.",
        )
    return network.freeze(), card
