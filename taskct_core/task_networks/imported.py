"""Networks made elsewhere: a TorchScript file, or weights for a ``package.module:Name``."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from taskct_core.errors import DataError, first_line


def torchscript(path: str) -> nn.Module:
    """A network that was saved by ``torch.jit.save``; it takes and returns what any task network does.

    Raises:
        DataError: if the file is missing or no TorchScript.
    """
    if not Path(path).is_file():
        raise DataError("a TorchScript network must be an existing file", path, "Correct the path.")
    try:
        network: nn.Module = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise DataError(
            "a TorchScript network must be a file that torch.jit.save wrote",
            f"{path} ({first_line(error)})",
            "Save it again; for a state_dict, name its architecture as package.module:Name.",
        ) from None
    return network


def load_weights(network: nn.Module, path: str) -> None:
    """Fill a network with a ``state_dict`` from a ``.safetensors`` file or one that ``torch.save`` wrote.

    Raises:
        DataError: if the file is missing or unreadable, or its tensors do not fit the network.
    """
    if not Path(path).is_file():
        raise DataError("task_network.weights must be an existing file", path, "Correct the path.")
    try:
        network.load_state_dict(_read_state(path))
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError, EOFError) as error:
        raise DataError(
            "task_network.weights must hold the state_dict of the architecture",
            f"{path} ({first_line(error)})",
            "Check the file, task_network.architecture and task_network.architecture_parameters.",
        ) from None


def _read_state(path: str) -> dict[str, torch.Tensor]:
    if path.endswith(".safetensors"):
        return safetensors.torch.load_file(path)
    # weights_only: a pickle from elsewhere must not run code here.
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text advises to run the code
        raise ValueError("it holds no tensors, or more than tensors") from None
    return state.get("state_dict", state)
