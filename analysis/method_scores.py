"""The table of methods: references and configurations over their seeds, with intervals and the gap closed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from analysis.contestants import (
    MOST_SHOWN,
    Contestant,
    alpha_of,
    contestant,
    known_as,
    shown_contestants,
    shown_whole,
)
from analysis.judges import network_scores, shared_dice
from analysis.method_draws import basis, best_traditional, gap_shares, method_draws
from analysis.metric_info import in_words_of, metric_range
from analysis.names import method_name
from analysis.results_table import ResultsTable
from analysis.sample_scores import AlignedSamples, align, can_resample
from analysis.selection import front_trials
from analysis.tables import column_title, shown_metrics
from analysis.unavailable import Unavailable, attempt
from taskct_core import schema as S
from taskct_core.modes import MODES

GAP_CLOSED = "gap_closed"


def methods_table(table: ResultsTable) -> pd.DataFrame:
    """One row a reference or configuration (mean over its seeds), indexed by its first trial.

    Columns: name, method, seeds, trials, why (it was chosen), configuration; for every shown metric the
    score and ``<metric>_low``, ``<metric>_high`` (NaN without an interval); the same for the Dice under the
    trial's own task network (``_own``) and under a second one (``_audit``) where somebody has it (the mean
    Dice, or that of the liver: see ``judges.shared_dice``); and
    ``gap_closed``, the share of the way in mean Dice from the best traditional reference to full dose.
    """
    shown = shown_rows(table)
    metrics = shown_metrics(table)
    frame = _described(table, shown)
    methods = list(shown)
    scores = _means(table.scores(table.claim_split, metrics), methods)
    for suffix in S.NETWORK_SUFFIXES[1:]:
        metric = shared_dice(table, table.claim_split, suffix)
        other = _means(network_scores(table, table.claim_split, suffix)[[metric]], methods)[metric]
        if other.notna().any():
            scores[metric + suffix] = other
    samples = attempt(_samples, table, methods).result
    for column in scores:
        frame[column] = scores[column]
        frame[f"{column}_low"], frame[f"{column}_high"] = _ends(samples, methods, column)
    return _with_gap(frame, table, samples, methods)


def printed_methods(table: ResultsTable, frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """``methods_table`` as texts under titles, each score with its interval, fit to be printed.

    Args:
        table: the study.
        frame: its ``methods_table``, if that is at hand.
    """
    frame = methods_table(table) if frame is None else frame
    named = shown_whole(table)
    scored = scored_columns(frame, shown_metrics(table))
    texts: dict[str, list[str]] = {
        "method": [
            name if named or trial < 0 else f"{name}, {_trained_as(table, trial)}"
            for trial, name in frame["name"].items()
        ],
        "seeds": [
            str(n) if trials else "–" for n, trials in zip(frame["seeds"], frame["trials"], strict=True)
        ],
        "chosen for": [why or "–" for why in frame["why"]],
    }
    for column in (*scored[:1], GAP_CLOSED, *scored[1:]):  # the gap beside the Dice that it is of
        is_gap = column == GAP_CLOSED
        title = f"gap closed, {gap_words(table)} to full dose" if is_gap else column_title(column)
        values = frame[[column, f"{column}_low", f"{column}_high"]].itertuples(index=False)
        texts[in_words_of(table.only_structure, title)] = [
            (share_with_interval if is_gap else with_interval)(*row) for row in values
        ]
    return pd.DataFrame(texts)


def scores_with_intervals(table: ResultsTable, metrics: Sequence[str]) -> pd.DataFrame:
    """The methods of the table in other metrics: rows of metric, name, score, low, high, where there is a score.

    Low and high are NaN without an interval.
    """
    methods = list(shown_rows(table))
    scores = _means(table.scores(table.claim_split, metrics), methods)
    samples = attempt(_samples, table, methods).result
    blocks = []
    for metric in scores:
        low, high = _ends(samples, methods, metric)
        block = pd.DataFrame({"score": scores[metric], "low": low, "high": high}).reset_index(drop=True)
        block = block.assign(metric=metric, name=[method.label for method in methods])
        blocks.append(block[block["score"].notna()])
    columns = ["metric", "name", "score", "low", "high"]
    return pd.concat(blocks, ignore_index=True)[columns] if blocks else pd.DataFrame(columns=columns)


def shown_rows(table: ResultsTable) -> dict[Contestant, str]:
    """The rows of the methods table -> why they are in it: full dose, what was trained, other references."""
    references = {contestant(table, int(number)): "reference" for number in table.references.index}
    bound = {one: why for one, why in references.items() if one.trials[0] == table.reference("full_dose")}
    trained = dict(shown_contestants(table))
    for trial in front_trials(table)[:MOST_SHOWN]:
        trained.setdefault(known_as(trained, contestant(table, trial)), "on the front")
    if shown_whole(table):
        modes = {mode: place for place, mode in enumerate(MODES)}

        def by_mode(one: Contestant) -> tuple[int, float]:
            mode = str(table.trials.at[one.trials[0], S.METHOD])
            return modes.get(mode, len(modes)), alpha_of(table, one.trials[0]) or 0.0

        trained = {one: trained[one] for one in sorted(trained, key=by_mode)}
    return bound | trained | {one: why for one, why in references.items() if one not in bound}


def scored_columns(frame: pd.DataFrame, metrics: list[str]) -> list[str]:
    """The columns of a methods table that hold scores: mean Dice under every network first, then the rest."""
    others = [name for name in frame if name.endswith(S.NETWORK_SUFFIXES[1:])]
    dice = [name for name in (S.PRIMARY_DICE, *others) if name in frame]
    return [*dice, *(name for name in metrics if name in frame and name not in dice)]


def interval_basis(table: ResultsTable) -> str:
    """A sentence: what the intervals of the methods table cover, or why there are none."""
    methods = list(shown_rows(table))
    found = attempt(_samples, table, methods)
    if found.missing is not None:
        return found.missing.reason
    return f"Ranges are 95 % intervals over {basis(found.needed, methods)}."


def gap_words(table: ResultsTable) -> str:
    """What ``gap_closed`` is measured from, in words."""
    lower = best_traditional(table)
    return "best traditional" if lower is None else contestant(table, lower).label


def with_interval(score: float, low: float, high: float) -> str:
    """``0.812 (0.790 to 0.830)``; a dash where there is no score."""
    if math.isnan(score):
        return "–"
    text = "∞" if math.isinf(score) else _digits(score)
    shown = math.isfinite(low) and math.isfinite(high) and low < high
    return f"{text} ({_digits(low)} to {_digits(high)})" if shown else text


def _digits(value: float) -> str:
    """Hundredths of a dB, thousandths of a Dice."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def share_with_interval(score: float, low: float, high: float) -> str:
    """The same for a share: ``82 % (75 to 90)``."""
    if math.isnan(score):
        return "–"
    whole = [round(100 * value) + 0 if math.isfinite(value) else None for value in (score, low, high)]
    text = f"{whole[0]} %"
    return text if None in whole else f"{text} ({whole[1]} to {whole[2]})"


