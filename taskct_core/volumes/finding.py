"""What a look at a volume finds: the rule, the numbers found, and what to do about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from taskct_core.errors import DataError

Severity = Literal["refused", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, doubtful or worth knowing about a volume.

    Attributes:
        severity: ``refused`` means that numbers made from the volume would be wrong; a ``warning`` wants a
            person's eye; a ``note`` says what was done.
        rule: what holds for a right volume, with the expected numbers.
        found: what was found in this one, with its numbers.
        next_step: what the user can do.
    """

    severity: Severity
    rule: str
    found: str
    next_step: str

    def error(self, patient: str) -> DataError:
        """The finding as an error about a patient."""
        return DataError(self.rule, f"{patient}: {self.found}", self.next_step)

    def text(self, patient: str) -> str:
        """The finding as one line about a patient."""
        return f"{patient}: {self.found}. Expected: {self.rule}. {self.next_step}"
