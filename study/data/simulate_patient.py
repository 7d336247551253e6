"""One task of the simulation job: a patient's volume -> that patient's shards and manifest.

<split>/STEM-00000.parquet, ...   shards; STEM is the patient's name where file systems agree on it
<split>/.STEM.json                manifest: what was begun, and once it is done, the source, shards and counts
<split>/.STEM.body.json           how large a field of view the patient needs
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from study.data.shards import file_hash, hash_or_none, is_whole_shard, to_table, write_shard
from study.data.source_record import record_source, stamp
from taskct_core import schema
from taskct_core.contracts.files import parse_json, write_json
from taskct_core.simulation.config import SimulationConfig
from taskct_core.volumes import Volume, VolumeReference, read_volume
from taskct_core.volumes.body import BodyBox, body_box

Manifest = dict[str, Any]  # key; when done: patient, split, source_patient, source, shards, counts, warnings

_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_STEM_LENGTH = 60
_HASH_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class PatientJob:
    """What a worker needs to make one patient's shards.

    Attributes:
        folder: of the dataset.
        split: that the patient belongs to.
        reference: of the patient's volume.
        source_patient: of whom the volume is; with synthetic lesions the reference has a name of its own.
        stem: what the names of the patient's files begin with.
        recorded: of a dataset that is repaired, its shards' names and SHA-256: those that have it are kept.
        only_with_liver: leave out slices without liver.
        every: keep each n-th of the remaining slices.
        rows_per_shard: samples in a shard, at most.
        simulation: how slices become samples.
    """

    folder: Path
    split: str
    reference: VolumeReference
    source_patient: str
    stem: str
    recorded: Mapping[str, str] = field(default_factory=dict)
    only_with_liver: bool
    every: int
    rows_per_shard: int
    simulation: SimulationConfig

    @property
    def simulation_hash(self) -> str:
        """Of what a shard's bytes follow from, but for the volume; the same on every machine."""
        settings = [schema.DATASET_FORMAT_VERSION, self.reference.patient, self.only_with_liver, self.every]
        settings += [self.rows_per_shard, self.simulation.model_dump(exclude={"fresh", "fresh_draw"})]
        settings += [self.with_bases]
        return hashlib.sha256(json.dumps(settings).encode()).hexdigest()

    @property
    def with_bases(self) -> bool:
        """Whether the shards hold what fresh samples are drawn from."""
        return self.simulation.fresh and self.split == "train"

    @property
    def key(self) -> str:
        """Changes with the settings and with the volume's files: only shards of the same key are kept."""
        source = hashlib.sha256(f"{self.reference!r} {stamp(self.reference)}".encode()).hexdigest()
        return f"{self.simulation_hash} {source}"

    @property
    def manifest_path(self) -> Path:
        """Of the patient's manifest."""
        return self.folder / self.split / f".{self.stem}.json"

    @property
    def body_path(self) -> Path:
        """Of what ``measure_patient`` found."""
        return self.folder / self.split / f".{self.stem}.body.json"


def file_stem(patient: str) -> str:
    """What the names of a patient's files begin with: no two patients share it, on any file system.

    A name of small letters, digits and ``._-`` stands as it is. Any other is shortened to what every file system can
    hold, and followed by a hash: capitals and accents alone tell names apart on some file systems, but not on all.
    """
    if _PLAIN_NAME.fullmatch(patient):
        return patient
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", patient).lstrip("._-")[:_STEM_LENGTH]
    return f"{readable or 'patient'}~{hashlib.sha256(patient.encode()).hexdigest()[:_HASH_DIGITS]}"


def measure_patient(job: PatientJob) -> float:
    """Edge in mm of the smallest field of view that holds the patient's body; 0 where there is none.

    Raises:
        DataError: if the volume breaks its contract.
    """
    known = _read_manifest(job.body_path)
    if known.get("key") == job.key:
        return float(known["edge_mm"])
    volume = job.reference.read_coarse()
    body = body_box(volume.hu[_selected(job, volume)], volume.spacing_mm[1:])
    edge_mm = max(body.size_mm) if body is not None else 0.0
    write_json(job.body_path, {"key": job.key, "edge_mm": edge_mm})
    return edge_mm


