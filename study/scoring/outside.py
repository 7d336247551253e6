"""Reconstructors that were trained elsewhere, to be scored beside a study's trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from study.data.dataset import DatasetCard
from study.data.shards import file_hash
from taskct_core.contracts.rows import Batch
from taskct_core.contracts.yaml_loader import parse_yaml
from taskct_core.errors import ConfigError
from taskct_core.networks import load_weights
from taskct_core.reconstructors import build_reconstructor, count_parameters, inputs_of
from taskct_core.reconstructors.calling import reconstruct
from taskct_core.registry import Trust


@dataclass(frozen=True)
class OutsideCheckpoint:
    """Weights of a reconstructor made outside taskct.

    Attributes:
        weights: a ``.safetensors`` file, or a ``state_dict`` that ``torch.save`` wrote.
        architecture: a built-in one, or ``package.module:Name``.
        parameters: of the architecture.
    """

    weights: Path
    architecture: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_options(cls, weights: Path, architecture: str | None, parameters: str) -> OutsideCheckpoint:
        """As the command line names it; ``parameters`` is a YAML mapping.

        Raises:
            ConfigError: if the architecture is not named, or the parameters are no mapping.
        """
        if architecture is None:
            raise ConfigError(
                "--checkpoint needs --architecture", f"{weights} alone", "Name it, e.g. --architecture unet."
            )
        try:
            values = parse_yaml(parameters)
        except yaml.YAMLError:
            values = None
        if not isinstance(values, dict):
            raise ConfigError(
                "--architecture-parameters must be a YAML mapping",
                repr(parameters),
                "Example: '{width: 16}'.",
            )
        return cls(weights, architecture, values)

    @property
    def name(self) -> str:
        """What its rows are called."""
        return f"outside: {self.weights.stem}"

    @property
    def content_hash(self) -> str:
        """Of the file of weights."""
        return file_hash(self.weights)

    def load(self, card: DatasetCard, trust: Trust) -> tuple[Callable[[Batch], torch.Tensor], int]:
        """How it makes images ``(B, 1, H, W)`` of a batch, and how many numbers it has learned.

        Raises:
            ConfigError: if the architecture or its parameters are not valid, or the dataset's scan is not trusted.
            DataError: if the file is missing, unreadable or of another architecture.
        """
        model = build_reconstructor(self.architecture, self.parameters, card.scan(trust)).eval()
        load_weights(model, str(self.weights), "--checkpoint", "--architecture")

        @torch.no_grad()
        def images(batch: Batch) -> torch.Tensor:
            return reconstruct(model, inputs_of(model), batch, self.architecture)

        return images, count_parameters(model)
