"""A task network: window, then architecture, then logits. It can be frozen, hashed and asked for labels."""

from __future__ import annotations

import hashlib
from typing import Self

import torch
from torch import nn

from taskct_core import registry
from taskct_core.errors import ConfigError
from taskct_core.networks import load_weights
from taskct_core.task_networks import CLASSES, TASK_NETWORKS
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.window import HUWindow

_PROBE_SIDE = 64


class TaskNetwork(nn.Module):
    """Segments normalised attenuation images ``(B, 1, H, W)``.

    Args:
        network: windowed image ``(B, 1, H, W)`` -> logits ``(B, C, H, W)``.
        config: how it was made; its window and classes are used, the rest is recorded.

    Raises:
        ConfigError: if the network does not turn one channel into the number of classes.
    """

    def __init__(self, network: nn.Module, config: TaskNetworkConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.num_classes = CLASSES[config.classes]
        self.window = HUWindow(*config.window_hu)
        self.frozen = False
        self._check_channels()

    @classmethod
    def from_config(cls, config: TaskNetworkConfig) -> Self:
        """A network with weights from ``config.weights``, or drawn with ``config.seed``.

        Leaves the global random state alone.

        Raises:
            ConfigError: if a name or parameter is not valid, or the channels are not what they must be.
            DataError: if a file cannot be read or does not fit.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = registry.build_module(
                config.architecture,
                TASK_NETWORKS,
                "task network",
                config.architecture_parameters,
                num_classes=CLASSES[config.classes],
            )
        if config.weights is not None:
            load_weights(network, config.weights, "task_network.weights", "task_network.architecture")
        return cls(network, config)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, C, H, W)``."""
        logits: torch.Tensor = self.network(self.window(image))
        return logits

    @torch.no_grad()
    def predict(self, image: torch.Tensor) -> torch.Tensor:
        """Labels ``(B, H, W)``, int64."""
        return self(image).argmax(1)

    @torch.no_grad()
    def probabilities(self, image: torch.Tensor) -> torch.Tensor:
        """Of its classes ``(B, C, H, W)``, in [0, 1]; they add up to 1."""
        return self(image).softmax(1)

    def targets(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels ``(B, H, W)`` as its classes ``(B, 1, H, W)``, int64; without a tumour class, tumour is liver."""
        return labels.long().clamp(max=self.num_classes - 1).unsqueeze(1)

    def freeze(self) -> Self:
        """Stop learning: eval mode, which ``train()`` no longer leaves, and no parameter gradients."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def unfreeze(self) -> Self:
        """Learn again, as a copy that a trial trains itself does."""
        self.frozen = False
        self.requires_grad_(True)
        return self.train()

    def train(self, mode: bool = True) -> Self:
        """As in ``nn.Module``, except that a frozen network stays in eval mode."""
        return super().train(mode and not self.frozen)

    def weights_hash(self) -> str:
        """SHA-256 of every parameter and buffer: names, types, shapes and bytes."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.network.state_dict().items()):
            values = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _check_channels(self) -> None:
        image = torch.zeros(1, 1, _PROBE_SIDE, _PROBE_SIDE)
        expected = (1, self.num_classes, _PROBE_SIDE, _PROBE_SIDE)
        was_training = self.training
        try:
            with torch.no_grad():
                received = str(tuple(self.eval()(image).shape))
        except (RuntimeError, TypeError, ValueError, AttributeError) as error:
            received = f"an error: {error}"
        self.train(was_training)
        if received != str(expected):
            raise ConfigError(
                f"a task network for {self.config.classes} must turn {tuple(image.shape)} into {expected}",
                received,
                "Give the network one input channel and one output channel a class, background included.",
            )