def simulate_patient(job: PatientJob) -> Manifest:
    """Write a patient's shards and manifest, keeping those that are there already, and return the manifest.

    Raises:
        DataError: if the volume breaks its contract.
    """
    begun = _read_manifest(job.manifest_path)
    may_keep = begun.get("key") == job.key
    recorded = dict(job.recorded)
    if may_keep and "shards" in begun and not recorded:
        recorded = {shard["path"]: shard["sha256"] for shard in begun["shards"]}
        if all(hash_or_none(job.folder / path) == sha256 for path, sha256 in recorded.items()):
            return begun
    write_json(job.manifest_path, {"key": job.key})
    source = record_source(job.reference)
    messages: list[str] = []
    with _collecting_warnings(messages):
        volume = read_volume(job.reference)
        indices = _selected(job, volume)
        body = _body(volume, indices, job.simulation)
        shards = [
            _shard(job, volume, body, number, indices[start : start + job.rows_per_shard], recorded, may_keep)
            for number, start in enumerate(range(0, len(indices), job.rows_per_shard))
        ]
    labels = volume.labels[indices]
    if volume.labelled and job.only_with_liver and not indices:
        messages.append(f"{volume.patient}: no slice has a liver, so none was taken; check the label file")
    manifest = {
        "key": job.key,
        "patient": job.reference.patient,
        "split": job.split,
        "source_patient": job.source_patient,
        "source": source.model_dump(),
        "voxels": volume.fingerprint,
        "field_of_view_mm": job.simulation.field_of_view_mm,
        "shards": shards,
        "counts": {
            "samples": len(indices),
            "with_liver": int((labels > 0).any(axis=(1, 2)).sum()),
            "with_tumour": int((labels == schema.TUMOUR).any(axis=(1, 2)).sum()),
        },
        "warnings": sorted(set(messages)),
    }
    write_json(job.manifest_path, manifest)
    return manifest


def _body(volume: Volume, indices: list[int], simulation: SimulationConfig) -> BodyBox | None:
    """The body that the scanner's field is centred on; warns where the field is too small for it."""
    if simulation.field_of_view != "scanner":
        return None
    body = body_box(volume.hu[indices], volume.spacing_mm[1:])
    field_mm = simulation.field_of_view_mm
    if body is not None and field_mm is not None and max(body.size_mm) > field_mm:
        warnings.warn(
            f"{volume.patient}: the field of view of {field_mm:g} mm cuts the body, which is "
            f"{body.size_mm[0]:.0f} mm high and {body.size_mm[1]:.0f} mm wide; tissue outside it is neither "
            "projected nor scored. Leave field_of_view_mm unset for a field that holds every body.",
            stacklevel=2,
        )
    return body


def _shard(
    job: PatientJob,
    volume: Volume,
    body: BodyBox | None,
    number: int,
    indices: list[int],
    recorded: Mapping[str, str],
    may_keep: bool,
) -> dict[str, Any]:
    """Make a shard unless it is there and may be kept; returns its entry for the dataset's card."""
    name = f"{job.split}/{job.stem}-{number:05d}.parquet"
    path = job.folder / name
    if name in recorded:
        keep = hash_or_none(path) == recorded[name]
    else:
        keep = may_keep and is_whole_shard(path, job.simulation_hash)
    return {
        "path": name,
        "patient": job.reference.patient,
        "rows": len(indices),
        "sha256": file_hash(path) if keep else _write_slices(path, volume, body, indices, job),
    }


def _write_slices(
    path: Path, volume: Volume, body: BodyBox | None, indices: list[int], job: PatientJob
) -> str:
    from taskct_core.simulation.slices import simulate_slices

    labels = volume.labels[indices]
    samples = simulate_slices(
        volume.hu[indices],
        labels if volume.labelled else np.full_like(labels, schema.UNLABELLED),
        spacing_mm=volume.spacing_mm[1:],
        patient=volume.patient,
        slice_indices=indices,
        config=job.simulation,
        body=body,
        with_base=job.with_bases,
    )
    return write_shard(path, to_table(samples, job.simulation_hash))


def _read_manifest(path: Path) -> Manifest:
    try:
        manifest = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _selected(job: PatientJob, volume: Volume) -> list[int]:
    """Indices of the slices that become samples."""
    indices = np.arange(len(volume.hu))
    if job.only_with_liver and volume.labelled:
        indices = indices[(volume.labels > 0).any(axis=(1, 2))]
    return [int(index) for index in indices[:: job.every]]


@contextmanager
def _collecting_warnings(messages: list[str]) -> Iterator[None]:
    """Warnings of a worker reach nobody; in the manifest they reach the dataset's card and the user."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    messages += [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
