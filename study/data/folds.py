"""Cross-validation by patient: a dataset whose patients carry fold numbers, and what a fold reads of it as which split.

All patients lie in the dataset's train split, so that each can train. A fold tests on its own patients, and trains on
the others; its epochs are chosen on the patients of the next fold, or on every fifth shard of those who train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from study.data.dataset import DatasetCard, ShardEntry
from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import SPLITS

_VALIDATION_EVERY, _FIRST_VALIDATION = 5, 2  # shards of a training patient, in the order of its slices


def fold_numbers(
    patients: Sequence[str],
    folds: int,
    seed: int,
    *,
    persons: Mapping[str, str | None] | None = None,
) -> dict[str, int]:
    """The fold in which each labelled patient tests. Studies of one person share a fold, and folds are even in persons.

    Args:
        patients: that have labels.
        folds: how many.
        seed: of the shuffle.
        persons: whom a patient's files name, where they do.

    Raises:
        ConfigError: if there are fewer people than folds.
    """
    persons = persons or {}
    unit_of = {patient: persons.get(patient) or f"patient {patient}" for patient in sorted(patients)}
    units = list(dict.fromkeys(unit_of.values()))
    if len(units) < folds:
        raise ConfigError(
            "each fold needs a labelled patient of its own",
            f"{len(units)} patients for data.split.folds = {folds} (studies of one person count once)",
            "Lower data.split.folds, or add patients.",
        )
    order = np.random.default_rng(seed).permutation(len(units))
    fold_of = {units[unit]: place % folds for place, unit in enumerate(order)}
    return {patient: fold_of[unit] for patient, unit in unit_of.items()}


def fold_card(card: DatasetCard, fold: int) -> DatasetCard:
    """The dataset as one fold sees it: its shards in the splits that they serve there.

    Raises:
        DataError: if a split would hold nothing.
    """
    shards: dict[str, list[ShardEntry]] = {split: [] for split in SPLITS}
    for patient, entries in _by_patient(card.shards["train"]).items():
        for place, entry in enumerate(entries):
            shards[_split_of(card, fold, patient, place)].append(entry)
    empty = [split for split, entries in shards.items() if not entries]
    if empty:
        raise DataError(
            "each fold needs samples that train, validate and test",
            f"none for {', '.join(empty)} in fold {fold}",
            "Lower data.rows_per_shard so that patients have more than two shards, or data.split.folds.",
        )
    patients = {split: sorted({entry.patient for entry in entries}) for split, entries in shards.items()}
    return card.model_copy(update={"shards": shards, "patients": patients, "folds": {}})


def _by_patient(shards: Sequence[ShardEntry]) -> dict[str, list[ShardEntry]]:
    entries: dict[str, list[ShardEntry]] = {}
    for entry in sorted(shards, key=lambda entry: (entry.patient, entry.path)):
        entries.setdefault(entry.patient, []).append(entry)
    return entries


def _split_of(card: DatasetCard, fold: int, patient: str, place: int) -> str:
    """The split that the ``place``-th shard of a patient serves in a fold."""
    own = card.folds.get(patient)
    if own == fold:
        return "test"
    if own is None:  # without labels
        return "train"
    if card.source["split"].get("validation", "fold") == "slices":
        return "validation" if place % _VALIDATION_EVERY == _FIRST_VALIDATION else "train"
    return "validation" if own == (fold + 1) % card.fold_count else "train"
