"""The configuration of a network made elsewhere, which is compared with what a study trains."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from taskct_core.config import StrictModel
from taskct_core.modes import MODES
from taskct_core.schema import REFERENCES

ONNX_ENDING = ".onnx"
TORCHSCRIPT_ENDINGS = (".pt", ".pth", ".ts", ".torchscript")


class ReferenceNetworkConfig(StrictModel):
    """A denoiser of CT slices that was trained elsewhere; it is scored beside the trials, and never trained."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$")]
    """What tables and charts call it."""
    network: str
    """A TorchScript file (`.pt`, `.pth`, `.ts`, `.torchscript`), an ONNX file (`.onnx`), or `package.module:Name` of a class
    or function that makes an `nn.Module`, such as `deepinv.models:DnCNN`. It takes float32 images (B, 1, H, W), and
    returns images of that shape."""
    parameters: dict[str, Any] = {}
    """Of `package.module:Name`: what it is made with."""
    weights: str | None = None
    """Of `package.module:Name`: a `.safetensors` file, or a state_dict that `torch.save` wrote."""
    hu_range: tuple[float, float] | None = None
    """Its normalisation: the HU that are 0 and 1 in its images. For one that subtracts a mean and divides by a deviation,
    the mean and the mean + deviation. None: normalised attenuation, as in this project's datasets."""
    arguments: dict[str, Any] = {}
    """What it is called with beside the image, such as `{sigma: 0.05}`; not for ONNX files."""

    @property
    def is_onnx(self) -> bool:
        """Whether it is an ONNX file."""
        return self.network.endswith(ONNX_ENDING)

    @property
    def is_file(self) -> bool:
        """Whether it is a file that holds the whole network."""
        return self.network.endswith((ONNX_ENDING, *TORCHSCRIPT_ENDINGS))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name in (*REFERENCES, *MODES):
            raise ValueError(f"name must not be that of a method that is there already, {self.name}")
        if not self.is_file and ":" not in self.network:
            endings = ", ".join((*TORCHSCRIPT_ENDINGS, ONNX_ENDING))
            raise ValueError(f"network must be package.module:Name, or a file that ends in {endings}")
        if self.is_file and (self.parameters or self.weights):
            raise ValueError("parameters and weights go with package.module:Name; a file holds both itself")
        if self.is_onnx and self.arguments:
            raise ValueError("an ONNX file is called with the image alone: leave arguments out")
        if self.hu_range is not None and not self.hu_range[0] < self.hu_range[1]:
            raise ValueError("hu_range must be (low, high) with low < high")
        return self
