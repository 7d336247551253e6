"""The dataset folder: Parquet shards a split, and ``dataset.json`` that says what they are.

    dataset.json                     DatasetCard
    train/PATIENT-00000.parquet      at most rows_per_shard samples of one patient
    validation/..., test/...

What is in a shard: :mod:`study.data.shards`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.data.shards import REPAIR, SAMPLE_COLUMNS, concurrently, hash_or_none, shard_columns
from study.data.source_record import SourceRecord
from taskct_core import schema
from taskct_core.config import StrictModel
from taskct_core.contracts.files import parse_json, write_json
from taskct_core.contracts.folders import DatasetFolder
from taskct_core.contracts.tables import require_plain
from taskct_core.errors import DataError
from taskct_core.geometry import PRESETS, Geometry, geometry_from_dict
from taskct_core.registry import Trust
from taskct_core.simulation.config import SimulationConfig

_NAMED = 5  # of many damaged shards
_BY_SPLIT = ("shards", "counts", "patients")  # of a card's mappings, those that have every split


class ShardEntry(StrictModel):
    """One shard file as ``dataset.json`` lists it."""

    path: str  # relative to the dataset folder
    patient: str
    rows: int
    sha256: str


class DatasetCard(StrictModel):
    """``dataset.json``: everything needed to read the shards, and to make them again."""

    format_version: int = schema.DATASET_FORMAT_VERSION
    geometry: dict[str, Any]  # a geometry's to_dict()
    simulation: dict[str, Any]  # SimulationConfig
    source: dict[str, Any]  # DataConfig
    patients: dict[str, list[str]]  # split -> patients
    counts: dict[str, dict[str, int]]  # split -> samples, with_liver, with_tumour
    image_shape: tuple[int, int]
    has_sinogram: bool
    has_bases: bool = (
        False  # whether train shards hold what fresh samples are drawn from, schema.BASE_COLUMNS
    )
    field_of_view_mm: float | None = None  # edge that all patients share; None: each has its own
    dose: dict[str, float | tuple[float, float]] = {}  # taskct_core.simulation.exposure.dose_in_words
    warnings: list[str] = []
    shards: dict[str, list[ShardEntry]]  # split -> shards
    data_hash: str  # of all shards' bytes
    versions: dict[str, str]
    # Absent from datasets that an older version made:
    sources: dict[str, SourceRecord] = {}  # patient -> what its files were
    folds: dict[
        str, int
    ] = {}  # labelled patient -> the fold that tests it; none where patients stand in splits
    kept_changes: list[str] = []  # of the source since then, which the user chose to disregard

    @property
    def fold_count(self) -> int:
        """How many folds there are; 0 where patients stand in splits."""
        return 1 + max(self.folds.values(), default=-1)

    @property
    def scored_patients(self) -> dict[str, list[str]]:
        """Patients by the split that they are scored in; those of folds are tested, each in its own."""
        return {"train": [], "validation": [], "test": sorted(self.folds)} if self.folds else self.patients

    @property
    def sample_columns(self) -> list[str]:
        """The columns of a stored sample, which all splits have."""
        optional = {schema.SINOGRAM} if not self.has_sinogram else set()
        return [name for name in SAMPLE_COLUMNS if name not in {*schema.BASE_COLUMNS, *optional}]

    def scan(self, trust: Trust) -> Geometry:
        """The geometry that the samples were scanned in.

        Raises:
            ConfigError: if it is an ODL ray transform, whose name would run code, and that is not trusted.
        """
        if (ray_transform := self.geometry.get("ray_transform")) is not None:
            trust.require(str(ray_transform), PRESETS, "ray transform", DatasetFolder.card)
        return geometry_from_dict(self.geometry)

    @property
    def scanner_text(self) -> str:
        """Field of view and dose in a line."""
        policy = self.simulation.get("field_of_view", "scanner")
        field = f", {self.field_of_view_mm:g} mm for all patients" if self.field_of_view_mm else ""
        dose = ", ".join(f"{name.replace('_', ' ')} {_rounded(value)}" for name, value in self.dose.items())
        return f"Scanner: field of view {policy}{field}; dose: {dose or 'not recorded'}"

    def shard_paths(self, folder: Path, split: str) -> list[Path]:
        """Absolute paths of a split's shards, in order."""
        return [(folder / shard.path).resolve() for shard in self.shards[split]]

    @property
    def size_bytes(self) -> int:
        """What the tensors of the stored samples of all splits take in memory."""
        pixels = self.image_shape[0] * self.image_shape[1]
        readings = self.geometry["num_angles"] * self.geometry["num_bins"] if self.has_sinogram else 0
        a_sample = 2 * 4 * pixels + pixels + 4 * readings  # full dose and FBP, labels, sinogram
        return a_sample * sum(shard.rows for shards in self.shards.values() for shard in shards)


