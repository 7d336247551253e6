"""Nobody is scored on whom something was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskct_core.errors import DataError

Patients = Mapping[str, Sequence[str]]  # split -> its patients


def check_no_leakage(scored: Patients, learned: Patients, learner: str) -> None:
    """Refuse to score patients whom a network has learned from: their scores would flatter it.

    A network may have been chosen on patients that validate; on patients that test it may not.

    Args:
        scored: patients of the splits that are scored. Scores on the train split are never more than a
            look at training, and are not refused.
        learned: patients of the splits that the network was trained and chosen on; empty if unknown.
        learner: what learned, for the message.

    Raises:
        DataError: naming the patients.
    """
    trained_on = set(learned.get("train", []))
    forbidden = {"validation": trained_on, "test": trained_on | set(learned.get("validation", []))}
    leaks = [
        f"{', '.join(shared)} in {split}"
        for split, patients in forbidden.items()
        if (shared := sorted(patients & set(scored.get(split, []))))
    ]
    if leaks:
        raise DataError(
            f"nobody may be scored on whom {learner} was trained or chosen",
            "; ".join(leaks),
            "Name the same patients in data.split for both, or train on others.",
        )


def check_no_twins(manifests: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a dataset in which the same voxels stand in two splits, under whatever names and in whatever files.

    Args:
        manifests: of the simulated patients: ``source_patient``, ``split`` and ``voxels``, a hash of the CT.

    Raises:
        DataError: naming the patients.
    """
    seen: dict[str, tuple[str, str]] = {}
    for manifest in sorted(manifests, key=lambda manifest: str(manifest["source_patient"])):
        patient, split = manifest["source_patient"], manifest["split"]
        other, other_split = seen.setdefault(manifest.get("voxels") or f"unknown {patient}", (patient, split))
        if other_split != split:
            raise DataError(
                "no CT may stand in two splits",
                f"{other} ({other_split}) and {patient} ({split}) have the same voxels",
                "Put them in one split, or leave one of them out (data.split).",
            )
