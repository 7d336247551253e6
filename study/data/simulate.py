"""``taskct simulate``: CT volumes -> a dataset folder of Parquet shards, as a Ray Data job.

One task reads one patient's volume and writes that patient's shards, so memory stays at one volume a
core however many patients there are. A shard's bytes depend on the configuration, its seed and the
patient alone, never on the parallelism. A job that was killed continues where it was: whole shards are
kept, what is missing is made.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from study.config import ExperimentConfig, SyntheticLesionConfig
from study.data.dataset import DatasetCard, ShardEntry, hash_of, load_card, write_card
from study.data.simulate_patient import Manifest, PatientJob, measure_patient, simulate_patient
from study.data.split import split_patients
from taskct_core import schema
from taskct_core.config import StrictModel
from taskct_core.errors import DataError, ResourceError, StudyError, TaskctError
from taskct_core.geometry import LODOPAB_FIELD_MM
from taskct_core.volumes import VolumeReference, list_patients
from taskct_core.volumes.body import smallest_field_mm
from taskct_core.volumes.lesioned import with_lesions

OnPatient = Callable[[str, int], None]  # (patient, samples)
_OF_TRAINING = ("fresh", "fresh_draw")  # settings that stored samples do not follow from
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
    patients, jobs = plan(experiment, folder)
    jobs = in_one_field(jobs, _measure)
    manifests = []
    for manifest in _run(_simulate_patient_row, jobs):
        manifests.append(manifest)
        if on_patient is not None:
            on_patient(manifest["patient"], sum(shard["rows"] for shard in manifest["shards"]))
    card = dataset_card(experiment, patients, manifests)
    write_card(folder, card)
    return load_card(folder)


def plan(experiment: ExperimentConfig, folder: Path) -> tuple[dict[str, list[str]], list[PatientJob]]:
    """The patients of each split, and one job a patient.

    Raises:
        ConfigError, DataError: if the source or the split is not valid.
    """
    references = {reference.patient: reference for reference in _references(experiment)}
    patients = split_patients(list(references), experiment.data.split, experiment.simulation.seed)
    jobs = [
        _job(experiment, folder, split, reference)
        for split, names in patients.items()
        for patient in names
        for reference in _as_used(references[patient], split, experiment.data.synthetic_lesions)
    ]
    return patients, jobs


def in_one_field(
    jobs: list[PatientJob], measure: Callable[[list[PatientJob]], Iterable[float]]
) -> list[PatientJob]:
    """The jobs with the scanner's field of view, which all patients share, set.

    Args:
        measure: gives ``measure_patient`` of every job; asked only where the field is to be found.
    """
    simulation = jobs[0].simulation
    if simulation.field_of_view != "scanner" or simulation.field_of_view_mm is not None:
        return jobs
    field_mm = (
        smallest_field_mm(measure(jobs)) or LODOPAB_FIELD_MM
    )  # without a body anywhere, any field will do
    simulation = simulation.model_copy(update={"field_of_view_mm": field_mm})
    return [dataclasses.replace(job, simulation=simulation) for job in jobs]


def _measure(jobs: list[PatientJob]) -> Iterator[float]:
    return (found["edge_mm"] for found in _run(_measure_patient_row, jobs))


def _as_used(
    reference: VolumeReference, split: str, lesions: SyntheticLesionConfig
) -> Sequence[VolumeReference]:
    """The volumes that a patient gives its split: itself, or itself with synthetic lesions."""
    return with_lesions(reference, lesions.draws, lesions.seed) if split in lesions.splits else [reference]


def _references(experiment: ExperimentConfig) -> list[VolumeReference]:
    source = experiment.data.source
    return list_patients(**source.model_dump())


def _refuse_other_dataset(experiment: ExperimentConfig, folder: Path) -> None:
    if not (folder / schema.DATASET_FILE).is_file():
        return
    differences = [
        *_differences("source", load_card(folder).source, experiment.data),
        *_differences("simulation", load_card(folder).simulation, experiment.simulation, _OF_TRAINING),
    ]
    if differences:
        raise StudyError(
            "a dataset folder keeps the settings it was simulated with",
            f"other settings for {folder} ({'; '.join(differences)})",
            "Give the experiment another name or output, or delete the folder to simulate it anew.",
        )


def _differences(
    part: str, found: dict[str, Any], wanted: StrictModel, ignored: tuple[str, ...] = ()
) -> list[str]:
    """Settings that differ from a dataset's. One made before a setting existed is only asked for those named."""
    is_older = not type(wanted).model_fields.keys() <= found.keys()
    asked = wanted.model_fields_set if is_older else type(wanted).model_fields
    return [
        f"{part}.{key}: {found.get(key)} -> {value}"
        for key, value in _plain(wanted).items()
        if key in asked and key not in ignored and found.get(key) != value
    ]


