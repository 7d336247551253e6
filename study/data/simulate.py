"""``taskct simulate``: CT volumes -> a dataset folder of Parquet shards, as a Ray Data job.

One task reads one patient's volume and writes that patient's shards, so memory stays at one volume a
core however many patients there are. A shard's bytes depend on the configuration, its seed and the
patient alone, never on the parallelism. A job that was killed continues where it was: whole shards are
kept, what is missing or damaged is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from study.data.config import DatasetSettings
from study.data.dataset import DatasetCard, ShardEntry, hash_of, load_card, write_card
from study.data.leakage import check_no_twins
from study.data.patient_jobs import in_one_field
from study.data.simulate_patient import Manifest, PatientJob, measure_patient, simulate_patient
from study.data.simulation_plan import ChangedSource, SimulationPlan, plain, plan_simulation
from study.data.source_record import SourceRecord
from taskct_core import schema
from taskct_core.contracts.folders import DatasetFolder
from taskct_core.errors import DataError, ResourceError, TaskctError

OnPatient = Callable[[str, int], None]  # (patient, samples)
_VERSIONED = ("taskct", "numpy", "torch", "pyarrow")


def simulate(
    experiment: DatasetSettings,
    folder: Path,
    on_patient: OnPatient | None = None,
    changed_source: ChangedSource | None = None,
) -> DatasetCard:
    """Make the dataset of an experiment in ``folder``, finish the one begun there, or mend one that was damaged.

    Needs a running Ray session.

    Raises:
        ConfigError, DataError: if the source or the split is not valid.
        StudyError: if the folder holds a dataset made with other settings, or from a source that has changed; see
            :func:`plan_simulation`.
    """
    return carry_out(plan_simulation(experiment, folder, changed_source), on_patient)


def carry_out(
    plan: SimulationPlan,
    on_patient: OnPatient | None = None,
    on_measured: Callable[[str], None] = lambda _patient: None,
) -> DatasetCard:
    """Do what a plan says, and return the card of the dataset. Needs a running Ray session if there are jobs.

    ``on_measured`` is called with each patient whose body was measured, before the first is simulated.

    Raises:
        DataError: if a volume is not valid, if the same voxels stand in two splits, or if no slice was selected for
            a split that has patients to train or validate.
        ResourceError: if a volume cannot be read or a shard not be written.
    """
    path = DatasetFolder(plan.folder).card
    jobs = plan.jobs
    if plan.card is None:
        path.unlink(missing_ok=True)  # of the dataset that this one replaces: from here on it is unfinished
        jobs = in_one_field(jobs, lambda jobs: _measure(jobs, on_measured))
    manifests = []
    for manifest in _run(_simulate_patient_row, jobs):
        manifests.append(manifest)
        if on_patient is not None:
            on_patient(manifest["patient"], sum(shard["rows"] for shard in manifest["shards"]))
    if plan.card is not None:
        card = _repaired(plan.card, manifests)
        if card != load_card(plan.folder):
            write_card(plan.folder, card)
        return card
    card = dataset_card(plan.experiment, plan.patients, manifests)
    card = card.model_copy(update={"folds": plan.folds})
    check_no_twins([{**manifest, "split": _place(plan, manifest)} for manifest in manifests])
    write_card(plan.folder, card)
    card = load_card(plan.folder)
    _remove_unlisted(plan, card)
    return card


def _place(plan: SimulationPlan, manifest: Manifest) -> str:
    """The split or fold that a patient stands in."""
    fold = plan.folds.get(manifest["source_patient"])
    return str(manifest["split"]) if fold is None else f"fold {fold}"


def _repaired(card: DatasetCard, manifests: Sequence[Manifest]) -> DatasetCard:
    """The card with the shards as they are after a repair: their bytes are others if libraries have changed."""
    made = {shard["path"]: ShardEntry.parse(shard) for manifest in manifests for shard in manifest["shards"]}
    shards = {
        split: [made.get(shard.path, shard) for shard in entries] for split, entries in card.shards.items()
    }
    update = {
        "shards": shards,
        "data_hash": hash_of(shards),
        "sources": {**card.sources, **_sources(manifests)},
    }
    return card.model_copy(update=update)


def _sources(manifests: Sequence[Manifest]) -> dict[str, SourceRecord]:
    return {manifest["source_patient"]: SourceRecord.parse(manifest["source"]) for manifest in manifests}


def _remove_unlisted(plan: SimulationPlan, card: DatasetCard) -> None:
    """What an earlier dataset, or a job that was killed, has left in the splits' folders."""
    listed = {shard.path for shards in card.shards.values() for shard in shards}
    for job in plan.jobs:
        listed |= {f"{job.split}/{path.name}" for path in (job.manifest_path, job.body_path)}
    for split in schema.SPLITS:
        for pattern in ("*.parquet", ".*.json", ".*.partial"):
            for file in (plan.folder / split).glob(pattern):
                if f"{split}/{file.name}" not in listed:
                    file.unlink(missing_ok=True)


