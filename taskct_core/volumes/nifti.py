"""One NIfTI file: its header, its grid and its voxels, whatever the file is called.

The header is believed only as far as the file can hold what it claims, so that a damaged one asks for no memory.
"""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.volumes.finding import Finding
from taskct_core.volumes.grid_override import GridOverride
from taskct_core.volumes.voxel_grid import VoxelGrid, axes_of, check_grid

_GZIP_MAGIC = b"\x1f\x8b"
_MOST_EXPANSION = 1032  # of deflate: a compressed byte gives at most so many
_MOST_VOXELS = 2**31  # eight times the largest LiTS volume
_CHUNK = 1 << 20
_GRAVE = 40  # NiBabel's level of faults that it cannot mend
_QUIET = logging.getLogger("taskct.nifti")  # of what it mends it would log every line
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False
_HEADERS = {348: (Nifti1Header, b"n+1\0", 344), 540: (Nifti2Header, b"n+2\0", 4)}  # size: class, magic, place
_MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}


@dataclass(frozen=True)
class NiftiFile:
    """A NIfTI file whose header was read and checked; its voxels are still on disk."""

    path: Path
    header: Nifti1Header
    grid: VoxelGrid
    findings: tuple[Finding, ...]

    def read(self) -> NDArray[np.generic]:
        """Read the voxels ``(i, j, k)``, scaled as the header says.

        Raises:
            DataError: if they are incomplete or, in a compressed file, damaged.
        """
        try:
            return _scaled(self._stored(), self.header)
        except (OSError, EOFError, zlib.error, ValueError, TypeError, MemoryError) as error:
            raise _unreadable(self.path, error) from None

    def _stored(self) -> NDArray[np.generic]:
        dtype = self.header.get_data_dtype()
        shape = self.grid.shape
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        with _opened(self.path) as stream:
            _skip(stream, int(self.header["vox_offset"]))
            raw = bytearray(size)
            filled = _fill(stream, memoryview(raw))
            if filled < size:
                raise EOFError(f"{size} bytes of voxels expected, {filled} found")
            # A compressed stream tells whether it is damaged at its end only.
            if len(stream.read(_CHUNK)) == _CHUNK:
                raise ValueError("more data than the header describes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F")


def open_nifti(file: Path, override: GridOverride) -> NiftiFile:
    """Read a header and check it against the file's size.

    Args:
        override: what is known better than the header knows it.

    Raises:
        DataError: if the header is unreadable, tells no orientation, describes no 3-D grid of a CT, or
            claims more than the file can hold.
    """
    header = _read_header(file)
    try:
        shape = tuple(int(n) for n in header.get_data_shape())
        affine = header.get_best_affine() * _to_millimetres(header)
        header.get_data_dtype(), header.get_slope_inter()
        findings = () if override.orientation else _doubtful_axes(file, header, affine)
    except Exception as error:  # a mutated header fails in many ways inside NiBabel
        raise _unreadable(file, error) from None
    while len(shape) > 3 and shape[-1] == 1:  # one volume, written as a series of one
        shape = shape[:-1]
    stored = VoxelGrid(shape, affine)
    check_grid(stored, str(file), is_overridden=override.spacing_mm is not None)
    _check_size(file, header, shape)
    has_axes = bool(header["qform_code"] or header["sform_code"])
    if override.orientation is None and not has_axes:
        raise DataError(
            "the header must tell the orientation (qform_code or sform_code above 0)",
            f"{file}: both 0",
            "Name it in source.orientation, e.g. LPS.",
        )
    return NiftiFile(file, header, override.of(stored), findings)


def is_nifti_name(file: Path) -> bool:
    """Whether a file is called ``.nii`` or ``.nii.gz`` and is no hidden one."""
    return file.name.endswith((".nii", ".nii.gz")) and not file.name.startswith(".")


