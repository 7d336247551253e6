"""The eightfold symmetry of half-offset parallel scans, as foldings of images and sinograms.

With N angles at half offset, N divisible by 4, the angles theta, pi/2 - theta, pi/2 + theta and
pi - theta see the same pixels once the image is transposed or flipped, and the two halves of a
centred detector see the same pixels once it is rotated by 180 degrees. Projecting the 8 copies of an
image over N/4 angles and half of the bins therefore gives its whole sinogram, with a matrix an eighth
of the size. Copies are the last axis but one, the batch is the last: a pixel's 8 x batch values lie
together, which is what makes the sparse product fast.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from taskct_core.geometry import Geometry, ParallelBeam

COPIES = 8  # (theta, pi/2 - theta, pi/2 + theta, pi - theta) x (as is, rotated by 180 degrees)


def is_symmetric(geometry: Geometry) -> bool:
    """Whether the scan has the eightfold symmetry (a rectangular image may be padded to a square)."""
    if not isinstance(geometry, ParallelBeam) or geometry.num_angles % 4:
        return False
    height, width = geometry.image_shape
    half_offset = (np.arange(geometry.num_angles) + 0.5) * (np.pi / geometry.num_angles)
    return (height - width) % 2 == 0 and np.allclose(geometry.angles, half_offset, rtol=0, atol=1e-12)


def base_bins(num_bins: int) -> int:
    """Bins of the half of the detector that is computed; an odd detector's central bin is in it."""
    return (num_bins + 1) // 2


def fold_image(image: Tensor, edge: int, border: int = 0, multiple: int = 1) -> Tensor:
    """Stack the 8 copies of a (batch, height, width) image, zero-padded to a square.

    Pixels run along the height first, as the base rays read them. Zeros are added: ``border`` at both
    ends of the height, and columns up to a ``multiple``.

    Returns:
        ``(columns * (edge + 2 * border), 8 * batch)``.
    """
    batch, height, width = image.shape
    square = image.new_zeros(edge, edge, batch)
    _centre(square, height, width).copy_(image.permute(1, 2, 0))
    copies = image.new_empty(-(-edge // multiple) * multiple, edge + 2 * border, COPIES, batch)
    copies[edge:] = copies[:, :border] = copies[:, edge + border :] = 0
    inner = copies[:edge, border : edge + border]
    for index, copy in enumerate(_image_copies(square)):
        inner[:, :, 2 * index] = copy
        inner[:, :, 2 * index + 1] = copy.flip(0, 1)
    return copies.flatten(2).flatten(0, 1)


def unfold_image(folded: Tensor, edge: int, image_shape: tuple[int, int], border: int = 0) -> Tensor:
    """Adjoint of ``fold_image``, for (columns, edge + 2 * border, 8 * batch): sum the copies, turned back."""
    copies = folded[:edge, border : edge + border].unflatten(2, (COPIES, folded.shape[2] // COPIES))
    turned = [copies[:, :, 2 * q] + copies[:, :, 2 * q + 1].flip(0, 1) for q in range(4)]
    square = turned[0].transpose(0, 1) + turned[1] + turned[2].flip(0) + turned[3].flip(1).transpose(0, 1)
    return _centre(square, *image_shape).permute(2, 0, 1).contiguous()


def unfold_sinogram(folded: Tensor, num_angles: int, num_bins: int) -> Tensor:
    """Put ``(num_angles / 4, base bins, 8 * batch)`` values in place: (batch, angle, detector)."""
    half = base_bins(num_bins)
    parts = folded.unflatten(2, (COPIES, folded.shape[2] // COPIES))
    sinogram = folded.new_empty(parts.shape[-1], num_angles, num_bins)
    for index, block in enumerate(_quarters(sinogram)):
        reflected = parts[:, :, 2 * index + 1].flip(1)
        block[:, num_bins - half :] = _in_angle_order(reflected, index)
        block[:, :half] = _in_angle_order(parts[:, :, 2 * index], index)
    return sinogram


def fold_sinogram(sinogram: Tensor) -> Tensor:
    """Adjoint of ``unfold_sinogram``, for (batch, angle, detector): ``(num_angles / 4 * base bins, 8 * batch)``."""
    batch, num_angles, num_bins = sinogram.shape
    half = base_bins(num_bins)
    parts = sinogram.new_empty(num_angles // 4, half, COPIES, batch)
    for index, block in enumerate(_quarters(sinogram)):
        ordered = _in_angle_order(block, index)
        parts[:, :, 2 * index] = ordered[:, :half]
        parts[:, :, 2 * index + 1] = ordered[:, num_bins - half :].flip(1)
    if num_bins % 2:  # the central bin is its own reflection: unfold_sinogram reads it once
        parts[:, -1, 1::2] = 0
    return parts.flatten(2).flatten(0, 1)


def _centre(square: Tensor, height: int, width: int) -> Tensor:
    top, left = (square.shape[0] - height) // 2, (square.shape[1] - width) // 2
    return square[top : top + height, left : left + width]


def _image_copies(square: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the base rays must see for each kind of angle; axes (width, height)."""
    transposed = square.transpose(0, 1)
    return transposed, square, square.flip(0), transposed.flip(1)


def _quarters(sinogram: Tensor) -> tuple[Tensor, ...]:
    """Views of the four quarters of the angles, as (angle, detector, batch)."""
    return sinogram.permute(1, 2, 0).chunk(4)


def _in_angle_order(quarter: Tensor, index: int) -> Tensor:
    """The second and fourth quarter run against the base angles: pi/2 - theta and pi - theta."""
    return quarter.flip(0) if index % 2 else quarter
