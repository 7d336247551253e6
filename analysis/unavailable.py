"""Why the study cannot give a result, and the one place where that is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar, cast

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


class Unavailable(Exception):
    """Raised instead of a result that the study cannot give.

    Args:
        reason: a sentence for its reader, which a report prints in the result's place.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotApplicable(Unavailable):
    """The study has nothing that the figure is about; a report leaves it out without a word."""


@dataclass(frozen=True)
class Attempt(Generic[_Result]):
    """A result, or why there is none."""

    result: _Result | None
    missing: Unavailable | None = None

    @property
    def needed(self) -> _Result:
        """The result, for what cannot go on without it.

        Raises:
            Unavailable: if there is none.
        """
        if self.missing is not None:
            raise self.missing
        return cast(_Result, self.result)


def attempt(
    compute: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> Attempt[_Result]:
    """Compute what may be unavailable, and go on without it."""
    try:
        return Attempt(compute(*args, **kwargs))
    except Unavailable as missing:
        return Attempt(None, missing)