def _read_header(file: Path) -> Nifti1Header:
    try:
        with _opened(file) as stream:
            start = stream.read(540)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(file, error) from None
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")} & set(_HEADERS)
    if not sizes:
        raise _unreadable(file, ValueError("no NIfTI header"))
    size = sizes.pop()
    kind, magic, place = _HEADERS[size]
    if start[place : place + 4] != magic:
        raise DataError(
            "the file must be complete NIfTI, header and voxels in one file",
            f"{file}: {start[place : place + 4]!r} in place of {magic!r}",
            "Convert Analyze and .hdr/.img pairs to .nii.gz.",
        )
    try:
        header = kind(start[:size], check=False)
        header.check_fix(logger=_QUIET, error_level=_GRAVE)
        return header
    except Exception as error:  # a mutated header fails in many ways inside NiBabel
        raise _unreadable(file, error) from None


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The file's bytes, decompressed if they are compressed, whatever it is called."""
    with file.open("rb") as raw:
        is_compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not is_compressed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream


def _check_size(file: Path, header: Nifti1Header, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape, dtype=object))
    offset = float(header["vox_offset"])
    if not 0 < count <= _MOST_VOXELS or not 0 <= offset <= _CHUNK:
        raise DataError(
            f"a CT has at most {_MOST_VOXELS:.3g} voxels, right behind its header",
            f"{file}: shape {shape}, voxels from byte {offset:g} on",
            "The header is damaged: copy or download the file again.",
        )
    expected = int(offset) + count * header.get_data_dtype().itemsize
    size = file.stat().st_size
    with file.open("rb") as raw:
        most = size * _MOST_EXPANSION if raw.read(2) == _GZIP_MAGIC else size
    # A file that merely ends early is told apart when it is read: listing takes it as it is.
    if expected > max(most, 64 * _CHUNK):
        raise DataError(
            "the file must be a complete NIfTI image: it holds the voxels that its header claims",
            f"{file}: {size} bytes, which can give {most}; shape {shape} takes {expected}",
            "It may be truncated or damaged: copy or download it again.",
        )


def _to_millimetres(header: Nifti1Header) -> NDArray[np.float64]:
    """A matrix that turns positions in the header's unit of length (``xyzt_units``) to millimetres."""
    unit = header.get_xyzt_units()[0]
    scale = _MILLIMETRES.get(unit, 1.0)
    return np.array([[scale]] * 3 + [[1.0]])


def _doubtful_axes(file: Path, header: Nifti1Header, affine: NDArray[np.float64]) -> tuple[Finding, ...]:
    if np.array_equal(affine, np.eye(4)):
        return (
            Finding(
                "warning",
                "a header tells a scan's place, directions and spacing",
                f"{file.name} has an identity affine: 1 mm spacing, axes to the right, front and head",
                "It was probably lost: look at it with `taskct inspect`, and set source.orientation and "
                "source.spacing_mm for this patient.",
            ),
        )
    if not (header["qform_code"] and header["sform_code"]):
        return ()
    qform, sform = axes_of(header.get_qform()), axes_of(header.get_sform())
    if qform == sform:
        return ()
    return (
        Finding(
            "warning",
            "sform and qform of a header agree",
            f"{file.name}: its axes grow to {sform} by the sform, which is used, and to {qform} by the qform",
            "Look at it with `taskct inspect`, and name the true directions in source.orientation.",
        ),
    )


def _scaled(stored: NDArray[np.generic], header: Nifti1Header) -> NDArray[np.generic]:
    slope, intercept = header.get_slope_inter()
    if slope is None:
        return stored
    whole = float(slope).is_integer() and float(intercept).is_integer()
    if (
        whole
        and stored.dtype.kind in "iu"
        and stored.dtype.itemsize <= 2
        and max(abs(slope), abs(intercept)) < 2**14
    ):
        return stored.astype(np.int32) * int(slope) + int(intercept)
    return np.asarray(apply_read_scaling(stored, slope, intercept))


def _skip(stream: IO[bytes] | gzip.GzipFile, count: int) -> None:
    if len(stream.read(count)) < count:
        raise EOFError("the file ends within its header")


def _fill(stream: IO[bytes] | gzip.GzipFile, into: memoryview) -> int:
    filled = 0
    while filled < len(into):
        chunk = stream.read(min(_CHUNK, len(into) - filled))
        if not chunk:
            break
        into[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return filled


def _unreadable(file: Path, error: BaseException) -> DataError:
    return DataError(
        "the file must be a complete NIfTI image",
        f"{file} ({' '.join(str(error).split()) or type(error).__name__})",
        "It may be truncated or damaged: copy or download it again.",
    )
