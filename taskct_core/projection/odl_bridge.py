"""ODL and taskct, both ways.

``odl_scan`` makes any two-dimensional ODL ``RayTransform``, with its own geometry and back-end, the
projector of a dataset and of the networks trained on it; ``to_odl`` makes ours an ODL operator for ODL's
solvers. ODL's adjoints are those of weighted spaces, ours are transposes; both ways convert.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import odl
import torch
from numpy.typing import NDArray
from odl import Operator, uniform_discr
from torch import Tensor

from taskct_core.errors import ConfigError
from taskct_core.geometry import Geometry, OdlScan
from taskct_core.projection.transform import RayTransform
from taskct_core.registry import load

_Untyped: TypeAlias = Any  # ODL's operators, spaces and elements: it has no types
tomo: _Untyped = odl.applications.tomo
_IN_THIS_PROCESS = "in this process:"
LARGEST_ADJOINT_ERROR = 1e-3  # relative; float32 leaves some 1e-6
_given: dict[str, _Untyped] = {}  # operators that were given as such


def odl_scan(ray_transform: str | _Untyped, *, unit_mm: float = 1000.0) -> OdlScan:
    """The scan of an ODL ray transform, for ``RayTransform``, ``build_reconstructor`` and ``LowDoseScan``.

    Args:
        ray_transform: ``package.module:function``, a function without arguments that makes the ODL
            ``RayTransform``: each process calls it once. Or the operator itself, which only this process
            knows then: ODL's operators cannot be pickled.
        unit_mm: the length unit of the ODL spaces in mm; 1000 for metres.

    Raises:
        ConfigError: if it cannot be imported, is no two-dimensional ray transform, or has no square pixels.
    """
    if isinstance(ray_transform, str):
        name = ray_transform
    else:
        name = f"{_IN_THIS_PROCESS}{id(ray_transform)}"
        _given[name] = ray_transform
    operator = operator_of(name)
    sides = operator.domain.cell_sides
    if not np.allclose(sides[0], sides[1], rtol=1e-6):
        raise _refused("an ODL ray transform must have square pixels", f"{sides[0]:g} x {sides[1]:g}")
    return OdlScan(
        image_shape=(int(operator.domain.shape[0]), int(operator.domain.shape[1])),
        pixel_spacing_mm=float(sides[0]) * unit_mm,
        num_bins=int(operator.range.shape[1]),
        bin_spacing_mm=float(operator.geometry.det_partition.extent[0]) * unit_mm / operator.range.shape[1],
        num_angles=int(operator.range.shape[0]),
        angles_rad=tuple(map(float, operator.geometry.angles)),
        ray_transform=name,
        unit_mm=unit_mm,
    )


def to_odl(geometry: Geometry, dtype: str = "float32") -> Operator:
    """Our ray transform as an ODL operator between L2 spaces over metres and radians.

    Args:
        dtype: ``float32`` or ``float64``; the latter for scans that ``RayTransform`` computes in it.
    """
    half_image = np.array(geometry.image_shape) * geometry.pixel_spacing_mm / 2000
    half_detector = geometry.num_bins * geometry.bin_spacing_mm / 2000
    images = uniform_discr(-half_image, half_image, geometry.image_shape, dtype=dtype)
    angular_range = geometry.num_angles * geometry.angle_spacing_rad or 1.0  # 0: all angles are the same
    sinograms = uniform_discr(
        [0, -half_detector], [angular_range, half_detector], geometry.sinogram_shape, dtype=dtype
    )
    transform = RayTransform(geometry)
    weights = sinograms.cell_volume / images.cell_volume
    forward = _Operator(images, sinograms, transform.forward, 1.0)
    backward = _Operator(sinograms, images, transform.adjoint, weights)
    forward.its_adjoint, backward.its_adjoint = backward, forward
    return forward


class _Operator(Operator):
    """A scaled map of tensors (1, 1, height, width) as an operator of arrays."""

    its_adjoint: Operator

    def __init__(
        self, domain: _Untyped, range: _Untyped, apply: Callable[[Tensor], Tensor], scale: float
    ) -> None:
        super().__init__(domain=domain, range=range, linear=True)
        self._apply, self._scale = apply, scale

    def _call(self, x: _Untyped) -> _Untyped:
        values = torch.from_numpy(np.array(x.data))[None, None]
        return self.range.element((self._apply(values)[0, 0] * self._scale).numpy())

    @property
    def adjoint(self) -> Operator:
        return self.its_adjoint


class OdlProjector:
    """The projector of an ``OdlScan``: slice by slice through ODL, lengths in metres.

    Back-projection is as exact a transpose as ODL's back-end gives; one that is off is warned of.
    """

    def __init__(self, geometry: OdlScan) -> None:
        operator = operator_of(geometry.ray_transform)
        self._map = _MatchedMap(operator, geometry.unit_mm / 1000)
        error = self._map.adjoint_error()
        if error > LARGEST_ADJOINT_ERROR:
            warnings.warn(
                f"The back-projection of ODL's back-end {operator.impl} is no exact transpose of its projection "
                f"({100 * error:.1g} % off), so gradients through it are no exact ones. ASTRA's are.",
                stacklevel=2,
            )

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""
        return self._map.apply(images)

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""
        return self._map.transpose(sinograms)


class OdlFbp:
    """ODL's own filtered back-projection, for scans whose rays are not parallel."""

    input_name, output_name = "sinogram", "image"

    def __init__(self, geometry: OdlScan, filter_name: str, frequency_scaling: float) -> None:
        self.input_shape, self.output_shape = geometry.sinogram_shape, geometry.image_shape
        odl_filter = "-".join(part.capitalize() for part in filter_name.split("-"))
        fbp = tomo.fbp_op(
            operator_of(geometry.ray_transform), filter_type=odl_filter, frequency_scaling=frequency_scaling
        )
        self._map = _MatchedMap(fbp, 1000 / geometry.unit_mm)

    def apply(self, inputs: Tensor) -> Tensor:
        return self._map.apply(inputs)

    def transpose(self, outputs: Tensor) -> Tensor:
        return self._map.transpose(outputs)


