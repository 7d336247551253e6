"""One picture of a patient: the slice with the most liver and a frontal section through it, masks outlined."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from taskct_core.schema import LIVER, TUMOUR
from taskct_core.volumes import Volume
from taskct_core.volumes.anatomy import body_of

WINDOW_HU = (-160.0, 240.0)
LARGEST = (340, 440)  # pixels of each section: height, width
_COLOURS = {LIVER: (60, 230, 110), TUMOUR: (255, 90, 160)}
_GAP = 8
_MARGIN = 0.04  # of the body's extent, kept around it


def picture_of(volume: Volume) -> str:
    """A JPEG in base64: the axial slice, seen from the feet, beside the frontal one, head on top.

    Both show the body and have the same scale, in true proportions.
    """
    labelled = volume.labels > 0
    at_slice = _fullest(labelled.sum(axis=(1, 2)), len(volume.hu))
    at_row = _fullest(labelled.sum(axis=(0, 2)), volume.hu.shape[1])
    rows, columns = _box(body_of(volume.hu[at_slice].astype(np.float32)))
    step, row, column = volume.spacing_mm
    axial = (volume.hu[at_slice, rows, columns], volume.labels[at_slice, rows, columns])
    frontal = (volume.hu[::-1, at_row, columns], volume.labels[::-1, at_row, columns])
    sizes_mm = [
        (image.shape[0] * high, image.shape[1] * column)
        for (image, _), high in ((axial, row), (frontal, step))
    ]
    scale = min(LARGEST[0] / max(high for high, _ in sizes_mm), LARGEST[1] / sizes_mm[0][1])
    sections = [
        _drawn(hu, labels, (max(1, round(wide * scale)), max(1, round(high * scale))))
        for (hu, labels), (high, wide) in zip((axial, frontal), sizes_mm, strict=True)
    ]
    return _jpeg(_side_by_side(sections))


def _fullest(counts: NDArray[np.integer], size: int) -> int:
    return int(np.argmax(counts)) if counts.any() else size // 2


def _box(body: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the body, with a margin; of the whole slice where there is none."""
    spans = []
    for axis, size in enumerate(body.shape):
        found = np.flatnonzero(body.any(axis=1 - axis))
        first, last = (int(found[0]), int(found[-1]) + 1) if found.size else (0, size)
        margin = round(_MARGIN * (last - first))
        spans.append(slice(max(0, first - margin), min(size, last + margin)))
    return spans[0], spans[1]


def _drawn(hu: NDArray[np.generic], labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A section resized to ``(width, height)`` pixels, its labels outlined."""
    low, top = WINDOW_HU
    grey = np.clip((hu.astype(np.float32) - low) / (top - low) * 255, 0, 255).astype(np.uint8)
    image = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
    colours = np.repeat(image[..., None], 3, axis=2)
    enlarged = np.asarray(
        Image.fromarray(np.ascontiguousarray(labels)).resize(size, Image.Resampling.NEAREST)
    )
    for label, colour in _COLOURS.items():
        mask = enlarged >= label  # the liver's outline goes around its tumours
        colours[ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask)] = colour
    return colours


def _side_by_side(sections: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(len(section) for section in sections)
    padded = [
        np.pad(section, (((height - len(section)) // 2, -(-(height - len(section)) // 2)), (0, _GAP), (0, 0)))
        for section in sections
    ]
    return np.hstack(padded)[:, :-_GAP]


def _jpeg(image: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=88, subsampling=0)
    return base64.b64encode(stream.getvalue()).decode()
