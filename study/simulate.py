"""``taskct simulate``: CT volumes -> a dataset folder of Parquet shards, as a Ray Data job.

One task reads one patient's volume and writes that patient's shards, so memory stays at one volume a
core however many patients there are. A shard's bytes depend on the configuration, its seed and the
patient alone, never on the parallelism. A job that was killed continues where it was: whole shards are
kept, what is missing is made.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from study.config import ExperimentConfig
from study.dataset import (
    SIMULATION_KEY,
    DatasetCard,
    ShardEntry,
    file_hash,
    hash_of,
    load_card,
    to_table,
    write_card,
    write_shard,
)
from study.files import write_json
from study.split import split_patients
from taskct_core import schema
from taskct_core.config import SimulationConfig
from taskct_core.errors import DataError, StudyError, TaskctError
from taskct_core.volumes import Volume, VolumeReference, list_patients, read_volume

OnPatient = Callable[[str, int], None]  # (patient, samples)
_VERSIONED = ("taskct", "numpy", "torch", "pyarrow")


def simulate(experiment: ExperimentConfig, folder: Path, on_patient: OnPatient | None = None) -> DatasetCard:
    """Make the dataset of an experiment in ``folder``, or finish the one begun there.

    Needs a running Ray session. Returns the card of the existing dataset at once if it is the same.

    Raises:
        ConfigError, DataError: if the source or the split is not valid.
        StudyError: if the folder holds a dataset made with other settings.
    """
    _refuse_other_dataset(experiment, folder)
    if (folder / schema.DATASET_FILE).is_file():
        return load_card(folder)
    references = {reference.patient: reference for reference in _references(experiment)}
    patients = split_patients(list(references), experiment.data.split, experiment.simulation.seed)
    jobs = [
        _job(experiment, folder, split, references[patient])
        for split, names in patients.items()
        for patient in names
    ]
    manifests = []
    for manifest in _run(jobs):
        manifests.append(manifest)
        if on_patient is not None:
            on_patient(manifest["patient"], sum(shard["rows"] for shard in manifest["shards"]))
    card = _card(experiment, patients, manifests)
    write_card(folder, card)
    return card


def count_patients(experiment: ExperimentConfig) -> int:
    """How many patients the source has; what a progress bar counts to."""
    return len(_references(experiment))


def _references(experiment: ExperimentConfig) -> list[VolumeReference]:
    source = experiment.data.source
    return list_patients(**source.model_dump())


def _refuse_other_dataset(experiment: ExperimentConfig, folder: Path) -> None:
    if not (folder / schema.DATASET_FILE).is_file():
        return
    card = load_card(folder)
    wanted = {"source": _plain(experiment.data), "simulation": _plain(experiment.simulation)}
    found = {"source": card.source, "simulation": card.simulation}
    differences = [
        f"{part}.{key}: {found[part].get(key)} -> {value}"
        for part in wanted
        for key, value in wanted[part].items()
        if found[part].get(key) != value
    ]
    if differences:
        raise StudyError(
            "a dataset folder keeps the settings it was simulated with",
            f"other settings for {folder} ({'; '.join(differences)})",
            "Give the experiment another name or output, or delete the folder to simulate it anew.",
        )


def _plain(model: Any) -> dict[str, Any]:
    """A configuration as JSON would read it back, so that it compares equal with a stored one."""
    result: dict[str, Any] = json.loads(model.model_dump_json())
    return result


def _job(
    experiment: ExperimentConfig, folder: Path, split: str, reference: VolumeReference
) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "split": split,
        "reference": reference,
        "only_with_liver": experiment.data.slices.only_with_liver,
        "every": experiment.data.slices.every,
        "rows_per_shard": experiment.data.rows_per_shard,
        "simulation": experiment.simulation.model_dump(),
    }


def _run(jobs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    import ray.data

    dataset = ray.data.range(len(jobs), override_num_blocks=len(jobs))
    for row in dataset.map(_simulate_patient_row, fn_args=(jobs,), num_cpus=1).iter_rows():
        manifest = json.loads(row["manifest"])
        if "error" in manifest:
            kind, *message = manifest["error"]
            raise {"DataError": DataError}.get(kind, TaskctError)(*message)
        yield manifest


def _simulate_patient_row(row: dict[str, Any], jobs: list[dict[str, Any]]) -> dict[str, str]:
    """Errors travel back as data: Ray Data would bury them in a traceback of its own."""
    try:
        manifest = simulate_patient(**jobs[row["id"]])
    except TaskctError as error:
        manifest = {"error": [type(error).__name__, error.rule, error.received, error.next_step]}
    return {"manifest": json.dumps(manifest)}


def simulate_patient(
    *,
    folder: str,
    split: str,
    reference: VolumeReference,
    only_with_liver: bool,
    every: int,
    rows_per_shard: int,
    simulation: dict[str, Any],
) -> dict[str, Any]:
    """Write one patient's shards and its manifest, keeping those that are there already.

    Returns:
        The manifest: patient, split, shards, counts and warnings.
    """
    config = SimulationConfig.parse(simulation)
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", reference.patient)
    settings = [
        schema.DATASET_FORMAT_VERSION,
        reference.patient,
        only_with_liver,
        every,
        rows_per_shard,
        simulation,
    ]
    simulation_hash = hashlib.sha256(json.dumps(settings, default=str).encode()).hexdigest()
    key = f"{simulation_hash} {_files_key(reference)}"
    manifest_path = Path(folder) / split / f".{stem}.json"
    begun = _read_manifest(manifest_path)
    if begun.get("key") == key and "shards" in begun:
        return begun
    reusable = begun.get("key") == key
    write_json(manifest_path, {"key": key})

    volume = read_volume(reference)
    indices = _select_slices(volume, only_with_liver, every)
    manifest: dict[str, Any] = {"key": key, "patient": reference.patient, "split": split, "shards": []}
    counts = {"samples": len(indices), "with_liver": 0, "with_tumour": 0}
    messages: list[str] = []
    for number, start in enumerate(range(0, len(indices), rows_per_shard)):
        path = Path(split) / f"{stem}-{number:05d}.parquet"
        chunk = indices[start : start + rows_per_shard]
        if not (reusable and _is_shard_of(Path(folder) / path, simulation_hash)):
            messages += _write_slices(Path(folder) / path, volume, chunk, config, simulation_hash)
        manifest["shards"].append(
            {
                "path": path.as_posix(),
                "patient": reference.patient,
                "rows": len(chunk),
                "sha256": file_hash(Path(folder) / path),
            }
        )
    selected = volume.labels[indices]
    counts["with_liver"] = int((selected > 0).any(axis=(1, 2)).sum())
    counts["with_tumour"] = int((selected == schema.TUMOUR).any(axis=(1, 2)).sum())
    manifest |= {"counts": counts, "warnings": sorted(set(messages))}
    write_json(manifest_path, manifest)
    return manifest


def _files_key(reference: VolumeReference) -> str:
    """Changes when a volume's files do, so that shards of an older volume are not taken for this one's."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in reference.files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _is_shard_of(path: Path, simulation_hash: str) -> bool:
    if not path.is_file():
        return False
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError):  # torn by something other than us: make it again
        return False
    return bool(metadata.get(SIMULATION_KEY) == simulation_hash.encode())


