"""Rows and batches: what travels between a trial's loop, its files and a study's tables.

Keys are columns of ``taskct_core.schema``. Rows are written as JSON that every reader of JSON takes: null stands for
NaN, "inf" and "-inf" for the infinities (a PSNR without error). Files of older versions hold NaN and Infinity as
Python writes them, and are read alike.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from taskct_core.contracts.files import is_unicode, read_json, write_text
from taskct_core.errors import DataError
from taskct_core.schema import METRICS, NETWORK_SUFFIXES

if TYPE_CHECKING:
    from torch import Tensor

ImageColumn = Literal["full_dose", "fbp"]


class Batch(TypedDict, total=False):
    """B samples as training loops take them; a dataset without sinograms has none."""

    patient: list[str]
    slice_index: list[int]
    full_dose: Tensor  # float32 (B, 1, height, width), normalised attenuation in [0, 1]
    fbp: Tensor  # like full_dose
    sinogram: Tensor  # float32 (B, 1, angle, detector), line integrals / mu_max
    labels: Tensor  # uint8 (B, height, width); networks' classes are int64
    photons_per_ray: list[float]
    pixel_spacing_mm: list[float]
    split: str  # only of the slices that reports show


class SliceRow(TypedDict, total=False):
    """Scores of one slice.

    Beside these, a column for each image metric of ``schema.METRICS``, and the counts ``schema.COUNTS``,
    ``COMPONENT_COUNTS``, ``SURFACE_COUNTS`` and the HD95 of each structure, with each suffix of
    ``schema.NETWORK_SUFFIXES`` that a network stands for.
    """

    trial: int
    method: str
    split: str
    patient: str
    slice_index: int
    photons_per_ray: float
    fold: int  # of the run that scored it, where trials are repeated
    seed: int
    loss_image: float
    loss_task: float


class EpochRow(TypedDict, total=False):
    """A trial or reference at one epoch, on one split: a line of the epoch log, a row of ``results.parquet``.

    Beside these, a column for each of ``schema.METRICS`` with each suffix of ``schema.NETWORK_SUFFIXES``, each objective
    of a user's own, and ``version_...``; ``finite_numbers`` reads them by name.
    """

    trial: int
    method: str
    split: str
    epoch: int
    kept_epoch: int
    alpha: float  # of a front trial's points alone
    hypervolume_of_trial: float
    status: str
    failure_reason: str | None
    seed: int
    run: str | None
    fold: int | None
    seconds: float
    seconds_per_slice: float
    peak_memory_mb: float
    parameters: int
    reference_settings: str
    loss: float
    loss_image: float
    loss_task: float
    validation_loss: float
    validation_loss_image: float
    validation_loss_task: float
    gradient_norm_image: float
    gradient_norm_task: float
    data_hash: str
    config_hash: str
    task_network_hash: str
    task_network_hash_audit: str
    task_network_hash_further: str
    metric_policy: str
    git_commit: str
    host: str
    device: str
    finished_at: str


_ANNOTATIONS = {
    name: getattr(hint, "__forward_arg__", hint) for name, hint in EpochRow.__annotations__.items()
}


def batch_of(columns: Mapping[str, object]) -> Batch:
    """A batch of its columns."""
    return cast(Batch, dict(columns))


def epoch_row(*parts: Mapping[str, object]) -> EpochRow:
    """One row of several parts' columns; of a column that stands in several, the last counts."""
    return cast(EpochRow, {name: value for part in parts for name, value in part.items()})


def slice_row(*parts: Mapping[str, object]) -> SliceRow:
    """One slice's row of several parts' columns; see ``epoch_row``."""
    return cast(SliceRow, {name: value for part in parts for name, value in part.items()})


def finite_numbers(row: Mapping[str, object]) -> dict[str, float]:
    """The columns of a row that hold a number, without NaN and infinities."""
    return {
        name: value for name, value in row.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def to_json(row: Mapping[str, object], indent: int | None = None) -> str:
    """A row as JSON; scalars of NumPy and PyTorch become Python's.

    Raises:
        TypeError: for values that are not plain.
    """
    return json.dumps(_encoded(row), indent=indent, allow_nan=False)


def first_row(text: str) -> tuple[EpochRow, int]:
    """The row that a text begins with, the inverse of ``to_json``, and where in the text it ends.

    Raises:
        ValueError: if the text begins with no JSON object.
    """
    row, end = json.JSONDecoder().raw_decode(text)
    if not isinstance(row, dict):
        raise ValueError(f"a row must be a JSON object, not {type(row).__name__}")
    return _decoded(row), end


def is_row(row: Mapping[str, object]) -> bool:
    """Whether the columns that this version knows hold what they are for; what cannot be known is a NaN.

    A damaged file may still be JSON: a text in the place of a score would make texts of all trials' scores.
    """
    return all(_fits(value, _kind_of(name)) for name, value in row.items())


def fits_a_table(value: object) -> bool:
    """Whether a table's 64 bits hold a value, which every one does but a whole number of 2^63 and beyond."""
    return not isinstance(value, int) or abs(value) < 2**63


def _fits(value: object, kind: type | None) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if not fits_a_table(value) or (isinstance(value, str) and not is_unicode(value)):
        return False
    if kind is None:  # of a version, or of the user's own
        return True
    if isinstance(value, bool):
        return False
    return isinstance(value, str if kind is str else int | float)


@functools.cache
def _kind_of(column: str) -> type | None:
    for suffix in NETWORK_SUFFIXES:
        if column.removesuffix(suffix) in METRICS:
            return float
    kinds = {"int": float, "float": float, "str": str, "str | None": str}
    return kinds.get(str(_ANNOTATIONS.get(column)))


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as one JSON list, whole."""
    write_text(path, json.dumps([_encoded(row) for row in rows], indent=2, allow_nan=False) + "\n")


def read_rows(path: Path) -> list[EpochRow]:
    """Rows that ``write_rows`` wrote; none where there is no such file.

    Raises:
        DataError: if the file is damaged.
    """
    if not path.is_file():
        return []
    next_step = "Delete it and run again."
    rows = read_json(path, next_step)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path.name} must hold a list of rows", f"{path}: {type(rows).__name__}", next_step)
    decoded = [_decoded(row) for row in rows]
    if not all(map(is_row, decoded)):
        raise DataError(
            f"{path.name} must hold numbers where scores are, and texts where names are", str(path), next_step
        )
    return decoded


def _encoded(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _encoded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _decoded(row: dict[str, Any]) -> EpochRow:
    numbers = {None: math.nan, "inf": math.inf, "-inf": -math.inf}
    return cast(
        EpochRow,
        {
            name: numbers.get(value, value) if value is None or isinstance(value, str) else value
            for name, value in row.items()
        },
    )
