"""The task network's folder: ``weights.safetensors``, and ``card.json`` which says what they are.

A network that was imported as TorchScript has its program beside them, ``network.torchscript.pt``. The card
is written last and holds the hashes, so a folder that was half written or tampered with is refused.
"""

from __future__ import annotations

import hashlib
import io
import math
from contextlib import ExitStack
from pathlib import Path

import safetensors.torch
import torch
from pydantic import ValidationError
from safetensors import SafetensorError

from taskct_core.config import StrictModel
from taskct_core.contracts.files import local_copy, parse_json, write_bytes, write_text
from taskct_core.contracts.folders import TaskNetworkFolder
from taskct_core.errors import DataError, first_line
from taskct_core.registry import BUILT_IN_ONLY, Trust
from taskct_core.task_networks import PROGRAMS, TASK_NETWORKS
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork

CARD_FORMAT_VERSION = 1


class TaskNetworkCard(StrictModel):
    """``card.json``.

    Attributes:
        network: architecture, its parameters, window, classes, and how it was pre-trained.
        data_hash: of the dataset it was trained on; empty if it came from elsewhere.
        patients: split of that dataset -> its patients, so that nobody is tested on whom it was trained.
        scores: metric column -> value on full-dose validation slices; null where undefined.
        content_hash: ``TaskNetwork.weights_hash()``.
        script_sha256: of the TorchScript program, for a network that came as one.
    """

    format_version: int = CARD_FORMAT_VERSION
    network: TaskNetworkConfig
    data_hash: str
    patients: dict[str, list[str]] = {}
    scores: dict[str, float | None]
    content_hash: str
    script_sha256: str | None = None


def save_task_network(
    network: TaskNetwork,
    folder: Path,
    *,
    data_hash: str,
    scores: dict[str, float],
    patients: dict[str, list[str]] | None = None,
) -> TaskNetworkCard:
    """Write a task network's folder, and return its card.

    Args:
        data_hash: of the dataset it was trained on.
        scores: metric column -> value on full-dose validation slices.
        patients: split of that dataset -> its patients.
    """
    files = TaskNetworkFolder(folder)
    script = _script_bytes(network)
    if script is not None:
        write_bytes(files.script, script)
    state = network.network.state_dict()
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    write_bytes(files.weights, safetensors.torch.save(weights))
    card = TaskNetworkCard(
        network=network.config,
        data_hash=data_hash,
        patients=patients or {},
        scores={name: value if math.isfinite(value) else None for name, value in scores.items()},
        content_hash=network.weights_hash(),
        script_sha256=None if script is None else hashlib.sha256(script).hexdigest(),
    )
    write_text(files.card, card.model_dump_json(indent=2))
    return card


def load_task_network_card(folder: Path) -> TaskNetworkCard:
    """Read a task network's card.

    Raises:
        DataError: if there is none, or it breaks its contract.
    """
    path = TaskNetworkFolder(folder).card
    if not path.is_file():
        raise DataError(
            f"a task network's folder must hold {TaskNetworkFolder.card}",
            str(folder),
            "Make one with `taskct pretrain`.",
        )
    try:
        return TaskNetworkCard.model_validate(parse_json(path.read_bytes()))
    except (ValidationError, ValueError, OSError) as error:
        raise DataError(
            f"{TaskNetworkFolder.card} must describe a task network",
            f"{path} ({first_line(error)})",
            "Pre-train it again.",
        ) from None


def load_task_network(folder: Path, trust: Trust = BUILT_IN_ONLY) -> tuple[TaskNetwork, TaskNetworkCard]:
    """Read a task network, frozen, and its card.

    Args:
        trust: which architectures the card may name beside the built-in ones. TorchScript counts as code: its
            program lies in the folder, and may read and write files.

    Raises:
        ConfigError: if the card names an architecture that is not trusted.
        DataError: if a file is missing or damaged, or the weights are not those of the card.
    """
    card = load_task_network_card(folder)
    safe = TASK_NETWORKS.keys() - set(PROGRAMS)
    trust.require(
        card.network.architecture, safe, "task network architecture", TaskNetworkFolder(folder).card
    )
    # The card records where the weights came from; from now on this folder is where they are.
    here: dict[str, object] = {"weights": None}
    with ExitStack() as temporary:
        if card.script_sha256 is not None:
            script = TaskNetworkFolder(folder).script
            _require_equal(_file_sha256(script), card.script_sha256, script)
            here["architecture_parameters"] = {"path": str(temporary.enter_context(local_copy(script)))}
        network = TaskNetwork.from_config(card.network.model_copy(update=here))
    network.config = card.network
    path = TaskNetworkFolder(folder).weights
    try:
        network.network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(
            "a task network's weights must be readable and fit its card",
            f"{path} ({first_line(error)})",
            "Pre-train it again, or restore the folder from a copy.",
        ) from None
    _require_equal(network.weights_hash(), card.content_hash, path)
    return network.freeze(), card


def _script_bytes(network: TaskNetwork) -> bytes | None:
    if not isinstance(network.network, torch.jit.ScriptModule):
        return None
    buffer = io.BytesIO()
    torch.jit.save(network.network, buffer)
    return buffer.getvalue()


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none (no such file)"


def _require_equal(received: str, expected: str, path: Path) -> None:
    if received != expected:
        raise DataError(
            "a task network's files must be those its card was written for",
            f"hash {received[:12]} of {path} where the card says {expected[:12]}",
            "Pre-train it again, or restore the folder from a copy.",
        )