def _rounded(dose: float | tuple[float, float]) -> str:
    return f"{dose[0]:.3g} to {dose[1]:.3g}" if isinstance(dose, tuple) else f"{dose:.3g}"


def hash_of(shards: Mapping[str, list[ShardEntry]]) -> str:
    """The content hash of a dataset: of its shards' names and bytes, whatever order they were written in."""
    lines = sorted(f"{shard.path} {shard.sha256}" for entries in shards.values() for shard in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write_card(folder: Path, card: DatasetCard) -> None:
    """Write ``dataset.json``; it is written last, so that a folder without it is an unfinished dataset."""
    write_json(DatasetFolder(folder).card, card.model_dump(mode="json"))


def load_card(folder: Path) -> DatasetCard:
    """Read and check ``dataset.json``.

    Raises:
        DataError: if the folder is no finished dataset, of another format version, or its card is damaged.
        ConfigError: if a value of its card is of another kind.
    """
    path = DatasetFolder(folder).card
    if not path.is_file():
        raise DataError(
            f"a dataset folder must hold {DatasetFolder.card}",
            f"{folder}, which has none",
            "Make it with `taskct simulate CONFIG`; an interrupted simulation continues with the same command.",
        )
    try:
        values = parse_json(path.read_bytes())
    except ValueError as error:
        raise DataError(
            "dataset.json must be JSON",
            f"{path}: {error}",
            "Delete it and run `taskct simulate CONFIG` again: it keeps the shards, and writes the file anew.",
        ) from None
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != schema.DATASET_FORMAT_VERSION:
        raise DataError(
            f"shards must have format version {schema.DATASET_FORMAT_VERSION}",
            f"version {version} in {path}",
            "Simulate the dataset again with this version of taskct.",
        )
    card = DatasetCard.parse(values)
    _check_records(card, path)
    return card


def _check_records(card: DatasetCard, path: Path) -> None:
    """What a card's mappings hold must be what is read of them; settings that only another version knew may be there.

    Raises:
        ConfigError: if a setting of the simulation has a value that it cannot have.
        DataError: if a split, the size of the sinograms or how folds choose their validation slices is missing.
    """
    known = SimulationConfig.model_fields.keys() & card.simulation.keys()
    SimulationConfig.of_dataset({name: card.simulation[name] for name in known})
    missing = [
        f"{what}.{split}" for split in schema.SPLITS for what in _BY_SPLIT if split not in getattr(card, what)
    ]
    missing += [f"counts.{split}.samples" for split, counts in card.counts.items() if "samples" not in counts]
    sizes = ("num_angles", "num_bins") if card.has_sinogram else ()
    missing += [f"geometry.{name}" for name in sizes if not _is_count(card.geometry.get(name))]
    if card.folds and not isinstance(card.source.get("split"), dict):
        missing.append("source.split")
    if missing:
        raise DataError(
            f"{path.name} must hold what `taskct simulate` recorded",
            f"{path} without a valid {', '.join(missing)}",
            "Restore it from a copy, or delete it and run `taskct simulate CONFIG` again: it keeps the shards, and "
            "writes the file anew.",
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def verify_shards(folder: Path, card: DatasetCard) -> None:
    """Check that every shard is there, whole, and the one that was written, and holds plain values.

    Raises:
        DataError: naming the shards that are missing or changed, or one that may hold code.
    """
    damages = find_damages(folder, card)
    if damages:
        named = "; ".join(f"{folder / path}: {damage}" for path, damage in list(damages.items())[:_NAMED])
        raise DataError(
            "every shard listed in dataset.json must be there unchanged",
            named + (f"; and {len(damages) - _NAMED} more" if len(damages) > _NAMED else ""),
            REPAIR,
        )
    paths = [path for split in card.shards for path in card.shard_paths(folder, split)]
    for path, columns in zip(paths, concurrently(shard_columns, paths), strict=True):
        require_plain(columns, path)


def find_damages(folder: Path, card: DatasetCard) -> dict[str, str]:
    """The shards that are not those that were written, and what is the matter with each."""
    shards = [shard for entries in card.shards.values() for shard in entries]
    found = concurrently(hash_or_none, [folder / shard.path for shard in shards])
    return {
        shard.path: "no such file" if sha256 is None else "other bytes than dataset.json records"
        for shard, sha256 in zip(shards, found, strict=True)
        if sha256 != shard.sha256
    }