class _MatchedMap:
    """A linear ODL operator, times a number, and its transpose, for batches of tensors."""

    def __init__(self, operator: _Untyped, scale: float) -> None:
        self._operator, self._scale = operator, scale
        self._domain_weights, self._range_weights = (
            _weights(space) for space in (operator.domain, operator.range)
        )

    def apply(self, inputs: Tensor) -> Tensor:
        return self._each(self._operator, inputs, 1.0, 1.0)

    def transpose(self, outputs: Tensor) -> Tensor:
        # <Ax, y> weighted by the range = <x, A* y> weighted by the domain.
        return self._each(self._operator.adjoint, outputs, 1 / self._range_weights, self._domain_weights)

    def adjoint_error(self) -> float:
        """|<Ax, y> - <x, A^T y>| over the former, for one pair of random arrays."""
        draw = torch.Generator().manual_seed(0)
        x = torch.rand(1, *self._operator.domain.shape, generator=draw)
        y = torch.rand(1, *self._operator.range.shape, generator=draw)
        left, right = (self.apply(x).double() * y).sum(), (x.double() * self.transpose(y)).sum()
        return float(abs(left - right) / abs(left))

    def _each(
        self, operator: _Untyped, inputs: Tensor, before: NDArray[Any] | float, after: NDArray[Any] | float
    ) -> Tensor:
        outputs = inputs.new_empty(len(inputs), *operator.range.shape)
        for item, output in zip(inputs.detach().cpu().numpy(), outputs, strict=True):
            result = operator(operator.domain.element((item * before).astype(operator.domain.dtype)))
            output.copy_(torch.from_numpy(np.asarray(result.data) * after * self._scale))
        return outputs


def is_parallel(geometry: OdlScan) -> bool:
    """Whether its rays are parallel, as our filtered back-projection needs them."""
    return isinstance(operator_of(geometry.ray_transform).geometry, tomo.Parallel2dGeometry)


@functools.lru_cache(maxsize=4)
def refined(geometry: OdlScan, pixels: int) -> OdlScan:
    """The same scan, by the same back-end, of an image of so many pixels squared."""
    operator = operator_of(geometry.ray_transform)
    domain = operator.domain
    fine = uniform_discr(domain.min_pt, domain.max_pt, (pixels, pixels), dtype=domain.dtype)
    back_end = type(operator.get_impl())
    transform = tomo.RayTransform(fine, operator.geometry, impl=back_end)
    return odl_scan(transform, unit_mm=geometry.unit_mm)


@functools.lru_cache(maxsize=8)
def operator_of(name: str) -> _Untyped:
    """The ODL ray transform of an ``OdlScan.ray_transform``.

    Raises:
        ConfigError: if it cannot be imported, or is no two-dimensional ray transform.
    """
    if name.startswith(_IN_THIS_PROCESS):
        if name not in _given:
            raise ConfigError(
                "an ODL ray transform that was given as an operator is known to its own process only",
                name,
                "Name a function that makes it: odl_scan('package.module:function').",
            )
        operator = _given[name]
    else:
        operator = _made_by(name)
    if not isinstance(operator, tomo.RayTransform):
        raise _refused("it must be an odl RayTransform", f"{name} is a {type(operator).__name__}")
    if operator.domain.ndim != 2 or operator.range.ndim != 2:
        raise _refused(
            "an ODL ray transform must have two dimensions", f"an image of shape {operator.domain.shape}"
        )
    return operator


def _made_by(name: str) -> _Untyped:
    make = load(name, {}, "ODL ray transform")
    try:
        return make()
    except Exception as error:  # a user's function may raise anything
        raise _refused(
            "the function that makes the ODL ray transform must run without arguments",
            f"{name} raised {type(error).__name__}: {error}",
        ) from error


def _weights(space: _Untyped) -> NDArray[Any] | float:
    """The weights of a space's inner product: a number or an array of its shape."""
    weighting = space.weighting
    return np.asarray(weighting.array) if hasattr(weighting, "array") else float(weighting.const)


def _refused(rule: str, received: str) -> ConfigError:
    return ConfigError(rule, received, "See docs/physics.md, ODL both ways.")
