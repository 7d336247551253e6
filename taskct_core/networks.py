"""What reconstructors and task networks share: weights read from a file, sides padded for networks with strides, and
calls that are exact on a GPU, too."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import nn

from taskct_core.errors import DataError, first_line

# Where a checkpoint keeps its network, by Lightning's custom and by that of PyTorch's tutorials, ldct-benchmark and LION.
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict")


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Float32 as it is on a CPU, for what is scored and used; also as a decorator.

    Unless told otherwise, cuDNN rounds the factors of float32 convolutions to 10 bits (TF32), which training can do with.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


class PadToMultiple(nn.Module):
    """Runs ``network`` on an image whose sides are padded to multiples, and crops its output back.

    The border is replicated, so a padded image has no artificial edge. Shapes: ``(B, C, H, W)``.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        output: torch.Tensor = self.network(image)
        return output[..., :height, :width]


def without_own_padding(network: nn.Module) -> nn.Module:
    """MONAI's ``BasicUNet``, no longer padding what it joins, for use within :class:`PadToMultiple`, where nothing is left to pad.

    MONAI pads by a width of zero even then, an operation that PyTorch 2.13 compiles to one that fails.
    """
    from monai.networks.nets.basic_unet import UpCat  # takes seconds, which not everyone here needs

    for module in network.modules():
        if isinstance(module, UpCat):
            module.is_pad = False
    return network


def load_weights(network: nn.Module, path: str, setting: str, architecture_setting: str) -> None:
    """Fill a network with a ``state_dict`` from a ``.safetensors`` file or one that ``torch.save`` wrote, a checkpoint too.

    Args:
        network: filled in place.
        path: of the file.
        setting: what the user calls the file, for messages, such as ``task_network.weights``.
        architecture_setting: what the user calls the network's architecture.

    Raises:
        DataError: if the file is missing or unreadable, or its tensors do not fit the network.
    """
    if not Path(path).is_file():
        raise DataError(f"{setting} must be an existing file", path, "Correct the path.")
    try:
        network.load_state_dict(_read_state(path))
    except (OSError, RuntimeError, SafetensorError, TypeError, ValueError, EOFError) as error:
        raise DataError(
            f"{setting} must hold the state_dict of the architecture",
            f"{path} ({first_line(error)})",
            f"Check the file, {architecture_setting} and its parameters.",
        ) from None


def _read_state(path: str) -> dict[str, torch.Tensor]:
    if path.endswith(".safetensors"):
        return safetensors.torch.load_file(path)
    # weights_only: a pickle from elsewhere must not run code here. What a training script was called with holds values alone.
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # its text advises to run the code
        raise ValueError("it holds no tensors, or more than tensors") from None
    return next((state[key] for key in _CHECKPOINT_KEYS if key in state), state)
