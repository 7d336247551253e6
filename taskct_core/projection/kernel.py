"""The compiled projector, where the package was built with a C++ compiler: no matrix, less traffic."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from taskct_core.geometry import ParallelBeam
from taskct_core.projection.symmetry import (
    base_bins,
    fold_image,
    fold_sinogram,
    unfold_image,
    unfold_sinogram,
)

# Zeros that the kernel reads where rays leave the image, and the columns that it handles at once.
BORDER, STRIP = 1, 16


class KernelProjector:
    """Float32 projector on the CPU for a geometry for which ``is_symmetric`` holds.

    Ask ``kernel_library`` first whether there is one.
    """

    def __init__(self, geometry: ParallelBeam) -> None:
        library = kernel_library()
        assert library is not None
        self.geometry = geometry
        self.edge = max(geometry.image_shape)
        self._library = library
        self._base_shape = (geometry.num_angles // 4, base_bins(geometry.num_bins))
        self._angles = torch.from_numpy(geometry.angles[: geometry.num_angles // 4].copy())
        bin_spacing = geometry.bin_spacing_mm / geometry.pixel_spacing_mm
        self._scan = (
            ctypes.c_int(self.edge),
            *map(ctypes.c_int, self._base_shape),
            ctypes.c_double(-(geometry.num_bins - 1) / 2 * bin_spacing),
            ctypes.c_double(bin_spacing),
            ctypes.c_double(geometry.pixel_spacing_mm / 1000),
            ctypes.c_void_p(self._angles.data_ptr()),
        )

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""
        return _in_chunks(self._project, images, self.geometry.sinogram_shape)

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""
        return _in_chunks(self._backproject, sinograms, self.geometry.image_shape)

    def _project(self, images: Tensor) -> Tensor:
        folded = fold_image(images, self.edge, BORDER, STRIP)
        projected = folded.new_zeros(*self._base_shape, folded.shape[1])
        self._call("taskct_project", folded, projected)
        return unfold_sinogram(projected, *self.geometry.sinogram_shape)

    def _backproject(self, sinograms: Tensor) -> Tensor:
        folded = fold_sinogram(sinograms)
        columns = -(-self.edge // STRIP) * STRIP
        image = folded.new_zeros(columns, self.edge + 2 * BORDER, folded.shape[1])
        self._call("taskct_backproject", image, folded)
        return unfold_image(image, self.edge, self.geometry.image_shape, BORDER)

    def _call(self, name: str, image: Tensor, sinogram: Tensor) -> None:
        lanes, threads = ctypes.c_int(image.shape[-1]), ctypes.c_int(torch.get_num_threads())
        arrays = (ctypes.c_void_p(image.data_ptr()), ctypes.c_void_p(sinogram.data_ptr()))
        getattr(self._library, name)(*self._scan, lanes, threads, *arrays)


@functools.cache
def kernel_library() -> ctypes.CDLL | None:
    """The compiled kernel, or None if it was not built, does not load or would be slower than the matrix."""
    spec = importlib.util.find_spec("taskct_core.projection._kernel")
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
        library.taskct_project.restype = library.taskct_backproject.restype = None
        return library if library.taskct_is_fast() else None
    except (OSError, AttributeError):
        return None


def _in_chunks(apply: Callable[[Tensor], Tensor], items: Tensor, output_shape: tuple[int, int]) -> Tensor:
    """Apply to 4, 2 or 1 items at a time: the kernel has 8, 16 or 32 lanes."""
    outputs, start = [items.new_zeros(0, *output_shape)], 0
    while start < len(items):
        size = next(count for count in (4, 2, 1) if count <= len(items) - start)
        outputs.append(apply(items[start : start + size]))
        start += size
    return outputs[1] if len(outputs) == 2 else torch.cat(outputs)
