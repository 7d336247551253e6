"""The report's summary: sentences that say only what the intervals support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.answer import LEAST_SHARE_SEEN
from analysis.contestants import alpha_of, contestant, shown_whole
from analysis.figures.correlation import compute_rank_correlations
from analysis.figures.differences import SIGNIFICANCE
from analysis.figures.image_quality import compute_lesions_against_dice
from analysis.judges import means_under_both
from analysis.method_draws import gap_closed_interval
from analysis.method_scores import gap_words
from analysis.metric_info import in_words_of, metric_info
from analysis.paired_differences import (
    FEWEST_PATIENTS_FOR_A_CLAIM,
    Comparisons,
    default_comparisons,
    default_pairs,
)
from analysis.results_table import ALPHA, CLAIM_SPLIT, CONFIG_SEED, SEARCH_SPLIT, ResultsTable
from analysis.selection import best_trial, front_trials, picks
from analysis.unavailable import attempt
from taskct_core import schema as S


def summarise(table: ResultsTable) -> list[str]:
    """The sentences: the answer first, then what it rests on and what it does not say."""
    sentences = [
        _front(table),
        *_differences(table),
        _gap(table),
        _audit(table),
        _correlation(table),
        _lesions(table),
        _progress(table),
        _basis(table),
        _structures(table),
        _seeds(table),
    ]
    return [in_words_of(table.only_structure, sentence) for sentence in sentences if sentence]


def _front(table: ResultsTable) -> str:
    if not table.objectives:
        return "None of the study's objectives has a finite value in the results, so there is no front."
    complete = table.complete_scores(SEARCH_SPLIT, table.objectives)
    front = front_trials(table)
    if not front:
        return (
            "No trial is complete with all objectives scored, so there is no front yet."
            if complete.empty
            else ""
        )
    names = " and ".join(metric_info(name).label for name in table.objectives)
    count = len(complete)
    if count == 1:
        return (
            f"One trial is complete: it is the front in {names} by itself, which says nothing of a trade-off."
        )
    different = table.configurations[front].nunique()
    same = f" ({_count(different, 'different configuration')})" if different < len(front) else ""
    sentence = f"{len(front)} of {count} complete trials{same} {_are(len(front))} non-dominated in {names} on validation"
    alphas = table.trials.reindex(columns=[ALPHA]).loc[front, ALPHA].dropna()
    if alphas.nunique() > 1:
        sentence += f", with alpha from {alphas.min():.3g} to {alphas.max():.3g}"
    return sentence + "."


def _differences(table: ResultsTable) -> list[str]:
    """What the trial with the best first objective gains and loses against its first opponent."""
    found, pairs = table.fact(default_comparisons), default_pairs(table)
    if found.missing is not None:
        return [found.missing.reason] if pairs else []
    compared = found.needed
    one, other = pairs[0]
    rows = compared.rows[(compared.rows["name"] == one.label) & (compared.rows["other"] == other.label)]
    if rows.empty:
        return []
    against = other.name if other.trials[0] < 0 else f"{other.name}, which used no task loss"
    alpha = None if shown_whole(table) else alpha_of(table, one.trials[0])
    who = one.name if alpha is None else f"{one.name}, alpha {alpha:.3g}"
    parts = [_difference(row, compared) for row in rows.to_dict("records")]
    sentence = f"{_capital(who)}, compared with {against}: {'; '.join(parts)}."
    if compared.patients == 1:
        sentence += f" These intervals are over {compared.basis}."
    elif not compared.enough_patients:
        sentence += (
            f" With {compared.patients} patients these intervals are rough, and no difference is called one "
            f"below {FEWEST_PATIENTS_FOR_A_CLAIM} patients."
        )
    return [sentence]


def _difference(row: Mapping[Any, Any], compared: Comparisons) -> str:
    metric = metric_info(row["metric"])
    unit = f" {metric.unit}" if metric.unit else ""
    interval = f"95 % interval {row['low']:+.3g} to {row['high']:+.3g}"
    if compared.enough_patients and row["p_holm"] < SIGNIFICANCE:
        direction = "higher" if row["difference"] > 0 else "lower"
        return f"{metric.label} {direction} by {abs(row['difference']):.3g}{unit} ({interval})"
    numbers = f"{metric.label} {row['difference']:+.3g}{unit} ({interval})"
    return f"{numbers}, no supported difference" if compared.enough_patients else numbers


def _gap(table: ResultsTable) -> str:
    scores = table.complete_scores(SEARCH_SPLIT, [S.PRIMARY_DICE])
    dice = scores.get(S.PRIMARY_DICE, pd.Series(dtype=float))
    best = best_trial(dice, table.direction(S.PRIMARY_DICE))
    found = None if best is None else attempt(gap_closed_interval, table, best, S.PRIMARY_DICE).result
    if best is None or found is None:
        return ""
    share, low, high = (round(value, 2) + 0.0 for value in found)  # no "-0%"
    return (
        f"In {metric_info(S.PRIMARY_DICE).label}, {contestant(table, best).name} closes {share:.0%} (95 % interval "
        f"{low:.0%} to {high:.0%}) of the gap between {gap_words(table)} and the full-dose image."
    )


def _audit(table: ResultsTable) -> str:
    """What a second task network says of the first pair that is compared."""
    pairs = default_pairs(table)
    if not pairs:
        return ""
    one, other = pairs[0]
    found = means_under_both(table, (one, other))
    if found is None:
        return ""
    metric, (a, b), (c, d) = found
    return (
        f"A second task network, which took no part in the training, sees {c - d:+.3g} in "
        f"{metric_info(metric).label} between {one.name} and {other.name} ({c:.3g} against {d:.3g}), "
        f"where the frozen one sees {a - b:+.3g}{_verdict(a - b, c - d)}{_unless_supported(table, a - b)}."
    )


def _unless_supported(table: ResultsTable, gain: float) -> str:
    """What must be added where the gain of the first pair, of which the second judge sees a share, is itself not sure."""
    compared = default_comparisons(table).result
    if gain <= 0 or compared is None:
        return ""
    rows = compared.rows[compared.rows["metric"] == S.PRIMARY_DICE]
    supported = compared.enough_patients and len(rows) and float(rows["p_holm"].iloc[0]) < SIGNIFICANCE
    return "" if supported else ", if the gain is one: these patients do not support it"


def _verdict(gain: float, seen: float) -> str:
    """Whether a judge that took no part sees at least half of a gain under the judge that was trained against."""
    if gain <= 0:
        return ""
    if seen >= LEAST_SHARE_SEEN * gain:
        return f": {seen / gain:.0%} of the gain, so it is no trick on the judge"
    return f": {max(seen, 0.0) / gain:.0%} of the gain, less than half, so the method fools its judge"


def _correlation(table: ResultsTable) -> str:
    found = attempt(compute_rank_correlations, table).result
    if found is None:
        return ""
    rows = found.rows
    rows = rows[(rows["image_metric"] == S.PRIMARY_PSNR) & (rows["task_metric"] == S.PRIMARY_DICE)]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    numbers = f"rank correlation {row['rho']:+.2f}, 95 % interval {row['low']:+.2f} to {row['high']:+.2f}"
    if row["low"] > 0:
        verdict = "Trials with higher PSNR also had higher Dice"
    elif row["high"] < 0:
        verdict = "Trials with higher PSNR had lower Dice"
    else:
        verdict = "PSNR does not tell which trials had higher Dice"
    return f"{verdict} ({numbers})."


def _lesions(table: ResultsTable) -> str:
    """Whether the trial with the best Dice also shows inserted lesions better."""
    found = attempt(compute_lesions_against_dice, table).result
    if found is None or found.best_dice is None:
        return ""
    rows = found.rows.set_index("trial")

    def detected(trial: int) -> str:
        row = rows.loc[trial]
        interval = "" if math.isnan(row["low"]) else f" ({row['low']:.2f} to {row['high']:.2f})"
        return f"{row['dprime']:.2f}{interval}"

    told = [f"the trial with the best Dice on validation has d' {detected(found.best_dice)}"]
    if found.best_dprime is not None and found.best_dprime != found.best_dice:
        told.append(f"the one with the best d' there {detected(found.best_dprime)}")
    fbp = table.reference("fbp")
    if fbp is not None and fbp in rows.index:
        told.append(f"FBP {detected(fbp)}")
    return f"Lesions inserted into livers: {', '.join(told)}."


def _progress(table: ResultsTable) -> str:
    counts = table.trials[S.STATUS].value_counts()
    names = {S.COMPLETE: "complete", S.PRUNED: "pruned", S.FAIL: "failed", S.RUNNING: "still running"}
    parts = [f"{counts[status]} {name}" for status, name in names.items() if status in counts]
    total = len(table.trials)
    if total == 0:
        return "No trial has reported yet; only references are shown."
    return f"{total} trial{'' if total == 1 else 's'}: {', '.join(parts)}."


def _basis(table: ResultsTable) -> str:
    if table.claim_split != CLAIM_SPLIT:
        return (
            "No trial has been evaluated on the test split yet: all scores are of the validation split, "
            "which the search optimises, and are therefore optimistic"
            + (
                "; the table of methods shows every configuration, so none of it was chosen by these scores."
                if shown_whole(table) and len(table.distinct_runs) > 1
                else "."
            )
        )
    samples = table.samples[table.samples[S.SPLIT] == CLAIM_SPLIT]
    size = ""
    if len(samples):
        slices = len(samples[[S.PATIENT, S.SLICE_INDEX]].drop_duplicates())
        size = f" ({_count(samples[S.PATIENT].nunique(), 'patient')}, {_count(slices, 'slice')})"
    if table.folds:
        return (
            f"Scores are of a cross-validation by patient in {table.folds} folds{size}: each patient is tested by "
            "networks that were neither trained nor chosen on them; the trials named here were chosen on validation."
        )
    return (
        f"Scores are of the test split{size}, which neither training nor the search has seen; the trials "
        "named here were chosen on validation." + _optimism(table)
    )


def _optimism(table: ResultsTable) -> str:
    """How much better the front looks on validation for having been chosen there, against all complete trials."""
    lost = {}
    for metric in table.objectives:
        validation = table.complete_scores(SEARCH_SPLIT, [metric])[metric]
        fall = (validation - table.scores(CLAIM_SPLIT, [metric])[metric].reindex(validation.index)).dropna()
        front = fall[fall.index.isin(front_trials(table))]
        if len(front) and len(front) < len(fall):
            sign = 1 if table.direction(metric) == "maximize" else -1
            lost[metric] = sign * float(front.mean() - fall.mean())
    if not lost:
        return ""
    told = " and ".join(
        f"{value:+.2g}{' ' + metric_info(name).unit if metric_info(name).unit else ''} in {metric_info(name).label}"
        for name, value in lost.items()
    )
    return (
        f" The choice itself is optimistic: on validation the front looks {told} better than on test, beyond what all "
        "complete trials do."
    )


def _structures(table: ResultsTable) -> str:
    """Of what the mean Dice is, where it is not of all structures that some method was scored in."""
    split = table.claim_split
    alike = table.mean_structures(split)
    tumour = table.scores(split, ["dice_tumour_patient_nnunet"])
    if "tumour" in alike or tumour.empty or not tumour.notna().any(axis=None):
        return ""
    sentence = (
        f"On the {split} split not every method has a tumour Dice: an image on which none is drawn, where none is, has "
        f"nothing to score. Mean Dice and gaps are of the {' and '.join(alike) or 'structures that each has'} alone"
    )
    false = table.scores(split, ["tumour_false_positives"])
    if "tumour_false_positives" in false and (false["tumour_false_positives"] > 0).any():
        worst = int(false["tumour_false_positives"].idxmax())
        sentence += (
            ". False tumours are counted as such: up to "
            f"{false.at[worst, 'tumour_false_positives']:.3g} a slice ({contestant(table, worst).label})"
        )
    return sentence + "."


def _seeds(table: ResultsTable) -> str:
    chosen = [contestant(table, pick.trial) for pick in picks(table)]
    seeds = [sum(table.seeds_of(trial) for trial in one.trials) for one in chosen]
    if not chosen or CONFIG_SEED not in table.trials or max(seeds) > 1:
        return ""
    return (
        "Each of these configurations was trained with one seed: the intervals cover other patients, not "
        "another training run."
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
