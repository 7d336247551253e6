"""Who is simulated: a source's patients, the split or fold of each, and one job a patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from study.data.config import DatasetSettings, SyntheticLesionConfig
from study.data.folds import fold_numbers
from study.data.simulate_patient import PatientJob, file_stem
from study.data.split import check_labelled, split_patients, with_unlabelled
from taskct_core.errors import DataError
from taskct_core.geometry import LODOPAB_FIELD_MM
from taskct_core.volumes import VolumeReference, list_patients
from taskct_core.volumes.body import smallest_field_mm
from taskct_core.volumes.lesioned import with_lesions


def plan(experiment: DatasetSettings, folder: Path) -> tuple[dict[str, list[str]], list[PatientJob]]:
    """The patients of each split, and one job a patient.

    Raises:
        ConfigError, DataError: if the source or the split is not valid.
    """
    references = references_of(experiment)
    patients = split_of(experiment, references)
    return patients, jobs_of(experiment, folder, patients, references)


def in_one_field(
    jobs: list[PatientJob], measure: Callable[[list[PatientJob]], Iterable[float]]
) -> list[PatientJob]:
    """The jobs with the scanner's field of view, which all patients share, set.

    Args:
        measure: gives ``measure_patient`` of every job; asked only where the field is to be found.
    """
    from taskct_core.simulation.slices import geometry_of

    if not jobs:
        return jobs
    simulation = jobs[0].simulation
    if simulation.field_of_view != "scanner" or simulation.field_of_view_mm is not None:
        return jobs
    if simulation.ray_transform is not None:
        scan = geometry_of(simulation)
        field_mm = scan.image_shape[0] * scan.pixel_spacing_mm
    else:  # without a body anywhere, any field will do
        field_mm = smallest_field_mm(measure(jobs)) or LODOPAB_FIELD_MM
    simulation = simulation.model_copy(update={"field_of_view_mm": field_mm})
    return [replace(job, simulation=simulation) for job in jobs]


def references_of(experiment: DatasetSettings) -> dict[str, VolumeReference]:
    """The source's patients by name.

    Raises:
        ConfigError, DataError: if the source is not valid, or a name cannot be written to a file.
    """
    references = list_patients(**experiment.data.source.keywords())
    for reference in references:
        try:
            reference.patient.encode()
        except UnicodeEncodeError:
            raise DataError(
                "a patient's name must be text in UTF-8",
                ascii(reference.patient),
                "Rename the patient's file or folder.",
            ) from None
    return {reference.patient: reference for reference in references}


def split_of(experiment: DatasetSettings, references: Mapping[str, VolumeReference]) -> dict[str, list[str]]:
    """The patients of each split; of folds, all that a fold tests stand in ``train``.

    Raises:
        ConfigError, DataError: if the split does not fit the patients.
    """
    data = experiment.data
    check_labelled(references.values(), data.source.unlabelled)
    persons = _persons(experiment, references)
    unlabelled = [name for name, reference in references.items() if not reference.labelled]
    if data.folds is not None:
        folds = folds_of_patients(experiment, references)
        tested = {"train": [], "validation": [], "test": sorted(folds)}
        placed = with_unlabelled(tested, unlabelled, persons)
        return {"train": sorted([*placed["train"], *folds]), "validation": [], "test": []}
    return split_patients(
        list(references),
        data.named_splits,
        experiment.simulation.seed,
        persons=persons,
        unlabelled=unlabelled,
    )


def folds_of_patients(
    experiment: DatasetSettings, references: Mapping[str, VolumeReference]
) -> dict[str, int]:
    """The fold that tests each labelled patient; none where the patients stand in splits."""
    if experiment.data.folds is None:
        return {}
    labelled = [name for name, reference in references.items() if reference.labelled]
    persons = _persons(experiment, references)
    return fold_numbers(labelled, experiment.data.folds, experiment.simulation.seed, persons=persons)


def _persons(experiment: DatasetSettings, references: Mapping[str, VolumeReference]) -> dict[str, str | None]:
    if not experiment.data.source.trust_patient_id:
        return {}
    return {name: reference.person for name, reference in references.items()}


def jobs_of(
    experiment: DatasetSettings,
    folder: Path,
    patients: Mapping[str, Sequence[str]],
    references: Mapping[str, VolumeReference],
) -> list[PatientJob]:
    """What makes a dataset in ``folder`` of the patients of each split: one job a volume."""
    return [
        PatientJob(
            folder=folder,
            split=split,
            reference=reference,
            source_patient=patient,
            stem=file_stem(reference.patient),
            only_with_liver=experiment.data.slices.only_with_liver,
            every=experiment.data.slices.every,
            rows_per_shard=experiment.data.rows_per_shard,
            simulation=experiment.simulation,
        )
        for split, names in patients.items()
        for patient in names
        if patient in references
        for reference in _as_used(references[patient], split, experiment.data.synthetic_lesions)
    ]


def _as_used(
    reference: VolumeReference, split: str, lesions: SyntheticLesionConfig
) -> Sequence[VolumeReference]:
    """The volumes that a patient gives its split: itself, or itself with synthetic lesions."""
    return with_lesions(reference, lesions.draws, lesions.seed) if split in lesions.splits else [reference]
