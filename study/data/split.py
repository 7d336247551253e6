"""Which patients train, validate and test: decided by patient, never by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import SCORED_SPLITS, SPLITS
from taskct_core.volumes import VolumeReference


def split_patients(
    patients: Sequence[str],
    split: Mapping[str, float | list[str]],
    seed: int,
    *,
    persons: Mapping[str, str | None] | None = None,
    unlabelled: Sequence[str] = (),
) -> dict[str, list[str]]:
    """Assign patients to train, validation and test.

    Args:
        patients: all patients of the source.
        split: for each split either its share of the patients (shares are normalised by their sum) or the
            names of its patients (others are left out).
        seed: of the shuffle behind the shares.
        persons: whom a patient's files name, where they do. Two studies of one person stay in one split.
        unlabelled: patients without labels, who can only train.

    Raises:
        ConfigError: if a named patient does not exist or stands in two splits, if shares are negative or
            all zero, if a split with a share would be left without a patient, or if of the patients without labels
            one is to validate or test or, beside names, none is to train.
        DataError: if the named patients of two splits are one person.
    """
    persons = persons or {}
    names = {name: value for name, value in split.items() if isinstance(value, list)}
    if names:
        named = _named(patients, {name: names.get(name, []) for name in SPLITS})
        _refuse_shared_persons(named, persons)
        _refuse_unlabelled(named, unlabelled)
        return named
    given = {name: value for name, value in split.items() if not isinstance(value, list)}
    shares = {name: given.get(name, 0.0) for name in SPLITS}
    units = _one_a_person(sorted(set(patients) - set(unlabelled)), persons)
    placed = _by_share(sorted(units), shares, seed)
    result = {name: sorted(p for unit in chosen for p in units[unit]) for name, chosen in placed.items()}
    return with_unlabelled(result, unlabelled, persons)


def check_labelled(references: Iterable[VolumeReference], unlabelled: bool) -> None:
    """Refuse patients without labels unless they are asked for.

    Raises:
        DataError: naming them.
    """
    names = [reference.patient for reference in references if not reference.labelled]
    if names and not unlabelled:
        raise DataError(
            "each patient must have labels",
            f"{len(names)} without: {', '.join(names[:8])}{', ...' if names[8:] else ''}",
            "Add their labels, or take them for training alone with data.source.unlabelled: true.",
        )


def _one_a_person(patients: Sequence[str], persons: Mapping[str, str | None]) -> dict[str, list[str]]:
    """First patient of each person -> all patients who are that person."""
    first: dict[str, str] = {}
    units: dict[str, list[str]] = {}
    for patient in patients:
        person = persons.get(patient)
        unit = patient if person is None else first.setdefault(person, patient)
        units.setdefault(unit, []).append(patient)
    return units


def with_unlabelled(
    split: dict[str, list[str]], unlabelled: Sequence[str], persons: Mapping[str, str | None]
) -> dict[str, list[str]]:
    """The split with patients without labels in training, but for other studies of people who are scored."""
    scored = {persons.get(patient) for name in SCORED_SPLITS for patient in split[name]} - {None}
    training = [patient for patient in unlabelled if persons.get(patient) not in scored]
    return {**split, "train": sorted([*split["train"], *training])}


def _refuse_shared_persons(split: Mapping[str, list[str]], persons: Mapping[str, str | None]) -> None:
    places: dict[str, dict[str, str]] = {}  # person -> split -> one of the patients
    for name, patients in split.items():
        for patient in patients:
            if (person := persons.get(patient)) is not None:
                places.setdefault(person, {}).setdefault(name, patient)
    shared = [found for found in places.values() if len(found) > 1]
    if shared:
        raise DataError(
            "studies of one person must stand in one split",
            "; ".join(" and ".join(f"{p} ({name})" for name, p in found.items()) for found in shared)
            + " have the same PatientID",
            "Put them in one split; if the IDs mean nothing, as after anonymising, set "
            "data.source.trust_patient_id: false.",
        )


def _refuse_unlabelled(split: Mapping[str, list[str]], unlabelled: Sequence[str]) -> None:
    scored = sorted(set(unlabelled) & {*split["validation"], *split["test"]})
    if scored:
        raise ConfigError(
            "patients without labels can only train: there is nothing to score them by",
            f"{', '.join(scored)} in validation or test",
            "Move them to data.split.train.",
        )
    if unlabelled and not set(unlabelled) & set(split["train"]):
        raise ConfigError(
            "data.source.unlabelled takes patients without labels to train, but a split of names has those it names alone",
            f"none of {', '.join(unlabelled)} in data.split.train",
            "Name them there, or give the splits shares, or leave data.source.unlabelled out.",
        )


def _named(patients: Sequence[str], split: dict[str, list[str]]) -> dict[str, list[str]]:
    counts = Counter(patient for names in split.values() for patient in names)
    repeated = sorted(patient for patient, count in counts.items() if count > 1)
    if repeated:
        raise ConfigError(
            "a patient may stand in one split only",
            f"{', '.join(repeated)} named more than once in data.split",
            "Keep each patient in one of train, validation, test.",
        )
    unknown = sorted(set(counts) - set(patients))
    if unknown:
        raise ConfigError(
            "data.split must name patients of the source",
            f"{', '.join(unknown)}; the source has {', '.join(sorted(patients))}",
            "Correct the names.",
        )
    return split


def _by_share(patients: list[str], shares: dict[str, float], seed: int) -> dict[str, list[str]]:
    total = sum(shares.values())
    if total <= 0 or any(share < 0 for share in shares.values()):
        raise ConfigError(
            "shares in data.split must be >= 0 and not all 0", f"{shares}", "Correct the shares."
        )
    wanted = [name for name in SPLITS if shares[name] > 0]
    if len(patients) < len(wanted):
        raise ConfigError(
            "each split with a share needs a patient of its own",
            f"{len(patients)} patients for {', '.join(wanted)} (studies of one person count once)",
            "Add patients, set a split's share to 0, or, if PatientIDs mean nothing, as after anonymising, set "
            "data.source.trust_patient_id: false.",
        )
    order = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    # Every wanted split gets one patient; the rest go, one by one, to the split furthest below its share.
    counts = {name: int(name in wanted) for name in SPLITS}
    for _ in range(len(patients) - len(wanted)):
        neediest = max(wanted, key=lambda name: shares[name] / total * len(patients) - counts[name])
        counts[neediest] += 1
    result: dict[str, list[str]] = {}
    start = 0
    for name in SPLITS:
        result[name] = sorted(order[start : start + counts[name]])
        start += counts[name]
    return result