def _select_slices(volume: Volume, only_with_liver: bool, every: int) -> list[int]:
    indices = np.arange(len(volume.hu))
    if only_with_liver:
        indices = indices[(volume.labels > 0).any(axis=(1, 2))]
    return [int(index) for index in indices[::every]]


def _write_slices(
    path: Path, volume: Volume, indices: list[int], config: SimulationConfig, simulation_hash: str
) -> list[str]:
    from taskct_core.simulation import simulate_slices

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        samples = simulate_slices(
            volume.hu[indices],
            volume.labels[indices],
            spacing_mm=volume.spacing_mm[1:],
            patient=volume.patient,
            slice_indices=indices,
            config=config,
        )
    write_shard(path, to_table(samples, simulation_hash))
    return [f"{volume.patient}: {w.message}" for w in caught if issubclass(w.category, UserWarning)]


def _card(
    experiment: ExperimentConfig, patients: dict[str, list[str]], manifests: list[dict[str, Any]]
) -> DatasetCard:
    from taskct_core.simulation import geometry_of

    geometry = geometry_of(experiment.simulation)
    shards: dict[str, list[ShardEntry]] = {split: [] for split in schema.SPLITS}
    counts = {split: {"samples": 0, "with_liver": 0, "with_tumour": 0} for split in schema.SPLITS}
    messages: list[str] = []
    for manifest in sorted(manifests, key=lambda manifest: manifest["patient"]):
        shards[manifest["split"]] += [ShardEntry.parse(shard) for shard in manifest["shards"]]
        messages += manifest["warnings"]
        for name, value in manifest["counts"].items():
            counts[manifest["split"]][name] += value
    if not counts["train"]["samples"]:
        raise DataError(
            "the train split must hold samples",
            f"none among the patients {patients['train']}",
            "Check the labels, data.slices.only_with_liver and data.split.",
        )
    return DatasetCard(
        geometry=geometry.to_dict(),
        simulation=_plain(experiment.simulation),
        source=_plain(experiment.data),
        patients=patients,
        counts=counts,
        image_shape=geometry.image_shape,
        has_sinogram=experiment.simulation.store_sinogram,
        warnings=sorted(set(messages)),
        shards=shards,
        data_hash=hash_of(shards),
        versions={name: version(name) for name in _VERSIONED},
    )
