"""What ``taskct simulate`` has to do: everything, nothing, or what is missing, damaged or changed in the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel

from study.data.config import DataConfig, DatasetSettings
from study.data.dataset import DatasetCard, find_damages, load_card
from study.data.patient_jobs import folds_of_patients, jobs_of, references_of, split_of
from study.data.simulate_patient import PatientJob
from study.data.source_record import changed_files, current_records, moved_patients, newer_files
from taskct_core.config import StrictModel
from taskct_core.contracts.files import parse_json
from taskct_core.contracts.folders import DatasetFolder
from taskct_core.errors import StudyError, TaskctError
from taskct_core.simulation.config import SimulationConfig
from taskct_core.volumes import VolumeReference

ChangedSource = Literal["keep", "anew"]
_OF_TRAINING = ("fresh", "fresh_draw")  # settings that stored samples do not follow from
_NAMED = 8  # of many changes in a message


@dataclass(frozen=True, kw_only=True)
class SimulationPlan:
    """What has to be done until a folder holds an experiment's dataset.

    Attributes:
        experiment: whose dataset it is.
        folder: of the dataset.
        patients: of each split.
        jobs: one for each patient of whom something is to be made; none where the dataset is whole.
        card: of the dataset that stays, as far as it is whole; None where one is made from the beginning.
        damages: shards that are made again, and what was the matter with each.
        folds: patient -> the fold that tests it, where the patients form folds.
    """

    experiment: DatasetSettings
    folder: Path
    patients: dict[str, list[str]]
    jobs: list[PatientJob]
    card: DatasetCard | None = None
    damages: Mapping[str, str] = field(default_factory=dict)
    folds: dict[str, int] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        """Whether the dataset is there and whole."""
        return self.card is not None and not self.jobs

    def remarks(self, card: DatasetCard) -> list[str]:
        """What to tell of a dataset that stays, once the plan is carried out and ``card`` is its card."""
        if self.card is None:
            return []
        remarks = []
        if self.damages and card.data_hash == self.card.data_hash:
            remarks.append(f"Shards made again, with the bytes they had: {len(self.damages)}.")
        elif self.damages:
            remarks.append(
                f"Shards made again with other bytes, as other versions of the libraries make them: the data's hash was "
                f"{self.card.data_hash[:12]}, and what was begun on it will not go on."
            )
        if card.kept_changes:
            remarks.append(f"Kept, although the source has changed since: {_shortened(card.kept_changes)}.")
        return remarks


@dataclass(frozen=True)
class _Changes:
    """Of the source since the dataset was made: a line for each, and the patients whose files are others."""

    lines: list[str]
    patients: set[str]


def plan_simulation(
    experiment: DatasetSettings, folder: Path, changed_source: ChangedSource | None = None
) -> SimulationPlan:
    """Compare a folder with the dataset that an experiment describes. Changes nothing.

    Args:
        experiment: whose dataset it is.
        folder: of the dataset.
        changed_source: what to do if the source is not what the dataset was made from: ``keep`` the dataset, or
            make it ``anew`` where it differs. None refuses, unless just these changes were disregarded before.

    Raises:
        ConfigError, DataError: if the source or the split is not valid.
        StudyError: if the folder holds a dataset made with other settings, or from a source that has changed.
    """
    card = _finished_card(folder)
    if card is None:
        return _from_the_beginning(experiment, folder)
    _refuse_other_settings(experiment, card, folder)
    damages = find_damages(folder, card)
    references: dict[str, VolumeReference] = {}
    try:
        references = references_of(experiment)
        planned = split_of(experiment, references)
        card, changes = _compare(card, references, planned, folder)
    except (TaskctError, OSError) as error:
        line = f"it cannot be read: {error.received if isinstance(error, TaskctError) else error}"
        changes = _Changes([line], set(card.sources))
    if changes.lines and changed_source == "anew":
        return _from_the_beginning(experiment, folder)
    if changes.lines and changed_source is None and changes.lines != card.kept_changes:
        _refuse_changed_source(folder, changes.lines)
    card = card.model_copy(update={"kept_changes": changes.lines})
    jobs = _repairs(experiment, folder, card, references, damages)
    _refuse_repair_from_others(jobs, changes, damages)
    return SimulationPlan(
        experiment=experiment, folder=folder, patients=card.patients, jobs=jobs, card=card, damages=damages
    )


def plain(model: BaseModel) -> dict[str, Any]:
    """A configuration as JSON would read it back, so that it compares equal with a stored one."""
    values: dict[str, Any] = model.model_dump(mode="json")
    return values


def _finished_card(folder: Path) -> DatasetCard | None:
    """None where there is none yet, and where it was torn: the patients' manifests say the same."""
    path = DatasetFolder(folder).card
    try:
        parse_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return load_card(folder)


