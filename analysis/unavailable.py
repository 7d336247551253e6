"""What an analysis returns instead of a result that the study cannot give: the reason, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unavailable:
    """Why there is no result, in a sentence for its reader."""

    reason: str


@dataclass(frozen=True)
class NotApplicable(Unavailable):
    """The study has nothing that the figure is about; a report leaves it out without a word."""
