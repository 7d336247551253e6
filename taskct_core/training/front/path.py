"""Which network of a trained front answers for an alpha."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from taskct_core.losses.mixing import Mixing


@dataclass(frozen=True)
class Candidate:
    """A network on the way from one end of a front to the other, and what validation says of it.

    Attributes:
        position: in [0, 1].
        loss_image: mean over the validation slices.
        loss_task: likewise.
        scores: metrics of the validation split, by column.
    """

    position: float
    loss_image: float
    loss_task: float
    scores: dict[str, float]


class FrontPath:
    """The candidates of a front; each alpha is answered by the one whose mixed loss on validation is the least.

    A larger alpha never gets a larger task loss or a smaller image loss: of two candidates, the one that has less of
    the task loss wins from some alpha on.

    Args:
        mixing: of the trial. What it divides by are the losses of the first candidate.
        candidates: in the order of their positions.
    """

    def __init__(self, mixing: Mixing, candidates: Sequence[Candidate]) -> None:
        self._mixing = mixing
        self.candidates = list(candidates)
        first = candidates[0]
        self._scales = max(first.loss_image, 1e-12), max(first.loss_task, 1e-12)

    def at(self, alpha: float) -> Candidate:
        """The network for ``alpha`` in [0, 1]; of equals, the one nearer to position 0."""
        return min(self.candidates, key=lambda candidate: self._objective(candidate, alpha))

    def _objective(self, candidate: Candidate, alpha: float) -> float:
        weights = self._mixing.weights(alpha, self._scales)
        losses = (candidate.loss_image, candidate.loss_task)
        mixed = sum(weight * loss for weight, loss in zip(weights, losses, strict=True) if weight)
        return math.inf if math.isnan(mixed) else mixed

    def state(self) -> list[dict[str, Any]]:
        """Plain values, from which ``restored`` makes the path."""
        return [asdict(candidate) for candidate in self.candidates]

    @classmethod
    def restored(cls, mixing: Mixing, state: Sequence[dict[str, Any]]) -> FrontPath:
        """The path of ``state()``."""
        return cls(mixing, [Candidate(**values) for values in state])
