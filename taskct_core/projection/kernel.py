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
    COPIES,
    base_bins,
    fold_image,
    fold_sinogram,
    unfold_image,
    unfold_sinogram,
)

KERNEL_VERSION = 2  # raise it with that of kernel.cpp when the latter changes: its speed is measured again
# Zeros that the kernel reads where rays leave the image, the columns that it handles at once, and images.
BORDER, STRIP, MOST_IMAGES = 1, 8, 4


class KernelProjector:
    """Float32 projector on the CPU for a geometry for which ``is_symmetric`` holds.

    All kernels that one processor runs give the same bits.

    Args:
        kernel: one of ``kernels()``.
    """

    def __init__(self, geometry: ParallelBeam, kernel: str) -> None:
        library = kernel_library()
        assert library is not None
        self.geometry = geometry
        self.kernel = kernel
        self.edge = max(geometry.image_shape)
        self._library = library
        self._base_shape = (geometry.num_angles // 4, base_bins(geometry.num_bins))
        self._rays = _base_rays(geometry)
        self._scan = (
            ctypes.c_int(kernels()[kernel]),
            ctypes.c_int(self.edge),
            *map(ctypes.c_int, self._base_shape),
            ctypes.c_void_p(self._rays.data_ptr()),
        )

    def project(self, images: Tensor) -> Tensor:
        """(batch, height, width) -> (batch, angle, detector)."""
        return _in_chunks(self._project, images, self.geometry.sinogram_shape)

    def backproject(self, sinograms: Tensor) -> Tensor:
        """(batch, angle, detector) -> (batch, height, width)."""
        return _in_chunks(self._backproject, sinograms, self.geometry.image_shape)

    def project_folded(self, folded: Tensor) -> Tensor:
        """What ``fold_image`` with BORDER and STRIP returns -> what ``unfold_sinogram`` takes."""
        sinogram = folded.new_zeros(*self._base_shape, folded.shape[1])
        self._call("taskct_project", folded, sinogram)
        return sinogram

    def backproject_folded(self, folded: Tensor) -> Tensor:
        """What ``fold_sinogram`` returns -> what ``unfold_image`` with BORDER takes."""
        columns = -(-self.edge // STRIP) * STRIP
        image = folded.new_zeros(columns, self.edge + 2 * BORDER, folded.shape[1])
        self._call("taskct_backproject", image, folded)
        return image

    def _project(self, images: Tensor) -> Tensor:
        projected = self.project_folded(fold_image(images, self.edge, BORDER, STRIP))
        return unfold_sinogram(projected, *self.geometry.sinogram_shape)

    def _backproject(self, sinograms: Tensor) -> Tensor:
        image = self.backproject_folded(fold_sinogram(sinograms))
        return unfold_image(image, self.edge, self.geometry.image_shape, BORDER)

    def _call(self, name: str, image: Tensor, sinogram: Tensor) -> None:
        images, threads = ctypes.c_int(image.shape[-1] // COPIES), ctypes.c_int(torch.get_num_threads())
        arrays = (ctypes.c_void_p(image.data_ptr()), ctypes.c_void_p(sinogram.data_ptr()))
        getattr(self._library, name)(*self._scan, images, threads, *arrays)


@functools.cache
def kernels() -> dict[str, int]:
    """The kernels that this processor runs, the widest first, with their numbers; none if none was built."""
    library = kernel_library()
    if library is None:
        return {}
    numbers = range(library.taskct_num_kernels())
    return {
        library.taskct_kernel_name(number).decode(): number
        for number in numbers
        if library.taskct_kernel_runs_here(number)
    }


def kernel_compiler() -> str | None:
    """The compiler that built the kernels, if one did."""
    library = kernel_library()
    return None if library is None else library.taskct_compiler().decode()


@functools.cache
def kernel_library() -> ctypes.CDLL | None:
    """The compiled kernels, or None if they were not built, do not load or are of another version."""
    spec = importlib.util.find_spec("taskct_core.projection._kernel")
    if spec is None or spec.origin is None:
        return None
    try:
        library = ctypes.CDLL(spec.origin)
        if library.taskct_kernel_version() != KERNEL_VERSION:
            return None
    except (OSError, AttributeError):
        return None
    library.taskct_project.restype = library.taskct_backproject.restype = None
    library.taskct_kernel_name.restype = library.taskct_compiler.restype = ctypes.c_char_p
    return library


def _base_rays(geometry: ParallelBeam) -> Tensor:
    """For each base angle: where the ray of bin 0 enters column 0, in pixels, by how many the next bin's
    enters above, how a ray rises from column to column, and its length in one, in metres; float64.
    """
    spacing = geometry.bin_spacing_mm / geometry.pixel_spacing_mm
    angles = torch.from_numpy(geometry.angles[: geometry.num_angles // 4].copy())
    slope, centre = -angles.tan(), (max(geometry.image_shape) - 1) / 2
    entry = -(geometry.num_bins - 1) / 2 * spacing / angles.cos() + centre - slope * centre
    length = geometry.pixel_spacing_mm / 1000 / angles.cos()
    return torch.stack([entry, spacing / angles.cos(), slope, length], dim=1).contiguous()


def _in_chunks(apply: Callable[[Tensor], Tensor], items: Tensor, output_shape: tuple[int, int]) -> Tensor:
    """Apply to up to MOST_IMAGES items at a time."""
    if len(items) == 0:
        return items.new_zeros(0, *output_shape)
    outputs = [apply(chunk) for chunk in items.split(MOST_IMAGES)]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)