def _described(table: ResultsTable, shown: dict[Contestant, str]) -> pd.DataFrame:
    first = [method.trials[0] for method in shown]
    return pd.DataFrame(
        {
            "name": [method.label for method in shown],
            "method": [_method(table, trial) for trial in first],
            "seeds": [sum(table.seeds_of(trial) for trial in method.trials) for method in shown],
            "trials": [
                ", ".join(map(str, method.trials)) if method.trials[0] >= 0 else "" for method in shown
            ],
            "why": list(shown.values()),
            "configuration": [table.descriptions.get(trial, "") for trial in first],
        },
        index=pd.Index(first, name="trial", dtype=int),
    )


def _means(scores: pd.DataFrame, methods: list[Contestant]) -> pd.DataFrame:
    """Mean over the seeds that have a score, one row a method, indexed by its first trial."""
    means = [scores.reindex(list(method.trials)).mean() for method in methods]
    index = pd.Index([method.trials[0] for method in methods], dtype=int)
    return pd.DataFrame(means, index=index, columns=scores.columns, dtype=float)


def _samples(table: ResultsTable, methods: list[Contestant]) -> AlignedSamples:
    if not any(trial >= 0 for method in methods for trial in method.trials):
        raise Unavailable("No trial is complete yet.")
    return align(table, [trial for method in methods for trial in method.trials], table.claim_split)


def _ends(
    samples: AlignedSamples | None, methods: list[Contestant], metric: str
) -> tuple[pd.Series, pd.Series]:
    empty = pd.Series(float("nan"), index=[method.trials[0] for method in methods])
    if samples is None or not can_resample(samples, metric):
        return empty, empty
    scored = [method for method in methods if set(method.trials) <= set(samples.trials)]
    _, *found = method_draws(samples, scored, metric).interval()
    first = [method.trials[0] for method in scored]
    # Few seeds give wide intervals, but none may promise a score that no method can have.
    ends = np.clip(found, *metric_range(metric))
    low, high = (pd.Series(end, index=first) for end in ends)
    return low.reindex(empty.index), high.reindex(empty.index)


def _with_gap(
    frame: pd.DataFrame,
    table: ResultsTable,
    samples: AlignedSamples | None,
    methods: list[Contestant],
) -> pd.DataFrame:
    """Add the gap closed and, for what is no bound itself, its interval."""
    ends = [GAP_CLOSED, f"{GAP_CLOSED}_low", f"{GAP_CLOSED}_high"]
    frame = frame.assign(**dict.fromkeys(ends, float("nan")))
    lower, upper = best_traditional(table), table.reference("full_dose")
    if S.PRIMARY_DICE not in frame or lower is None or upper not in frame.index:
        return frame
    order = frame.index.tolist()
    place = order.index(lower), order.index(upper)
    frame[GAP_CLOSED] = gap_shares(frame[S.PRIMARY_DICE].to_numpy()[None], *place)[0]
    if samples is None or not can_resample(samples, S.PRIMARY_DICE):
        return frame
    scored = [method for method in methods if set(method.trials) <= set(samples.trials)]
    first = [method.trials[0] for method in scored]
    if lower not in first or upper not in first:
        return frame
    tell = partial(gap_shares, lower=first.index(lower), upper=first.index(upper))
    _, low, high = method_draws(samples, scored, S.PRIMARY_DICE).interval(tell)
    others = ~np.isin(first, [lower, upper])
    for column, values in zip(ends[1:], (low, high), strict=True):
        frame[column] = pd.Series(np.where(others, values, np.nan), index=first).reindex(frame.index)
    return frame


def _trained_as(table: ResultsTable, trial: int) -> str:
    """What a trial's number does not say: its mode and alpha."""
    alpha = alpha_of(table, trial)
    return _method(table, trial) + ("" if alpha is None else f", alpha {alpha:.3g}")


def _method(table: ResultsTable, trial: int) -> str:
    rows = table.references if trial in table.references.index else table.trials
    return method_name(str(rows.at[trial, S.METHOD]))
