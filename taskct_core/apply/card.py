"""``reconstructor.json`` and ``reconstructor.safetensors``: all that is needed to use a reconstructor, and its scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import safetensors.torch
import torch
from pydantic import Field, ValidationError
from torch import nn

from taskct_core.config import StrictModel
from taskct_core.contracts.files import parse_json, write_bytes, write_text
from taskct_core.contracts.folders import ReconstructorFolder
from taskct_core.errors import DataError, first_line
from taskct_core.geometry import FieldOfViewPolicy
from taskct_core.hounsfield import MU_AIR, MU_MAX, MU_WATER
from taskct_core.schema import METRICS
from taskct_core.training.config import TrialConfig

CARD_FORMAT_VERSION = 1
INTENDED_USE = (
    "Research on low-dose CT reconstruction. Not a medical device, not for diagnosis. Expects scans like those it was "
    "trained on: their geometry, pixel size, dose and body region stand in this card."
)
LICENCE = "Apache-2.0 for taskct; the licence of the training data may limit the use of the weights."


class ScanRecord(StrictModel):
    """How the training data were scanned, beside their geometry; of ``dataset.json``."""

    field_of_view: FieldOfViewPolicy = "scanner"
    fbp_filter: str = "hann"
    fbp_frequency_scaling: float = 1.0
    dose: dict[str, Any] = {}  # in words: photons_per_ray, dose_fraction, noise_hu

    @classmethod
    def of(cls, simulation: Mapping[str, Any], dose: Mapping[str, Any]) -> Self:
        """From what a dataset records; older ones record less."""
        names = ("field_of_view", "fbp_filter", "fbp_frequency_scaling")
        known = {name: simulation[name] for name in names if name in simulation}
        return cls.parse({**known, "dose": dict(dose)})


class ReconstructorCard(StrictModel):
    """``reconstructor.json``.

    Attributes:
        architecture: built in, or ``package.module:Name``.
        alpha: that it was trained for, or that it stands for on the path of a front trial.
        inputs: names of the tensors it is called with: fbp, sinogram.
        geometry: a geometry's ``to_dict``.
        scan: how its training data were scanned.
        noise_hu: median noise of its training FBPs in the body, as ``fit.noise_hu`` measures it; None: unknown.
        normalisation: HU -> what it is called with: ``(HU * (mu_water - mu_air) / 1000 + mu_water) / mu_max``, in 1/m.
        data_hash: of the training data.
        scores: split -> metric -> value; null where undefined.
        study, trial: that it comes from, where they are known.
        training: the trial's configuration.
        weights_sha256: of ``reconstructor.safetensors``.
    """

    format_version: int = CARD_FORMAT_VERSION
    architecture: str
    architecture_parameters: dict[str, Any] = {}
    alpha: float
    parameters: int = 0
    inputs: tuple[str, ...]
    geometry: dict[str, Any]
    scan: ScanRecord = ScanRecord()
    noise_hu: float | None = None
    normalisation: dict[str, float] = Field(
        default_factory=lambda: {"mu_water": MU_WATER, "mu_air": MU_AIR, "mu_max": MU_MAX}
    )
    data_hash: str
    task_network_hash: str = ""
    scores: dict[str, dict[str, float | None]] = {}
    study: str = ""
    trial: int | None = None
    training: dict[str, Any] = {}
    licence: str = LICENCE
    intended_use: str = INTENDED_USE
    weights_sha256: str = ""

    @classmethod
    def of(cls, config: TrialConfig, **values: Any) -> Self:
        """The card of a network that was trained with ``config``."""
        own = {
            "architecture": config.architecture,
            "architecture_parameters": config.architecture_parameters,
            "alpha": config.alpha,
            "training": config.model_dump(mode="json"),
        }
        return cls(**{**own, **values})


def scores_of(rows: list[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """The metrics of a trial's final rows, by split; of a front trial's, those of its own alpha, which come first."""
    scores: dict[str, dict[str, float | None]] = {}
    for row in rows:
        scores.setdefault(str(row["split"]), {name: _finite(row[name]) for name in METRICS if name in row})
    return scores


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def save_reconstructor(network: nn.Module, card: ReconstructorCard, folder: Path) -> ReconstructorCard:
    """Write both files, the card last, and return the card with the weights' hash."""
    files = ReconstructorFolder(folder)
    state = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, torch.Tensor)
    }
    content = safetensors.torch.save(state)
    card = card.model_copy(update={"weights_sha256": hashlib.sha256(content).hexdigest()})
    write_bytes(files.weights, content)
    write_text(files.card, card.model_dump_json(indent=2) + "\n")
    return card


def read_card(folder: Path) -> ReconstructorCard:
    """Read ``reconstructor.json``.

    Raises:
        DataError: if there is none, or it is damaged.
    """
    path = ReconstructorFolder(folder).card
    if not path.is_file():
        raise DataError(
            f"a reconstructor's folder must hold {ReconstructorFolder.card}",
            f"{folder}, which has none",
            "Name a finished trial's folder (STUDY/trials/0003), or a finished study's.",
        )
    try:
        return ReconstructorCard.model_validate(parse_json(path.read_bytes()))
    except (ValidationError, ValueError, OSError) as error:
        raise DataError(
            f"{ReconstructorFolder.card} must describe a reconstructor",
            f"{path} ({first_line(error)})",
            "Restore it from a copy, or remove it: `taskct reconstruct` makes it again from the trial's checkpoint.",
        ) from None


def read_weights(folder: Path, card: ReconstructorCard) -> dict[str, torch.Tensor]:
    """Read ``reconstructor.safetensors``.

    Raises:
        DataError: if it is missing, or not the file that the card was written for.
    """
    path = ReconstructorFolder(folder).weights
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights_sha256:
        raise DataError(
            "a reconstructor's weights must be those that its card was written for",
            f"hash {found[:12]} of {path} where the card says {card.weights_sha256[:12]}",
            "Restore both from one copy, or remove both: `taskct reconstruct` makes them from the trial's checkpoint.",
        )
    return safetensors.torch.load(content)