def _from_the_beginning(experiment: DatasetSettings, folder: Path) -> SimulationPlan:
    references = references_of(experiment)
    patients = split_of(experiment, references)
    return SimulationPlan(
        experiment=experiment,
        folder=folder,
        patients=patients,
        jobs=jobs_of(experiment, folder, patients, references),
        folds=folds_of_patients(experiment, references),
    )


def _refuse_other_settings(experiment: DatasetSettings, card: DatasetCard, folder: Path) -> None:
    differences = [
        *_differences("source", plain(DataConfig.parse(card.source)), experiment.data),
        *_differences("simulation", card.simulation, experiment.simulation, _OF_TRAINING),
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
        for key, value in plain(wanted).items()
        if key in asked and key not in ignored and found.get(key) != value
    ]


def _compare(
    card: DatasetCard,
    references: Mapping[str, VolumeReference],
    planned: Mapping[str, Sequence[str]],
    folder: Path,
) -> tuple[DatasetCard, _Changes]:
    """What has changed in the source, and the card with the present times of files that have not."""
    current = current_records(references, card.sources)
    changed = changed_files(card.sources, current)
    unrecorded = [
        patient
        for patients in card.patients.values()
        for patient in patients
        if patient not in card.sources and patient in references
    ]
    made_at = DatasetFolder(folder).card.stat().st_mtime
    changed |= newer_files(references, unrecorded, made_at)
    same = {patient: record for patient, record in current.items() if patient not in changed}
    card = card.model_copy(update={"sources": {**card.sources, **same}})
    return card, _Changes(moved_patients(card.patients, planned) + list(changed.values()), set(changed))


def _refuse_changed_source(folder: Path, lines: list[str]) -> NoReturn:
    raise StudyError(
        "a dataset must be of the source that it was made from",
        f"the source of {folder} has changed since ({_shortened(lines)})",
        "`taskct simulate CONFIG --changed-source keep` keeps the dataset as it is, also in later runs; "
        "`--changed-source anew` simulates what has changed, and a study on the old data will not go on.",
    )


def _shortened(lines: Sequence[str]) -> str:
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    return "; ".join([*lines[:_NAMED], *more])


def _repairs(
    experiment: DatasetSettings,
    folder: Path,
    card: DatasetCard,
    references: Mapping[str, VolumeReference],
    damages: Mapping[str, str],
) -> list[PatientJob]:
    """Jobs for the patients with damaged shards, under the names that their shards have."""
    recorded: dict[tuple[str, str], dict[str, str]] = {}
    for split, shards in card.shards.items():
        for shard in shards:
            recorded.setdefault((split, shard.patient), {})[shard.path] = shard.sha256
    jobs = []
    for job in jobs_of(experiment, folder, card.patients, references):
        own = recorded.get((job.split, job.reference.patient), {})
        if damages.keys() & own.keys():
            stem = Path(next(iter(own))).name.rpartition("-")[0]
            jobs.append(replace(job, stem=stem, recorded=own, simulation=_simulation_of(card)))
    return jobs


def _simulation_of(card: DatasetCard) -> SimulationConfig:
    """The settings that a dataset's shards were made with, what was found out while making it included."""
    found = {"field_of_view_mm": card.field_of_view_mm, "fresh": card.has_bases}
    return SimulationConfig.of_dataset(card.simulation).model_copy(update=found)


def _refuse_repair_from_others(
    jobs: Sequence[PatientJob],
    changes: _Changes,
    damages: Mapping[str, str],
) -> None:
    """A shard is made again only from the files that it was made from."""
    repaired = {path for job in jobs for path in job.recorded if path in damages}
    lost = sorted(damages.keys() - repaired)
    other = sorted({job.source_patient for job in jobs} & changes.patients)
    if lost or other:
        raise StudyError(
            "a damaged shard can be made again only from the source that it was made from",
            "; ".join([*(f"{path} ({damages[path]})" for path in lost[:_NAMED]), *changes.lines[:_NAMED]]),
            "Restore the source, or make the dataset anew: `taskct simulate CONFIG --changed-source anew`.",
        )
