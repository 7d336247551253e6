"""A trained reconstructor with its geometry and normalisation: tensors in and out, or slices in HU on any grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from taskct_core.apply.card import ReconstructorCard, read_card, read_weights
from taskct_core.apply.slice_grid import SliceGrid
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import ReconstructorFolder
from taskct_core.errors import ConfigError, DataError, first_line
from taskct_core.geometry import PRESETS, Geometry, geometry_from_dict
from taskct_core.hounsfield import MU_MAX, hu_to_mu, mu_to_hu
from taskct_core.networks import exact_convolutions
from taskct_core.projection import RayTransform
from taskct_core.reconstructors import RECONSTRUCTORS, build_reconstructor
from taskct_core.registry import Trust

SLICES_AT_A_TIME = 8
OnSlices = Callable[[int], object]  # called with how many more are done
Hu = NDArray[np.float32]


class Reconstructor(nn.Module):
    """A reconstructor that was trained in a study.

    Called with the tensors that ``card.inputs`` names, as in training: ``fbp`` ``(B, 1, H, W)`` in normalised attenuation,
    ``sinogram`` ``(B, 1, A, D)`` in line integrals / mu_max; returns ``(B, 1, H, W)`` normalised attenuation.

    Attributes:
        network: the bare module.
        geometry: of the scans it was trained on.
        card: what it is, and how it scored.
    """

    def __init__(self, network: nn.Module, geometry: Geometry, card: ReconstructorCard) -> None:
        super().__init__()
        self.network = network
        self.geometry = geometry
        self.card = card

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = self.network(*tensors)
        return image

    @staticmethod
    def normalised(hu: torch.Tensor) -> torch.Tensor:
        """HU -> what the network is called with."""
        return hu_to_mu(hu) / MU_MAX

    @staticmethod
    def to_hu(image: torch.Tensor) -> torch.Tensor:
        """What the network returns -> HU."""
        return mu_to_hu(image * MU_MAX)

    def denoise(
        self,
        hu: NDArray[np.int16 | np.float32],
        spacing_mm: tuple[float, float, float],
        on_slices: OnSlices = lambda _done: None,
    ) -> Hu:
        """Reconstruct slices of a low-dose image series, on their own grid.

        Slices are resampled to the network's pixels and back. Where the field of the training scans ends, and where the
        scanner measured nothing, the input's values stay.

        Args:
            hu: ``(slice, row, column)``, in ``Volume``'s axes.
            spacing_mm: ``(slice, row, column)``.
            on_slices: for progress.

        Returns:
            HU, float32, of the same shape.

        Raises:
            ConfigError: if the network needs sinograms.
        """
        self._require_image_input()
        grid = self.slice_grid(hu, spacing_mm)
        denoised = np.empty(hu.shape, np.float32)
        for first in range(0, len(hu), SLICES_AT_A_TIME):
            part = slice(first, first + SLICES_AT_A_TIME)
            images = self._on_own_pixels(grid.to_network(hu[part]))
            denoised[part] = grid.to_input(images, hu[part])
            on_slices(len(images))
        return denoised

    def reconstruct(self, sinograms: NDArray[np.float32], on_slices: OnSlices = lambda _done: None) -> Hu:
        """Reconstruct sinograms of the training geometry.

        Args:
            sinograms: ``(slice, angle, detector)``, line integrals / mu_max, mu_max in 1/m, as datasets hold them.
            on_slices: for progress.

        Returns:
            HU, float32 ``(slice, row, column)`` on the geometry's pixels.

        Raises:
            DataError: if they are of another scan.
        """
        if sinograms.ndim != 3 or sinograms.shape[1:] != self.geometry.sinogram_shape:
            raise DataError(
                "sinograms must be (slice, angle, detector) of the scan that the network was trained on: "
                f"{self.geometry.sinogram_shape[0]} angles, {self.geometry.sinogram_shape[1]} bins",
                f"shape {sinograms.shape}",
                "Resample them to that scan, or give the image series.",
            )
        transform, scan = RayTransform(self.geometry).to(self.device), self.card.scan
        images = []
        for first in range(0, len(sinograms), SLICES_AT_A_TIME):
            values = np.ascontiguousarray(sinograms[first : first + SLICES_AT_A_TIME, None], np.float32)
            tensors = {"sinogram": torch.from_numpy(values).to(self.device)}
            with torch.inference_mode(), exact_convolutions():
                tensors["fbp"] = transform.fbp(
                    tensors["sinogram"], scan.fbp_filter, scan.fbp_frequency_scaling
                )
                images.append(
                    self.to_hu(self(*(tensors[name] for name in self.card.inputs)))[:, 0].cpu().numpy()
                )
            on_slices(len(values))
        return np.concatenate(images)

    def slice_grid(
        self, hu: NDArray[np.int16 | np.float32], spacing_mm: tuple[float, float, float]
    ) -> SliceGrid:
        """Between a scan's pixels and the network's."""
        return SliceGrid.of(hu, (spacing_mm[1], spacing_mm[2]), self.geometry, self.card.scan.field_of_view)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next((tensor.device for tensor in self.parameters()), torch.device("cpu"))

    def _on_own_pixels(self, hu: Hu) -> Hu:
        with torch.inference_mode(), exact_convolutions():
            images = torch.from_numpy(hu[:, None]).to(self.device)
            made: Hu = self.to_hu(self(self.normalised(images)))[:, 0].cpu().numpy()
        return made

    def _require_image_input(self) -> None:
        if self.card.inputs != ("fbp",):
            raise ConfigError(
                f"the {self.card.architecture} reconstructor is called with {' and '.join(self.card.inputs)}",
                "an image series, which has no sinograms",
                "Give sinograms as .npy, or choose a trial of an image-to-image architecture (unet, dncnn, red_cnn, ...).",
            )


def load_reconstructor(folder: str | Path, trust: bool = False) -> Reconstructor:
    """Read a trained reconstructor, ready to be used, on the CPU.

    Args:
        folder: of a finished trial or study, or of an experiment; or any that holds ``reconstructor.json`` and
            ``reconstructor.safetensors``.
        trust: import an architecture of a user's own that the card names: it runs code of whoever made the folder.

    Raises:
        ConfigError: if the architecture is not built in and not trusted.
        DataError: if the files are missing or damaged.
    """
    place = open_folder(folder)
    for inner in ("study", "trial"):
        if (
            not ReconstructorFolder(place).card.is_file()
            and ReconstructorFolder(place / inner).card.is_file()
        ):
            place = place / inner
    card = read_card(place)
    network, geometry = build_of_card(card, Trust(everything=trust), ReconstructorFolder(place).card)
    try:
        network.load_state_dict(read_weights(place, card))
    except RuntimeError as error:
        raise DataError(
            "a reconstructor's weights must fit its architecture",
            f"{place} ({first_line(error)})",
            "Restore the folder from a copy.",
        ) from None
    return Reconstructor(network, geometry, card).eval().requires_grad_(False)


def build_of_card(card: ReconstructorCard, trust: Trust, source: object) -> tuple[nn.Module, Geometry]:
    """The untrained network that a card describes, and its geometry.

    Raises:
        ConfigError: if a name is not trusted, or the card is not valid.
    """
    trust.require(card.architecture, RECONSTRUCTORS, "reconstructor", source)
    if (ray_transform := card.geometry.get("ray_transform")) is not None:
        trust.require(str(ray_transform), PRESETS, "ray transform", source)
    geometry = geometry_from_dict(card.geometry)
    return build_reconstructor(card.architecture, card.architecture_parameters, geometry), geometry
