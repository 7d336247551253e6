"""What carries out a projection: one small interface, and the choice among its implementations."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from typing import Protocol

import torch
from torch import Tensor

from taskct_core.errors import DataError
from taskct_core.geometry import Geometry, OdlScan, ParallelBeam
from taskct_core.projection.fastest import PORTABLE, fastest_projectors
from taskct_core.projection.kernel import KernelProjector
from taskct_core.projection.symmetric import SymmetricProjector
from taskct_core.projection.symmetry import is_symmetric


class Projector(Protocol):
    """A linear map and its exact transpose on plain tensors, lengths in metres."""

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""


class TwoProjectors:
    """One projector's projection and the other's back-projection: transposes but for rounding."""

    def __init__(self, for_images: Projector, for_sinograms: Projector) -> None:
        self.project = for_images.project
        self.backproject = for_sinograms.backproject


@functools.lru_cache(maxsize=8)
def projector_for(geometry: Geometry, dtype: torch.dtype, device: torch.device) -> Projector:
    """The fastest projector for a geometry; matrices are shared by all who ask in this process."""
    if isinstance(geometry, ParallelBeam) and is_symmetric(geometry):
        return _symmetric(geometry, dtype, device)
    if isinstance(geometry, OdlScan):
        from taskct_core.projection.odl_bridge import OdlProjector

        return OdlProjector(geometry)
    if dtype == torch.float64:
        raise DataError(
            "a scan without the eightfold symmetry is projected by ASTRA, which computes in float32",
            "float64",
            "Convert it: image.float(); or choose a symmetric scan, which is computed in float64 (docs/physics.md).",
        )
    from taskct_core.projection.astra_backend import AstraProjector

    if isinstance(geometry, ParallelBeam):
        warnings.warn(
            "This scan lacks the eightfold symmetry of the fast projector, so ASTRA projects it, 20 to 40 "
            "times slower. Symmetric scans have num_angles divisible by 4, angles_rad=None, and image "
            "height and width that are both even or both odd.",
            stacklevel=3,
        )
    return AstraProjector(geometry)


def _symmetric(geometry: ParallelBeam, dtype: torch.dtype, device: torch.device) -> Projector:
    if dtype == torch.float32 and device.type == "cpu":
        return _fastest_on_cpu(geometry)
    if dtype == torch.float32 and device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from taskct_core.projection.triton_projector import TritonProjector

        return TritonProjector(geometry, device)
    return SymmetricProjector(geometry, dtype, device)


def _fastest_on_cpu(geometry: ParallelBeam) -> Projector:
    """Each operation by its fastest projector here."""
    chosen = fastest_projectors(geometry)
    projectors = {name: _named(name, geometry) for name in set(chosen.values())}
    if len(projectors) == 1:
        return next(iter(projectors.values()))
    return TwoProjectors(projectors[chosen["project"]], projectors[chosen["backproject"]])


def _named(name: str, geometry: ParallelBeam) -> Projector:
    if name == PORTABLE:
        return SymmetricProjector(geometry, torch.float32, torch.device("cpu"))
    return KernelProjector(geometry, name)
