"""The report's summary: sentences that say only what the intervals support."""

from __future__ import annotations

from analysis.results_table import ALPHA, CLAIM_SPLIT, SEARCH_SPLIT, ResultsTable
from analysis.selection import front_trials
from taskct_core import schema as S


def summarise(table: ResultsTable) -> list[str]:
    """The sentences, most important last known first: what was run, on what it is scored, the front."""
    return [sentence for sentence in (_progress(table), _basis(table), _front(table)) if sentence]


def _progress(table: ResultsTable) -> str:
    counts = table.trials[S.STATUS].value_counts()
    parts = [f"{counts[status]} {status.lower()}" for status in S.STATUSES if status in counts]
    parts = [part.replace("fail", "failed") for part in parts]
    total = len(table.trials)
    if total == 0:
        return "No trial has reported yet; only references are shown."
    return f"{total} {_plural('trial', total)}: {', '.join(parts)}."


def _basis(table: ResultsTable) -> str:
    if table.claim_split == CLAIM_SPLIT:
        return "Scores are of the test split, which neither training nor the search has seen."
    return (
        "No trial has been evaluated on the test split yet: all scores are of the validation split, which "
        "the search optimises, and are therefore optimistic."
    )


def _front(table: ResultsTable) -> str:
    complete = table.complete_scores(SEARCH_SPLIT, table.objectives)
    front = front_trials(table, table.claim_split)
    if not front:
        return "No trial is complete yet, so there is no front." if complete.empty else ""
    names = " and ".join(S.METRICS[name].label for name in table.objectives)
    sentence = (
        f"{len(front)} of {len(complete)} complete {_plural('trial', len(complete))} "
        f"{'is' if len(front) == 1 else 'are'} non-dominated in {names}"
    )
    alphas = table.trials.reindex(columns=[ALPHA]).loc[front, ALPHA].dropna()
    if len(alphas) > 1:
        sentence += f", with alpha from {alphas.min():.3g} to {alphas.max():.3g}"
    return sentence + "."


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"
