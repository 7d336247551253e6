"""What task-adaptive training gains at each dose: studies of several doses, or the slices of one study whose dose varies.

At every dose the recommended trial and the one without task loss are those that validation chose at that dose; their
scores, and the intervals of their difference, are of the split of claims.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.contestants import Contestant, alpha_of, contestant
from analysis.method_draws import gap_closed_interval
from analysis.paired_differences import FEWEST_PATIENTS_FOR_A_CLAIM, compare_methods
from analysis.results_table import ResultsTable
from analysis.sample_scores import align, can_resample
from analysis.selection import Choice, baseline, choose_trial
from analysis.unavailable import NotApplicable, Unavailable, attempt
from taskct_core import schema as S
from taskct_core.errors import StudyError
from taskct_core.metrics.summary import summarise

DOSE_BINS = 3  # of equally many slices, where the dose varies from slice to slice
LEAST_RANGE = 1.5  # of the highest over the lowest dose, below which slices count as of one dose
_PATIENTS = "patients"
_COUNTED = {
    "gain": S.PRIMARY_DICE,
    "gain_audit": S.PRIMARY_DICE + S.AUDIT_NETWORK_SUFFIX,
    "cost": S.PRIMARY_PSNR,
}


@dataclass(frozen=True)
class OverDose:
    """Rows of photons_per_ray (ascending), alpha, gain and cost (Dice and PSNR of the recommended trial minus those of the
    one without task loss), gain_audit (the gain under a second task network, where one scored both), gap (share to full
    dose that the recommended closes), all but the first two with ``_low`` and ``_high``.

    Attributes:
        starts_to_pay: the dose, in photons a ray, below which the gain's interval lies above 0, interpolated between
            doses; infinite if it does at every dose, None if at none or not at the lowest, or with too few patients.
        patients: the fewest that a gain is of.
    """

    rows: pd.DataFrame
    starts_to_pay: float | None
    patients: int

    @property
    def enough_patients(self) -> bool:
        return self.patients >= FEWEST_PATIENTS_FOR_A_CLAIM

    @property
    def has_second_judge(self) -> bool:
        return "gain_audit" in self.rows and bool(self.rows["gain_audit"].notna().any())


def over_dose(tables: Sequence[tuple[float, ResultsTable]]) -> OverDose:
    """The gain at each of some doses, in photons a ray.

    Raises:
        NotApplicable: for fewer than two doses.
        Unavailable: if at fewer than two there is a trial without task loss to compare with.
    """
    if len({dose for dose, _ in tables}) < 2:
        raise NotApplicable("There is one dose only.")
    found = [attempt(_at_dose, dose, table) for dose, table in sorted(tables, key=lambda pair: pair[0])]
    rows = pd.DataFrame([one.result for one in found if one.result is not None])
    if len(rows) < 2:
        reasons = {one.missing.reason for one in found if one.missing is not None}
        raise Unavailable(f"The gain is known at fewer than two doses: {' '.join(sorted(reasons))}")
    patients = int(rows.pop(_PATIENTS).min())
    pays = None
    if patients >= FEWEST_PATIENTS_FOR_A_CLAIM:
        pays = starts_to_pay(rows[S.PHOTONS_PER_RAY].to_numpy(), rows["gain_low"].to_numpy())
    return OverDose(rows, pays, patients)


def starts_to_pay(doses: np.ndarray, low_ends: np.ndarray) -> float | None:
    """The dose below which gains are above 0 with confidence: where the low end crosses 0 first, in log dose.

    Args:
        doses: ascending.
        low_ends: of the gain's intervals.
    """
    pays = low_ends > 0
    if not pays[0]:
        return None
    if pays.all():
        return float("inf")
    first = int(np.argmin(pays))  # the lowest dose at which it does not
    share = low_ends[first - 1] / (low_ends[first - 1] - low_ends[first])
    return float(np.exp(np.log(doses[first - 1]) + share * np.log(doses[first] / doses[first - 1])))


def tables_by_dose(table: ResultsTable) -> list[tuple[float, ResultsTable]]:
    """A study whose slices vary in dose, as one study for each range of it, with the median dose of each.

    Raises:
        NotApplicable: if its slices are of one dose, or of none that is recorded.
    """
    samples = table.samples
    if table.study.photons_per_ray is not None:
        raise NotApplicable("All slices are of one dose.")
    if (table.study.dataset.get("simulation") or {}).get("automatic_exposure"):
        raise NotApplicable("With automatic exposure, photons follow the body and not the dose alone.")
    if S.PHOTONS_PER_RAY not in samples or samples[S.PHOTONS_PER_RAY].isna().all():
        raise NotApplicable("The doses of single slices are not recorded.")
    photons = samples[S.PHOTONS_PER_RAY].astype(float)
    if photons.max() < LEAST_RANGE * photons.min():
        raise NotApplicable("All slices are of nearly one dose.")
    edges = np.quantile(photons, np.linspace(0, 1, DOSE_BINS + 1))
    bins = np.clip(np.searchsorted(edges, photons, side="right") - 1, 0, DOSE_BINS - 1)
    return [
        (float(np.exp(np.log(photons[bins == number]).median())), _of_slices(table, samples[bins == number]))
        for number in range(DOSE_BINS)
    ]


def _of_slices(table: ResultsTable, samples: pd.DataFrame) -> ResultsTable:
    """The study as if it had only these slices."""
    last = table.rows.sort_values(S.EPOCH, kind="stable").drop_duplicates([S.TRIAL, S.SPLIT], keep="last")
    scores = {key: summarise(rows.to_dict("records")) for key, rows in samples.groupby([S.TRIAL, S.SPLIT])}
    rows = []
    for row in last.to_dict("records"):
        scored = scores.get((row[S.TRIAL], row[S.SPLIT]))
        if scored is not None:
            rows.append({**row, **{name: scored[name] for name in scored if name in last}})
    return dataclasses.replace(table, rows=pd.DataFrame(rows, columns=last.columns), samples=samples)


def _at_dose(dose: float, table: ResultsTable) -> dict[str, float]:
    without = baseline(table)
    if without is None:
        raise Unavailable("No complete trial without task loss.")
    try:
        recommended = choose_trial(table, Choice())
    except StudyError as error:
        raise Unavailable(str(error)) from None
    sides = contestant(table, recommended), contestant(table, without.trial)
    alpha = alpha_of(table, recommended)
    row: dict[str, float] = {S.PHOTONS_PER_RAY: dose, "alpha": 0.0 if alpha is None else alpha}
    row |= _differences(table, sides)
    gap = attempt(gap_closed_interval, table, recommended, S.PRIMARY_DICE).result or (np.nan,) * 3
    return row | dict(zip(("gap", "gap_low", "gap_high"), gap, strict=True))


def _differences(table: ResultsTable, sides: tuple[Contestant, Contestant]) -> dict[str, float]:
    trials = list(dict.fromkeys(sides[0].trials + sides[1].trials))
    samples = align(table, trials, table.claim_split)
    counted = {name: metric for name, metric in _COUNTED.items() if can_resample(samples, metric)}
    row = {_PATIENTS: float(samples.patient_count)}
    if sides[0].trials == sides[1].trials:
        return row | {f"{name}{end}": 0.0 for name in counted for end in ("", "_low", "_high")}
    compared = compare_methods(table, [sides], list(counted.values())).rows.set_index("metric")
    ends = {"": "difference", "_low": "low", "_high": "high"}
    return row | {
        f"{name}{end}": float(compared.at[metric, column])
        for name, metric in counted.items()
        for end, column in ends.items()
    }
