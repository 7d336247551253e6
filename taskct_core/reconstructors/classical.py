"""Classical reconstructions, batched: filtered back-projection, SIRT, CGLS and total variation.

All take a ray transform and (batch, 1, angle, detector) sinograms, and return (batch, 1, height,
width) images; a batch gives what its items give alone. Their settings are tuned on validation data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from taskct_core.errors import ConfigError, DataError
from taskct_core.filter_windows import FILTERS
from taskct_core.projection import RayTransform

Settings = dict[str, Any]

# Dual over primal step of ``tv``: attenuations are larger than their duals. 0.1 to 0.3 converge fastest.
TV_STEP_RATIO = 0.2


def fbp(
    transform: RayTransform, sinogram: Tensor, *, filter: str = "hann", frequency_scaling: float = 1.0
) -> Tensor:
    """Filtered back-projection; see ``RayTransform.fbp``."""
    return transform.fbp(sinogram, filter, frequency_scaling)


@torch.no_grad()
def sirt(transform: RayTransform, sinogram: Tensor, *, iterations: int = 100) -> Tensor:
    """Simultaneous iterative reconstruction, kept non-negative, from zero.

    x <- max(0, x + C A^T R (y - A x)) with R and C the inverse row and column sums of A
    (Gregor & Benson 2008, IEEE Trans. Med. Imaging 27:918).
    """
    _require_positive(iterations=iterations)
    image_ones = sinogram.new_ones(1, 1, *transform.geometry.image_shape)
    row_weights = _inverse(transform(image_ones))
    column_weights = _inverse(transform.adjoint(torch.ones_like(row_weights)))
    image = sinogram.new_zeros(len(sinogram), 1, *transform.geometry.image_shape)
    for _ in range(iterations):
        residual = row_weights * (sinogram - transform(image))
        image = (image + column_weights * transform.adjoint(residual)).clamp_(min=0)
    return image


@torch.no_grad()
def cgls(transform: RayTransform, sinogram: Tensor, *, iterations: int = 10) -> Tensor:
    """Conjugate gradients on the normal equations from zero; few iterations regularise.

    Björck 1996, Numerical Methods for Least Squares Problems, algorithm 7.4.1.
    """
    _require_positive(iterations=iterations)
    image = sinogram.new_zeros(len(sinogram), 1, *transform.geometry.image_shape)
    residual = sinogram.clone()
    direction = gradient = transform.adjoint(residual)
    energy = _squares(gradient)
    for _ in range(iterations):
        projected = transform(direction)
        step = energy / _squares(projected).clamp(min=torch.finfo(energy.dtype).tiny)
        image += step * direction
        residual -= step * projected
        gradient = transform.adjoint(residual)
        energy, previous = _squares(gradient), energy
        direction = gradient + energy / previous.clamp(min=torch.finfo(energy.dtype).tiny) * direction
    return image


@torch.no_grad()
def tv(transform: RayTransform, sinogram: Tensor, *, weight: float = 1e-3, iterations: int = 200) -> Tensor:
    """Total variation: the non-negative minimiser of ``tv_objective``, from a few steps of CGLS.

    Primal-dual hybrid gradient (Chambolle & Pock 2011, J. Math. Imaging Vis. 40:120, algorithm 1).

    Args:
        weight: of the total variation against the data; larger is smoother.
    """
    _require_positive(weight=weight, iterations=iterations)
    scale = 1 / transform.norm()
    # |A / norm|^2 = 1 and |gradient|^2 <= 8 bound the stacked operator.
    mean_step = 0.99 / math.sqrt(1 + 8)
    primal_step, dual_step = mean_step / TV_STEP_RATIO, mean_step * TV_STEP_RATIO
    image = cgls(transform, sinogram, iterations=5).clamp_(min=0)
    ahead = image
    dual_data, dual_gradient = torch.zeros_like(sinogram), _gradient(torch.zeros_like(image))
    for _ in range(iterations):
        dual_data = (dual_data + dual_step * scale * (transform(ahead) - sinogram)) / (1 + dual_step)
        dual_gradient = dual_gradient + dual_step * _gradient(ahead)
        dual_gradient /= (_magnitude(dual_gradient) / weight).clamp(min=1)
        descent = scale * transform.adjoint(dual_data) - _divergence(dual_gradient)
        previous, image = image, (image - primal_step * descent).clamp_(min=0)
        ahead = 2 * image - previous
    return image


def tv_objective(transform: RayTransform, image: Tensor, sinogram: Tensor, weight: float) -> Tensor:
    """|A x - y|^2 / (2 |A|^2) + weight TV(x) of each item, isotropic with forward differences: (batch,).

    Dividing by the operator norm |A| makes a weight mean about the same for every geometry.
    """
    misfit = (transform(image) - sinogram) / transform.norm()
    variation = _magnitude(_gradient(image)).sum(dim=(1, 2, 3))
    return misfit.square().sum(dim=(1, 2, 3)) / 2 + weight * variation


CLASSICAL: dict[str, Callable[..., Tensor]] = {"fbp": fbp, "sirt": sirt, "cgls": cgls, "tv": tv}

# Settings among which ``tune`` chooses.
CANDIDATES: dict[str, list[Settings]] = {
    "fbp": [
        {"filter": name, "frequency_scaling": scaling}
        for name in FILTERS
        for scaling in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    ],
    "sirt": [{"iterations": count} for count in (10, 20, 50, 100, 200)],
    "cgls": [{"iterations": count} for count in (2, 4, 6, 8, 12, 16)],
    "tv": [{"weight": weight} for weight in (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)],
}


def tune(
    method: str,
    transform: RayTransform,
    sinogram: Tensor,
    full_dose: Tensor,
    candidates: list[Settings] | None = None,
) -> Settings:
    """The settings with the highest mean PSNR (data range 1) on some samples; use validation ones.

    Args:
        method: a key of ``CLASSICAL``.
        sinogram: ``(batch, 1, angle, detector)``, low-dose.
        full_dose: ``(batch, 1, height, width)``.
        candidates: settings to try; ``CANDIDATES[method]`` by default.

    Raises:
        ConfigError: if the method is unknown.
        DataError: if there are no samples.
    """
    if method not in CLASSICAL:
        raise ConfigError(
            f"a classical method must be one of {', '.join(CLASSICAL)}", repr(method), "Choose one of them."
        )
    if len(sinogram) == 0 or len(sinogram) != len(full_dose):
        raise DataError(
            "tuning needs samples, each with its full-dose image",
            f"{len(sinogram)} sinograms, {len(full_dose)} images",
            "Pass validation samples.",
        )

    return max(
        candidates or CANDIDATES[method],
        key=lambda settings: mean_psnr(method, transform, sinogram, full_dose, settings),
    )


def mean_psnr(
    method: str, transform: RayTransform, sinogram: Tensor, full_dose: Tensor, settings: Settings
) -> float:
    """Mean PSNR (data range 1) of a method with some settings; the tensors are those of ``tune``."""
    image = CLASSICAL[method](transform, sinogram, **settings)
    return float(-10 * (image - full_dose).square().mean(dim=(1, 2, 3)).log10().mean())


def _gradient(image: Tensor) -> Tensor:
    """Forward differences, zero at the far edges: (batch, 1, h, w) -> (batch, 2, h, w)."""
    gradient = image.new_zeros(len(image), 2, *image.shape[2:])
    gradient[:, 0, :-1] = image[:, 0, 1:] - image[:, 0, :-1]
    gradient[:, 1, :, :-1] = image[:, 0, :, 1:] - image[:, 0, :, :-1]
    return gradient


def _divergence(field: Tensor) -> Tensor:
    """Minus the transpose of ``_gradient``."""
    divergence = torch.zeros_like(field[:, :1])
    divergence[:, 0, :-1] += field[:, 0, :-1]
    divergence[:, 0, 1:] -= field[:, 0, :-1]
    divergence[:, 0, :, :-1] += field[:, 1, :, :-1]
    divergence[:, 0, :, 1:] -= field[:, 1, :, :-1]
    return divergence


def _magnitude(field: Tensor) -> Tensor:
    """Euclidean length over the channels: (batch, 2, h, w) -> (batch, 1, h, w)."""
    return torch.hypot(field[:, :1], field[:, 1:])


def _inverse(sums: Tensor) -> Tensor:
    """1 / sums, and 0 for rays that miss the image and pixels that no ray meets."""
    return torch.where(sums > 0, 1 / sums, 0)


def _squares(tensor: Tensor) -> Tensor:
    return tensor.square().sum(dim=(1, 2, 3), keepdim=True)


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name} must be positive", f"{name} = {value!r}", "Choose a larger value.")
