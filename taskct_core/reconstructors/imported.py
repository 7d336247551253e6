"""Networks made elsewhere as reconstructors: their files read, their normalisation undone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from taskct_core import registry
from taskct_core.errors import ConfigError, DataError, first_line
from taskct_core.hounsfield import MU_MAX, hu_to_mu, mu_to_hu
from taskct_core.networks import load_weights
from taskct_core.reconstructors.config import ReferenceNetworkConfig
from taskct_core.task_networks.imported import torchscript


class ImportedNetwork(nn.Module):
    """A denoiser with the normalisation that it was trained with; called as every reconstructor is.

    Args:
        network: maps float32 ``(B, 1, H, W)`` in its own normalisation to the same.
        config: how its images are normalised, and what it is called with beside them.
    """

    inputs = ("fbp",)

    def __init__(self, network: nn.Module, config: ReferenceNetworkConfig) -> None:
        super().__init__()
        self.network = network
        self._config = config

    def forward(self, fbp: torch.Tensor) -> torch.Tensor:
        """``(B, 1, H, W)`` normalised attenuation to the same.

        Raises:
            DataError: if the network cannot be run on images of that size, or returns something else.
        """
        try:
            image = self.network(self._own(fbp), **self._config.arguments)
        except Exception as error:  # somebody else's network may raise anything
            raise self._unfit(fbp, f"it raised {type(error).__name__}: {first_line(error)}") from error
        if not isinstance(image, torch.Tensor) or image.shape != fbp.shape:
            found = tuple(image.shape) if isinstance(image, torch.Tensor) else type(image).__name__
            raise self._unfit(fbp, f"it returned {found}")
        return self._ours(image.to(fbp.dtype))

    def _own(self, image: torch.Tensor) -> torch.Tensor:
        if self._config.hu_range is None:
            return image
        low, high = self._config.hu_range
        return (mu_to_hu(image * MU_MAX) - low) / (high - low)

    def _ours(self, image: torch.Tensor) -> torch.Tensor:
        if self._config.hu_range is None:
            return image
        low, high = self._config.hu_range
        return hu_to_mu(image * (high - low) + low) / MU_MAX

    def _unfit(self, fbp: torch.Tensor, found: str) -> DataError:
        return DataError(
            f"the reference network {self._config.name} must map images (B, 1, H, W) to images of the same shape",
            f"{self._config.network} on {tuple(fbp.shape)}: {found}",
            "Check its parameters and arguments, and whether it takes images of this size.",
        )


class OnnxNetwork(nn.Module):
    """An ONNX file, run by onnxruntime on the CPU.

    Raises:
        ConfigError: if onnxruntime is not installed.
        DataError: if the file is missing, damaged, or has not one input and one output.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError(
                "an ONNX network is run by onnxruntime", "none installed", "pip install 'taskct[onnx]'"
            ) from None
        _require_file(path, "an ONNX network")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each fault
            raise DataError(
                "an ONNX network must be a file that onnxruntime reads",
                f"{path} ({first_line(error)})",
                "Export it again.",
            ) from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise DataError(
                "an ONNX network must have one input and one output",
                f"{path} with {len(inputs)} and {len(outputs)}",
                "Export the network without the others.",
            )
        self._input = inputs[0].name
        batch = inputs[0].shape[0] if inputs[0].shape else None
        # A number: the network was exported for so many images at a time.
        self._batch = batch if isinstance(batch, int) else None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Float32 ``(B, 1, H, W)`` to the same."""
        parts = image.split(self._batch or len(image))
        made = [self._session.run(None, {self._input: part.cpu().numpy()})[0] for part in parts]
        return torch.cat([torch.from_numpy(part) for part in made]).to(image.device)


def load_reference_network(config: ReferenceNetworkConfig) -> ImportedNetwork:
    """The network of a configuration, ready to make images.

    Raises:
        ConfigError: if the name cannot be imported, or a parameter is not valid.
        DataError: if a file is missing or damaged, or its weights do not fit.
    """
    network: nn.Module
    if config.is_onnx:
        network = OnnxNetwork(config.network)
    elif config.is_file:
        network = torchscript(config.network)
    else:
        network = registry.build_module(config.network, {}, "reference network", config.parameters)
        if config.weights is not None:
            load_weights(network, config.weights, f"weights of {config.name}", "its network")
    return ImportedNetwork(network.eval(), config).requires_grad_(False)


def described(config: ReferenceNetworkConfig) -> str:
    """What makes its images what they are, in one line; another text means other images.

    Raises:
        DataError: if a file is missing.
    """
    files = [
        path for path in (config.network if config.is_file else None, config.weights) if path is not None
    ]
    words: list[Any] = [config.network if not config.is_file else Path(config.network).name]
    words += [f"{name} = {value}" for name, value in (config.parameters | config.arguments).items()]
    words += [f"sha256 {_hash_of(path)}" for path in files]
    if config.hu_range is None:
        words.append("normalised attenuation")
    else:
        words.append(f"0 and 1 are {config.hu_range[0]:g} and {config.hu_range[1]:g} HU")
    return ", ".join(map(str, words))


def _hash_of(path: str) -> str:
    _require_file(path, "a reference network")
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _require_file(path: str, what: str) -> None:
    if not Path(path).is_file():
        raise DataError(f"{what} must be an existing file", path, "Correct the path.")
