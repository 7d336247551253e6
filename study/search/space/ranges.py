"""Ranges of a search space: real numbers on a scale, and whole numbers.

A *parameter* is what Optuna stores; a *value* is what the trial's configuration receives. They differ only
for logit scales and for ranges with ``ends``: Optuna has no such distributions, so there the parameter is
the position in [0, 1] along the scale, under the name ``alpha.position``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Self

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from pydantic import model_validator

from taskct_core.config import Count, StrictModel

END_SHARE = 0.05  # of the positions, that fall on each of a range's ends
POSITION = FloatDistribution(0.0, 1.0)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _same(x: float) -> float:
    return x


# kind -> (value to scale, scale to value)
SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "uniform": (_same, _same),
    "log": (math.log, math.exp),
    "logit": (_logit, _expit),
}


class FloatDimension(StrictModel):
    """A real number, searched evenly along a linear, logarithmic or logit scale from low to high.

    ``ends`` are exact values beyond the scale (0 for a log scale, 0 and 1 for a logit scale) that a search
    can reach too: each takes :data:`END_SHARE` of the positions, at its side of the scale.
    """

    kind: Literal["uniform", "log", "logit"]
    low: float
    high: float
    ends: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low < high must hold, but got low = {self.low} and high = {self.high}")
        if self.kind == "log" and self.low <= 0:
            raise ValueError(f"a log scale needs low > 0, but got {self.low}; reach 0 with ends: [0]")
        if self.kind == "logit" and not (self.low > 0 and self.high < 1):
            raise ValueError(
                f"a logit scale needs 0 < low and high < 1, but got {self.low} and {self.high}; "
                "reach 0 and 1 with ends: [0, 1]"
            )
        below, above = self._ends_below(), self._ends_above()
        if len(below) + len(above) != len(self.ends) or len(below) > 1 or len(above) > 1:
            raise ValueError(
                f"ends must hold at most one value <= low and one >= high, but got {list(self.ends)}"
            )
        return self

    def _ends_below(self) -> list[float]:
        return [end for end in self.ends if end <= self.low]

    def _ends_above(self) -> list[float]:
        return [end for end in self.ends if end >= self.high]

    @property
    def by_position(self) -> bool:
        """Whether Optuna stores the position along the scale instead of the value itself."""
        return self.kind == "logit" or bool(self.ends)

    def parameter_name(self, name: str) -> str:
        return f"{name}.position" if self.by_position else name

    @property
    def distribution(self) -> BaseDistribution:
        return (
            POSITION if self.by_position else FloatDistribution(self.low, self.high, log=self.kind == "log")
        )

    def value_of(self, parameter: float) -> float:
        return self.at(parameter) if self.by_position else parameter

    def parameter_of(self, value: float) -> float:
        return self._position_of(float(value)) if self.by_position else float(value)

    def parameter_at(self, position: float) -> float:
        return position if self.by_position else self.at(position)

    def at(self, position: float) -> float:
        """The value at a position in [0, 1]; strictly monotonic between the ends."""
        first, last = self._margins()
        if first and position < first:
            return self._ends_below()[0]
        if last and position > 1 - last:
            return self._ends_above()[0]
        to_scale, from_scale = SCALES[self.kind]
        share = (position - first) / (1 - first - last)
        value = from_scale(to_scale(self.low) + share * (to_scale(self.high) - to_scale(self.low)))
        return min(max(value, self.low), self.high)

    def contains(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high or value in self.ends

    def extremes(self) -> list[float]:
        return [self.low, self.high, *self.ends]

    def grid(self, points: int) -> list[float]:
        """Parameters of ``points`` values spread evenly over the scale, and of the ends."""
        first, last = self._margins()
        inner = (
            [first + (1 - first - last) * i / (points - 1) for i in range(points)] if points > 1 else [0.5]
        )
        outer = ([0.0] if first else []) + ([1.0] if last else [])
        return [self.parameter_at(position) for position in sorted([*inner, *outer])]

    def _margins(self) -> tuple[float, float]:
        return END_SHARE * len(self._ends_below()), END_SHARE * len(self._ends_above())

    def _position_of(self, value: float) -> float:
        if value in self._ends_below():
            return 0.0
        if value in self._ends_above():
            return 1.0
        first, last = self._margins()
        to_scale = SCALES[self.kind][0]
        share = (to_scale(value) - to_scale(self.low)) / (to_scale(self.high) - to_scale(self.low))
        return first + share * (1 - first - last)

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        if self.by_position:
            return trial.suggest_float(name, 0.0, 1.0)
        return trial.suggest_float(name, self.low, self.high, log=self.kind == "log")


class IntDimension(StrictModel):
    """A whole number from low to high, both included."""

    kind: Literal["int"]
    low: int
    high: int
    step: Count = 1
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"low <= high must hold, but got low = {self.low} and high = {self.high}")
        if self.log and (self.low < 1 or self.step != 1):
            raise ValueError("a log scale of whole numbers needs low >= 1 and step 1")
        if (self.high - self.low) % self.step:
            raise ValueError(f"step must divide high - low, but got {self.step} and {self.high - self.low}")
        return self

    def parameter_name(self, name: str) -> str:
        return name

    @property
    def distribution(self) -> BaseDistribution:
        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def value_of(self, parameter: int) -> int:
        return parameter

    def parameter_of(self, value: int) -> int:
        return value

    def parameter_at(self, position: float) -> int:
        if self.log:
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(max(round(math.exp(low + position * (high - low))), self.low), self.high)
        steps = (self.high - self.low) // self.step
        return self.low + self.step * min(int(position * (steps + 1)), steps)

    def contains(self, value: object) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def extremes(self) -> list[int]:
        return [self.low, self.high]

    def grid(self, points: int) -> list[int]:
        """At most ``points`` whole numbers spread over the range."""
        middles = [(i + 0.5) / points for i in range(points)]
        return sorted({self.parameter_at(position) for position in middles})

    def suggest(self, trial: optuna.Trial, name: str) -> int:
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log)