def _measure(jobs: list[PatientJob], on_measured: Callable[[str], None]) -> Iterator[float]:
    for found in _run(_measure_patient_row, jobs):
        on_measured(found["patient"])
        yield found["edge_mm"]


def _run(on_row: Callable[..., dict[str, str]], jobs: list[PatientJob]) -> Iterator[Manifest]:
    if not jobs:
        return
    import ray.data

    dataset = ray.data.range(len(jobs), override_num_blocks=len(jobs))
    done = dataset.map(on_row, fn_args=(jobs,), num_cpus=1)
    for row in done.iter_rows():
        manifest = json.loads(row["manifest"])
        if "error" in manifest:
            kind, *message = manifest["error"]
            raise {"DataError": DataError, "ResourceError": ResourceError}.get(kind, TaskctError)(*message)
        yield manifest


def _simulate_patient_row(row: dict[str, Any], jobs: list[PatientJob]) -> dict[str, str]:
    return _as_row(lambda: simulate_patient(jobs[row["id"]]))


def _measure_patient_row(row: dict[str, Any], jobs: list[PatientJob]) -> dict[str, str]:
    job = jobs[row["id"]]
    return _as_row(lambda: {"patient": job.reference.patient, "edge_mm": measure_patient(job)})


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
    experiment: DatasetSettings, patients: dict[str, list[str]], manifests: list[Manifest]
) -> DatasetCard:
    """The card of a dataset from its patients' manifests.

    Raises:
        DataError: if the train split, or a validation split with patients, has no slices.
    """
    from taskct_core.simulation.exposure import dose_in_words
    from taskct_core.simulation.slices import geometry_of

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
    for split in ("train", "validation"):  # training needs the one, and choosing a task network the other
        if (patients[split] or split == "train") and not counts[split]["samples"]:
            raise DataError(
                f"the {split} split must hold samples",
                f"none among its patients ({', '.join(patients[split])}): no slice of theirs has a liver",
                "Check their labels, data.slices.only_with_liver and data.split.",
            )
    messages += [
        f"{split}: none of its {counts[split]['samples']} slices has a liver, so that its Dice says nothing"
        for split in schema.SCORED_SPLITS
        if counts[split]["samples"] and not counts[split]["with_liver"]
    ]
    field_mm = manifests[0]["field_of_view_mm"]
    simulation = experiment.simulation.model_copy(update={"field_of_view_mm": field_mm})
    geometry = geometry_of(simulation)
    return DatasetCard(
        geometry=geometry.to_dict(),
        simulation=plain(experiment.simulation),
        source=plain(experiment.data),
        patients=patients,
        counts=counts,
        image_shape=geometry.image_shape,
        has_sinogram=experiment.simulation.store_sinogram,
        has_bases=experiment.simulation.fresh,
        field_of_view_mm=field_mm,
        dose=dose_in_words(simulation, geometry),
        warnings=sorted(set(messages)),
        shards=shards,
        data_hash=hash_of(shards),
        versions={name: version(name) for name in _VERSIONED},
        sources=_sources(manifests),
    )
