"""Which patients' images stand beside the answer: a typical one and the worst, by the recommended network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.panels import PanelSlices
from analysis.results_table import ResultsTable
from analysis.sample_scores import align, can_resample, patient_scores
from analysis.unavailable import Unavailable, attempt
from taskct_core import schema as S


@dataclass(frozen=True)
class ShownPatient:
    """One slice of a patient and why it is shown.

    Attributes:
        title: ``Typical patient``, ``Worst patient``.
        place: of the slice among the panel's.
        words: the patient's score and how it was chosen.
    """

    title: str
    place: int
    words: str


def shown_patients(table: ResultsTable, slices: PanelSlices, trials: tuple[int, ...]) -> list[ShownPatient]:
    """Of the patients whose images are kept, the one nearest to the median Dice of all, and the one with the lowest.

    Args:
        table: the study.
        slices: whose images are kept; the first of each patient is shown.
        trials: of the network that is recommended, whose Dice decides.
    """
    first: dict[str, int] = {}
    for place, shown in enumerate(slices.slices):
        first.setdefault(str(shown[S.PATIENT]), place)
    scores = attempt(_scores, table, trials, str(slices.slices[0][S.SPLIT])).result if slices.slices else None
    kept = {patient: score for patient, score in (scores or {}).items() if patient in first}
    if scores is None or not kept:
        return [ShownPatient("Patient", place, patient) for patient, place in list(first.items())[:2]]
    if len(kept) == 1:
        [patient] = kept
        why = "the only one" if len(scores) == 1 else f"the only one with images, of {len(scores)}"
        return [ShownPatient("Patient", first[patient], _words(patient, scores, why))]
    median = float(np.median(list(scores.values())))
    worst = min(kept, key=lambda patient: kept[patient])
    typical = min((p for p in kept if p != worst), key=lambda patient: abs(kept[patient] - median))
    of = (
        f"of {len(scores)}"
        if len(kept) == len(scores)
        else f"of the {len(kept)} with images, of {len(scores)}"
    )
    return [
        ShownPatient(
            "Typical patient", first[typical], _words(typical, scores, f"nearest to the median {of}")
        ),
        ShownPatient("Worst patient", first[worst], _words(worst, scores, f"lowest {of}")),
    ]


def _words(patient: str, scores: dict[str, float], why: str) -> str:
    return f"{patient}, Dice {scores[patient]:.2f}, {why}"


def _scores(table: ResultsTable, trials: tuple[int, ...], split: str) -> dict[str, float]:
    """Mean Dice of each patient under the recommended network."""
    samples = align(table, trials, split)
    if not can_resample(samples, S.PRIMARY_DICE):
        raise Unavailable("The slices hold no Dice.")
    found = patient_scores(samples, S.PRIMARY_DICE)
    means = {name: float(np.nanmean(dice)) for name, dice in found.items() if not np.isnan(dice).all()}
    if not means:
        raise Unavailable("No patient has a Dice.")
    return means
