"""Which network of a trained front answers for an alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from taskct_core.dominance import non_dominated

_LEAST_LOSS = 1e-12  # below which losses are alike


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
    """The candidates of a front, and which of them answers for an alpha: a preference between the two losses.

    Of the candidates that no other beats in both losses, alpha 0 gets the one of the least image loss, alpha 1 the one of
    the least task loss, and an alpha between them the one whose larger of ``(1 - alpha) image`` and ``alpha task`` is the
    least, both measured from 0 at the best candidate to 1 at the worst, in logarithms (the weighted Chebyshev
    scalarisation: Miettinen, Nonlinear Multiobjective Optimization, 1999, section 3.4). Every candidate on the front
    answers for some alpha, where a weighted sum jumps over those where the front bends inwards. A larger alpha never
    gets a larger task loss or a smaller image loss.

    Args:
        candidates: in the order of their positions. One whose losses are not finite answers for no alpha; a loss that no
            candidate has, such as the task loss of slices without labels, is left out of the choice.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = list(candidates)
        logarithms, has_all = _logarithms(np.array([(c.loss_image, c.loss_task) for c in self.candidates]))
        places = np.flatnonzero(has_all)[non_dominated(logarithms[has_all])]
        self._on_front = [self.candidates[place] for place in places]
        self._costs = _spread(logarithms[places])

    def at(self, alpha: float) -> Candidate:
        """The network for ``alpha`` in [0, 1]; of equals, the one nearer to position 0."""
        weighted = self._costs * (1 - alpha, alpha)
        return self._on_front[int(np.argmin(weighted.max(axis=1)))]

    def state(self) -> list[dict[str, Any]]:
        """Plain values, from which ``restored`` makes the path."""
        return [asdict(candidate) for candidate in self.candidates]

    @classmethod
    def restored(cls, state: Sequence[dict[str, Any]]) -> FrontPath:
        """The path of ``state()``."""
        return cls([Candidate(**values) for values in state])


def _logarithms(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``(candidates, 2)``, and which candidates have both; all are alike where none has."""
    logarithms: np.ndarray = np.log(np.maximum(losses, _LEAST_LOSS))
    logarithms[:, ~np.isfinite(logarithms).any(axis=0)] = 0.0
    has_all: np.ndarray = np.isfinite(logarithms).all(axis=1)
    return (logarithms, has_all) if has_all.any() else (np.zeros_like(losses), ~has_all)


def _spread(costs: np.ndarray) -> np.ndarray:
    """Each column from 0 at its least to 1 at its largest; all 0 where they are equal."""
    least, width = costs.min(axis=0), np.ptp(costs, axis=0)
    spread: np.ndarray = (costs - least) / np.where(width > 0, width, 1.0)
    return spread