def _plain(model: Any) -> dict[str, Any]:
    """A configuration as JSON would read it back, so that it compares equal with a stored one."""
    result: dict[str, Any] = json.loads(model.model_dump_json())
    return result


def _job(experiment: ExperimentConfig, folder: Path, split: str, reference: VolumeReference) -> PatientJob:
    return PatientJob(
        folder=folder,
        split=split,
        reference=reference,
        only_with_liver=experiment.data.slices.only_with_liver,
        every=experiment.data.slices.every,
        rows_per_shard=experiment.data.rows_per_shard,
        simulation=experiment.simulation,
    )


def _run(on_row: Callable[..., dict[str, str]], jobs: list[PatientJob]) -> Iterator[Manifest]:
    import ray.data

    dataset = ray.data.range(len(jobs), override_num_blocks=len(jobs))
    done = dataset.map(on_row, fn_args=(jobs,), num_cpus=1)  # type: ignore[arg-type]
    for row in done.iter_rows():
        manifest = json.loads(row["manifest"])
        if "error" in manifest:
            kind, *message = manifest["error"]
            raise {"DataError": DataError, "ResourceError": ResourceError}.get(kind, TaskctError)(*message)
        yield manifest


def _simulate_patient_row(row: dict[str, Any], jobs: list[PatientJob]) -> dict[str, str]:
    return _as_row(lambda: simulate_patient(jobs[row["id"]]))


def _measure_patient_row(row: dict[str, Any], jobs: list[PatientJob]) -> dict[str, str]:
    return _as_row(lambda: {"edge_mm": measure_patient(jobs[row["id"]])})


def _as_row(work: Callable[[], Manifest]) -> dict[str, str]:
    """Errors travel back as data: Ray Data would bury them in a traceback of its own."""
    try:
        manifest = work()
    except TaskctError as error:
        manifest = _as_data(error)
    except OSError as error:
        manifest = _as_data(
            ResourceError(
                "simulation must be able to read its volumes and to write its shards",
                f"{type(error).__name__}: {error}",
                "Mend it and run the same command again: it continues with what is missing.",
            )
        )
    return {"manifest": json.dumps(manifest)}


def _as_data(error: TaskctError) -> Manifest:
    return {"error": [type(error).__name__, error.rule, error.received, error.next_step]}


def dataset_card(
    experiment: ExperimentConfig, patients: dict[str, list[str]], manifests: list[Manifest]
) -> DatasetCard:
    """The card of a dataset from its patients' manifests.

    Raises:
        DataError: if no training slice was selected.
    """
    from taskct_core.simulation import geometry_of

    field_mm = manifests[0]["field_of_view_mm"]
    simulation = experiment.simulation.model_copy(update={"field_of_view_mm": field_mm})
    geometry = geometry_of(simulation)
    shards: dict[str, list[ShardEntry]] = {split: [] for split in schema.SPLITS}
    counts: dict[str, dict[str, int]] = {
        split: {"samples": 0, "with_liver": 0, "with_tumour": 0} for split in schema.SPLITS
    }
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
        has_bases=experiment.simulation.fresh,
        field_of_view_mm=field_mm,
        warnings=sorted(set(messages)),
        shards=shards,
        data_hash=hash_of(shards),
        versions={name: version(name) for name in _VERSIONED},
    )
