"""Several studies beside each other: what may share an axis, what must not, and what is said then.

Scores may be compared only where data and metric policy are the same (``schema.COMPARABILITY``). Studies
of other data or doses can be shown side by side, in facets of their own, if that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.loading import load
from analysis.method_scores import methods_table
from analysis.results_table import ResultsTable
from taskct_core import schema as S
from taskct_core.errors import ConfigError, StudyError

_SHOWN_HASH = 12  # characters


@dataclass(frozen=True)
class StudyComparison:
    """Studies in the order given.

    Attributes:
        tables: the studies.
        differences: what differs between them: name -> value of each study.
        comparable: True where they share data and metric policy, so that scores share axes.
    """

    tables: list[ResultsTable]
    differences: dict[str, list[str]]
    comparable: bool

    @property
    def names(self) -> list[str]:
        """The studies' names, made unique."""
        names = [table.name for table in self.tables]
        return [name if names.count(name) == 1 else f"{name} ({k + 1})" for k, name in enumerate(names)]

    @property
    def doses(self) -> list[float | None]:
        """Photons per ray of each study, None where it is not recorded as one number."""
        return [table.study.photons_per_ray for table in self.tables]

    def methods(self) -> pd.DataFrame:
        """``methods_table`` of every study below each other, with its name and dose in front."""
        frames = [
            methods_table(table).reset_index().assign(study=name, photons_per_ray=photons)
            for table, name, photons in zip(self.tables, self.names, self.doses, strict=True)
        ]
        frame = pd.concat(frames, ignore_index=True)
        first = ["study", S.PHOTONS_PER_RAY]
        return frame[[*first, *(c for c in frame if c not in first)]]


def compare(folders: Sequence[str | Path], side_by_side: bool = False) -> StudyComparison:
    """Read several studies for one comparison.

    Args:
        folders: two or more study folders.
        side_by_side: accept studies of other data, dose or metric policy, to be shown in facets.

    Raises:
        ConfigError: for fewer than two folders.
        StudyError: if the studies must not be compared, saying how they differ.
        DataError: if a folder cannot be read.
    """
    if len(folders) < 2:
        raise ConfigError(
            "a comparison needs at least two study folders", f"{len(folders)}", "Name another study's folder."
        )
    tables = [load(folder) for folder in folders]
    facts = {
        name: [_fact(table, name) for table in tables]
        for name in (*S.COMPARABILITY, S.PHOTONS_PER_RAY, S.TASK_NETWORK_HASH)
    }
    differences = {name: values for name, values in facts.items() if len(set(values)) > 1}
    forbidden = [name for name in (*S.COMPARABILITY, S.PHOTONS_PER_RAY) if name in differences]
    if forbidden and not side_by_side:
        told = "; ".join(
            f"{name.replace('_', ' ')}: {' against '.join(map(shown_fact, differences[name]))}"
            for name in forbidden
        )
        raise StudyError(
            "scores may be compared only between studies of the same data, dose and metric policy",
            told,
            "Compare them side by side, each on axes of its own: --side-by-side, in Python side_by_side=True.",
        )
    return StudyComparison(tables, differences, comparable=not forbidden)


def shown_fact(value: str) -> str:
    """A difference as it is printed: of a hash, as much as tells two apart."""
    is_hash = len(value) > 2 * _SHOWN_HASH and all(character in "0123456789abcdef" for character in value)
    return f"{value[:_SHOWN_HASH]}…" if is_hash else value


def _fact(table: ResultsTable, name: str) -> str:
    if name == S.PHOTONS_PER_RAY:
        photons = table.study.photons_per_ray
        return "not recorded" if photons is None else f"{photons:g}"
    values = table.rows[name].dropna().astype(str).unique() if name in table.rows else []
    return ", ".join(sorted(values)) or "not recorded"
