"""Stored pixels of DICOM files, and where they are padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import UID
from scipy import ndimage

from taskct_core.errors import DataError
from taskct_core.volumes.dicom_headers import count_of, numbers, value

_LARGEST_EDGE = 8192
_MOST_EXPANSION = 3000  # of a compressed frame: an even one shrinks far
_ALWAYS_FINE = 64 << 20  # bytes of pixels that need no proof
# HU that a body has: padding of such a value counts as padding only where it reaches the image's edge.
_BODY_HU = (-900.0, 2000.0)


def stored_pixels(file: Path, header: Dataset) -> NDArray[Any]:
    """Decode all frames of a file: ``(frame, row, column)``, not rescaled.

    Raises:
        DataError: if they are compressed without a decoder here, damaged, or larger than the file can hold.
    """
    rows, columns = (count_of(file, header, tag, 0) for tag in ("Rows", "Columns"))
    frames = count_of(file, header, "NumberOfFrames", 1) or 1
    _check_size(file, header, frames, rows, columns)
    try:
        pixels = np.asarray(header.pixel_array)
        return pixels.reshape(frames, rows, columns)
    except (
        Exception
    ) as error:  # pydicom's decoders raise many kinds, RuntimeError and plug-ins' own among them
        reason = " ".join(str(error).split())[:200] or type(error).__name__
    syntax = header.file_meta.get("TransferSyntaxUID")
    name = getattr(syntax, "name", "unknown transfer syntax")
    if _lacks_decoder(syntax):
        raise DataError(
            "the pixels must be decodable: compressed ones need a decoder",
            f"{file}: {name}, for which none is installed",
            'Install them with `pip install "taskct[dicom]"`, or decompress the series (gdcmconv --raw).',
        )
    raise DataError(
        "the pixels must be decodable",
        f"{file}: {name} ({reason})",
        "The file may be damaged: copy or export it again, or decompress it elsewhere (gdcmconv --raw).",
    )


def padding_of(file: Path, header: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where a slice ``(row, column)`` is padding by PixelPaddingValue and PixelPaddingRangeLimit.

    Both may be written with the wrong sign; they are read as the pixels are. Values that a body has are taken
    for padding only in parts that reach the edge, as scanners name 0 for padding and measure it, too.

    Returns:
        None where the header names no padding.
    """
    if value(header, "PixelPaddingValue") is None:
        return None
    first = _as_stored(numbers(file, header, "PixelPaddingValue")[0], stored.dtype)
    last = first
    if value(header, "PixelPaddingRangeLimit") is not None:
        last = _as_stored(numbers(file, header, "PixelPaddingRangeLimit")[0], stored.dtype)
    low, high = min(first, last), max(first, last)
    padding = (stored >= low) & (stored <= high)
    slope, intercept = rescaling(file, header)
    if any(_BODY_HU[0] < limit * slope + intercept < _BODY_HU[1] for limit in (low, high)):
        return _reaching_edge(padding)
    return padding


def rescaling(file: Path, header: Dataset) -> tuple[float, float]:
    """Slope and intercept of a slice; 1 and 0 where it names none."""
    pair = zip(("RescaleSlope", "RescaleIntercept"), (1.0, 0.0), strict=True)
    slope, intercept = (
        default if value(header, tag) is None else numbers(file, header, tag)[0] for tag, default in pair
    )
    return slope, intercept


def _check_size(file: Path, header: Dataset, frames: int, rows: int, columns: int) -> None:
    bits = frames * rows * columns * count_of(file, header, "BitsAllocated", 16)
    held = len(value(header, "PixelData") or b"")
    most = max(_ALWAYS_FINE, held * _MOST_EXPANSION) if _is_compressed(header) else held
    if not (0 < rows <= _LARGEST_EDGE and 0 < columns <= _LARGEST_EDGE) or bits // 8 > most:
        raise DataError(
            "the pixels must be decodable: a file holds the pixels that its header claims, "
            f"{_LARGEST_EDGE} x {_LARGEST_EDGE} a slice at most",
            f"{file}: {frames} x {rows} x {columns} pixels take {bits // 8} bytes, {held} are there",
            "The file is damaged: copy or export it again.",
        )


def _is_compressed(header: Dataset) -> bool:
    syntax = UID(str(header.file_meta.get("TransferSyntaxUID")))
    return bool(syntax.is_transfer_syntax and syntax.is_compressed)


def _lacks_decoder(syntax: object) -> bool:
    try:
        return not get_decoder(str(syntax)).is_available
    except NotImplementedError:  # no such transfer syntax
        return False


def _as_stored(number: float, dtype: np.dtype) -> int:
    """A header's number as the pixels' type has it: 63536 is -2000 in signed 16 bits."""
    if dtype.kind not in "iu":
        return int(number)
    return int(np.array([int(number)]).astype(dtype)[0])


def _reaching_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask)
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.isin(parts, edge[edge > 0])
