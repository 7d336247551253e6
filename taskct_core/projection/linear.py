"""A scan's linear maps in PyTorch: differentiable in every way, since a derivative is the map or its transpose.

In eager mode an ``autograd.Function`` carries them out, which knows backward and forward mode and
``vmap``. Under ``torch.compile`` and ``torch.export`` it is the operator ``taskct::linear_map``, which
they keep as one node; its arguments are plain strings, so an exported program can be saved, and loaded
wherever ``taskct_core.projection`` is imported.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from taskct_core.errors import DataError
from taskct_core.geometry import Geometry, geometry_from_dict
from taskct_core.projection.maps import LinearMap, build_map

VALUE, GRADIENT, TANGENT = "", "gradient of the ", "tangent of the "  # what a tensor holds, for messages


def describe(geometry: Geometry) -> str:
    """The geometry as the text by which the maps below know it."""
    return json.dumps(geometry.to_dict(), default=lambda number: number.item())


def apply_map(inputs: Tensor, kind: str, geometry: str, transposed: bool = False) -> Tensor:
    """One of a geometry's maps, or its transpose.

    Args:
        inputs: ``(batch, *shape)``, float32 or float64.
        kind: see ``maps.build_map``.
        geometry: what ``describe`` returned.

    Raises:
        DataError: if a value or gradient on the CPU is not finite. A GPU is not asked, since the CPU would
            wait for it in every call of an unrolled network.
    """
    if torch.compiler.is_compiling():
        return _operator(inputs, kind, geometry, transposed, VALUE)
    return _LinearMap.apply(inputs, kind, geometry, transposed, VALUE)


def _compute(inputs: Tensor, kind: str, geometry: str, transposed: bool, role: str) -> Tensor:
    linear_map = _map(kind, geometry)
    if not inputs.is_cuda:
        _check_finite(inputs, role + (linear_map.output_name if transposed else linear_map.input_name))
    return linear_map.transpose(inputs) if transposed else linear_map.apply(inputs)


@functools.lru_cache(maxsize=64)
def _map(kind: str, geometry: str) -> LinearMap:
    return build_map(kind, geometry_from_dict(json.loads(geometry)))


class _Context(Protocol):
    """What autograd keeps of a call."""

    kind: str
    geometry: str
    transposed: bool


class _VmapInfo(Protocol):
    batch_size: int


def _batched(
    apply: Callable[..., Tensor],
    info: _VmapInfo,
    in_dims: tuple[int | None, ...],
    inputs: Tensor,
    *arguments: object,
) -> tuple[Tensor, int]:
    """The rule of ``vmap``: its axis joins the batch."""
    axis = in_dims[0]
    assert axis is not None
    outputs = apply(inputs.movedim(axis, 0).flatten(0, 1), *arguments)
    return outputs.unflatten(0, (info.batch_size, len(outputs) // info.batch_size)), 0


class _LinearMap(torch.autograd.Function):
    @staticmethod
    def forward(inputs: Tensor, kind: str, geometry: str, transposed: bool, role: str) -> Tensor:
        return _compute(inputs, kind, geometry, transposed, role)

    @staticmethod
    def setup_context(ctx: _Context, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.kind, ctx.geometry, ctx.transposed, _ = inputs

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor) -> tuple[Any, ...]:
        gradient = _LinearMap.apply(gradients[0], ctx.kind, ctx.geometry, not ctx.transposed, GRADIENT)
        return gradient, None, None, None, None

    @staticmethod
    def jvp(ctx: _Context, *tangents: Tensor) -> Tensor:
        return _LinearMap.apply(tangents[0], ctx.kind, ctx.geometry, ctx.transposed, TANGENT)

    @staticmethod
    def vmap(info: _VmapInfo, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Tensor, int]:
        return _batched(_LinearMap.apply, info, in_dims, *arguments)


@torch.library.custom_op("taskct::linear_map", mutates_args=())
def _operator(inputs: Tensor, kind: str, geometry: str, transposed: bool, role: str) -> Tensor:
    return _compute(inputs, kind, geometry, transposed, role)


@_operator.register_fake
def _(inputs: Tensor, kind: str, geometry: str, transposed: bool, role: str) -> Tensor:
    linear_map = _map(kind, geometry)
    shape = linear_map.input_shape if transposed else linear_map.output_shape
    return inputs.new_empty(inputs.shape[0], *shape)


def _operator_context(ctx: _Context, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.kind, ctx.geometry, ctx.transposed, _ = inputs


def _operator_backward(ctx: _Context, gradient: Tensor) -> tuple[Any, ...]:
    return _operator(gradient, ctx.kind, ctx.geometry, not ctx.transposed, GRADIENT), None, None, None, None


_operator.register_autograd(_operator_backward, setup_context=_operator_context)
_operator.register_vmap(functools.partial(_batched, _operator))


def _check_finite(tensor: Tensor, what: str) -> None:
    if tensor.sum().isfinite():  # one quick pass; a sum may overflow, then the values decide
        return
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise DataError(
            f"the {what} must be finite",
            f"{bad} NaN or infinite values",
            "Check what made it: a diverged training, a division by zero, unread voxels.",
        )
