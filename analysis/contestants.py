"""What methods are compared as: a configuration with all its seeds, or a reference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from analysis.names import format_value, method_name, parameter_name
from analysis.results_table import (
    ALPHA,
    ALPHA_MODES,
    ARCHITECTURE,
    CONFIG_SEED,
    OWN_NETWORK_MODES,
    PLAIN_MODES,
    ResultsTable,
)
from analysis.selection import baseline, front_trials, picks
from taskct_core import schema as S
from taskct_core.modes import MODES

# A study of at most so many configurations, which differ in mode, alpha and at most one thing more, is
# shown whole and by names that say what each one is; of a larger one the chosen trials stand for the rest.
MOST_SHOWN = 16
_SHORT_NAMES = {S.CONFIG_PREFIX + "own_task_network": "own network"}
# Settings that mean something in these modes alone, and are said of configurations in no other.
_TASK_MODES = tuple(name for name, mode in MODES.items() if mode.uses_task_loss)
_MODES_OF = {
    S.CONFIG_PREFIX + name: modes
    for name, modes in (
        ("own_task_network", OWN_NETWORK_MODES),
        ("task_loss", _TASK_MODES),
        ("task_target", _TASK_MODES),
        ("judges", _TASK_MODES),
    )
}


@dataclass(frozen=True)
class Contestant:
    """A configuration that takes part in comparisons: its trials are its seeds."""

    label: str
    trials: tuple[int, ...]

    @property
    def name(self) -> str:
        """The label, with the number of seeds where there are several."""
        return self.label if len(self.trials) == 1 else f"{self.label} ({len(self.trials)} seeds)"


def contestant(table: ResultsTable, trial: int) -> Contestant:
    """The configuration of a trial with all its complete seeds; a reference stands for itself."""
    if trial in table.references.index:
        return Contestant(table.label(trial), (trial,))
    trials = _seeds_of(table, trial)
    return Contestant(_words(table, trial) if shown_whole(table) else table.label(trial), trials)


def shown_contestants(table: ResultsTable) -> dict[Contestant, str]:
    """Configuration -> why it is shown: chosen ones first, then, of a small study, all others."""
    return table.fact(_shown_contestants)


def _shown_contestants(table: ResultsTable) -> dict[Contestant, str]:
    chosen = picks(table)
    base = baseline(table)
    reasons: dict[Contestant, list[str]] = {}
    for pick in [*chosen, *([base] if base else [])]:
        reasons.setdefault(known_as(reasons, contestant(table, pick.trial)), []).append(pick.why)
    if shown_whole(table):
        for trial in _first_trials(table):
            reasons.setdefault(contestant(table, trial), [])
    return {one: "; ".join(dict.fromkeys(why)) for one, why in reasons.items()}


def known_as(known: Iterable[Contestant], one: Contestant) -> Contestant:
    """The one of the known with the same trials, else this one: each seed of a configuration gives it its own label."""
    return next((other for other in known if other.trials == one.trials), one)


def chosen_trials(table: ResultsTable) -> list[int]:
    """The trials whose scores on the split of claims are shown: the front, and what the methods table compares."""
    compared = [trial for one in shown_contestants(table) for trial in one.trials]
    return list(dict.fromkeys([*front_trials(table), *compared]))


def shown_whole(table: ResultsTable) -> bool:
    """Whether the study has few enough configurations, alike enough, to name and show every one."""
    return table.fact(_is_shown_whole)


def _is_shown_whole(table: ResultsTable) -> bool:
    return len(_first_trials(table)) <= MOST_SHOWN and len(_told_apart_by(table)) <= 1


def alpha_of(table: ResultsTable, trial: int) -> float | None:
    """The alpha that a trial's mixed loss had; None where its mode mixes no losses."""
    if ALPHA not in table.trials or str(table.trials.at[trial, S.METHOD]) not in ALPHA_MODES:
        return None
    value = table.trials.at[trial, ALPHA]
    return None if pd.isna(value) else float(value)


def training_words(table: ResultsTable, trial: int) -> str:
    """``task-adaptive, alpha 0 (trial 3)``: an alpha of 0 makes another training of the same mode."""
    alpha = alpha_of(table, trial)
    mixed = "" if alpha is None else f", alpha {alpha:g}"
    return f"{method_name(str(table.trials.at[trial, S.METHOD]))}{mixed} ({table.label(trial)})"


def plain_trainings(table: ResultsTable) -> list[int]:
    """First trials of the shown configurations whose task loss had no weight."""
    shown = [one.trials[0] for one in shown_contestants(table)]
    return [
        trial
        for trial in shown
        if table.trials.at[trial, S.METHOD] in PLAIN_MODES or alpha_of(table, trial) == 0
    ]


def _seeds_of(table: ResultsTable, trial: int) -> tuple[int, ...]:
    return table.fact(_seeds).get(int(table.configurations[trial]), (trial,))


def _seeds(table: ResultsTable) -> dict[int, tuple[int, ...]]:
    """First trial of each configuration -> its complete trials of different seeds."""
    complete = table.trials[table.trials[S.STATUS] == S.COMPLETE]
    configurations = table.configurations[complete.index]
    if CONFIG_SEED in complete:  # the same seed again is the same run again, not a second one
        configurations = configurations[
            complete.groupby([configurations, CONFIG_SEED], dropna=False).cumcount() == 0
        ]
    groups = configurations.groupby(configurations).groups
    return {int(first): tuple(int(trial) for trial in trials) for first, trials in groups.items()}


def _first_trials(table: ResultsTable) -> list[int]:
    complete = table.trials[table.trials[S.STATUS] == S.COMPLETE]
    return [int(trial) for trial in dict.fromkeys(table.configurations[complete.index])]


def _told_apart_by(table: ResultsTable) -> list[str]:
    """The searched parameters beside mode and alpha; one that each architecture has one value of says nothing more than
    the architecture."""
    columns = [column for column in table.searched if column not in (S.METHOD, ALPHA)]
    if ARCHITECTURE not in columns:
        return columns
    of_architecture = table.trials[columns].astype(str).groupby(ARCHITECTURE)
    return [name for name in columns if name == ARCHITECTURE or of_architecture[name].nunique().max() > 1]


def _words(table: ResultsTable, trial: int) -> str:
    row = table.trials.loc[trial]
    mode = str(row[S.METHOD])
    words = [method_name(mode)]
    alpha = alpha_of(table, trial)
    words += [] if alpha is None else [f"alpha {alpha:.3g}"]
    for column in _told_apart_by(table):
        if not pd.isna(row[column]) and mode in _MODES_OF.get(column, MODES):
            words.append(f"{_SHORT_NAMES.get(column) or parameter_name(column)} {format_value(row[column])}")
    return ", ".join(words)
