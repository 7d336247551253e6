"""The reconstructors: models from low-dose data to an image. One file an architecture, one line here.

A reconstructor is an ``nn.Module`` that is called with the batch's tensors named in its class
attribute ``inputs`` (``("fbp",)`` if it has none) and returns ``(B, 1, H, W)`` normalised attenuation.
One whose constructor has an argument ``geometry`` receives the scan's ``Geometry``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from taskct_core import registry
from taskct_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from taskct_core.geometry import Geometry

RECONSTRUCTORS = {
    # FBP -> image
    "dncnn": "taskct_core.reconstructors.dncnn:DnCNN",
    "red_cnn": "taskct_core.reconstructors.red_cnn:REDCNN",
    "unet": "taskct_core.reconstructors.unet:ResidualUNet",
    "segresnet": "taskct_core.reconstructors.segresnet:ResidualSegResNet",
    "restormer": "taskct_core.reconstructors.restormer:ResidualRestormer",
    "msd": "taskct_core.reconstructors.msd:MSD",
    # FBP and sinogram -> image, with the projector inside
    "learned_primal_dual": "taskct_core.reconstructors.primal_dual:LearnedPrimalDual",
    "learned_gradient": "taskct_core.reconstructors.learned_gradient:LearnedGradient",
    "itnet": "taskct_core.reconstructors.itnet:ItNet",
    # sinogram -> image
    "iradonmap": "taskct_core.reconstructors.iradonmap:IRadonMap",
}

_TENSORS = ("fbp", "sinogram")


def build_reconstructor(
    architecture: str, parameters: Mapping[str, Any] | None = None, geometry: Geometry | None = None
) -> nn.Module:
    """Build the reconstructor ``architecture``, a key of ``RECONSTRUCTORS`` or ``package.module:Name``.

    Raises:
        ConfigError: if the name, a parameter or a value is not valid, naming the valid ones, or the result
            is no ``nn.Module``.
    """
    model = registry.build_module(
        architecture, RECONSTRUCTORS, "reconstructor", parameters or {}, geometry=geometry
    )
    if not set(inputs_of(model)) <= set(_TENSORS):
        raise ConfigError(
            f"a reconstructor's inputs must be of {', '.join(_TENSORS)}",
            f"{architecture}.inputs = {inputs_of(model)}",
            "Correct the class attribute.",
        )
    return model


def inputs_of(reconstructor: nn.Module) -> tuple[str, ...]:
    """Names of the batch's tensors that the reconstructor is called with, in order."""
    return tuple(getattr(reconstructor, "inputs", ("fbp",)))


def count_parameters(reconstructor: nn.Module) -> int:
    """How many numbers the reconstructor learns."""
    return sum(parameter.numel() for parameter in reconstructor.parameters() if parameter.requires_grad)
