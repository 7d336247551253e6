"""What the task loss changes in each architecture of a study: does it help any reconstruction network?"""

from __future__ import annotations

from analysis.contestants import Contestant, contestant, training_words
from analysis.paired_differences import Comparisons, compare_methods
from analysis.results_table import ALPHA_MODES, ARCHITECTURE, OWN_NETWORK_MODES, ResultsTable
from analysis.selection import baseline, has_task_loss, recommended
from analysis.unavailable import NotApplicable, Unavailable
from taskct_core import schema as S


def compare_within_architectures(table: ResultsTable) -> Comparisons:
    """In each architecture the recommended training with the task loss against the best one without.

    Both are chosen on validation, and their architecture leads the first one's name. Networks judged by one that they
    train themselves do not take part.

    Raises:
        NotApplicable: if the study has one architecture.
        Unavailable: if no architecture has a complete trial of both kinds, or their slices are not there.
    """
    architectures = sorted({table.architecture(int(trial)) for trial in table.trials.index})
    if len(architectures) < 2:
        raise NotApplicable("There is one architecture only.")
    pairs = [pair for name in architectures if (pair := _pair(table, name)) is not None]
    if not pairs:
        raise Unavailable("No architecture has a complete trial with the task loss and one without.")
    return compare_methods(table, pairs)


def _pair(table: ResultsTable, architecture: str) -> tuple[Contestant, Contestant] | None:
    trials = table.trials[table.trials[ARCHITECTURE] == architecture]
    judged_by_frozen = trials[S.METHOD].isin(set(ALPHA_MODES) - set(OWN_NETWORK_MODES))
    adaptive = trials.index[judged_by_frozen & has_task_loss(table)[trials.index]]
    best = recommended(table.of_trials(adaptive))
    without = baseline(table.of_trials(trials.index))
    if best is None or without is None:
        return None
    named = f"{architecture}, {training_words(table, best.trial)}"
    return (
        Contestant(named, contestant(table, best.trial).trials),
        Contestant(training_words(table, without.trial), contestant(table, without.trial).trials),
    )
