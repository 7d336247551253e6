"""The scale that an axis of a parameter is drawn on: the one that it was searched on.

Alpha is searched on a logit scale: 0.9, 0.99 and 0.999 are as far apart as 0.1, 0.01 and 0.001, and lie on top of each
other on a linear axis. Learning rates are searched on a logarithmic one. Positions are numbers to be drawn linearly;
ticks say which values they stand for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.results_table import ALPHA, ResultsTable
from taskct_core import schema as S

Kind = Literal["linear", "log", "logit"]
Numbers = NDArray[np.float64]

_WIDE = 30.0  # positive values that span more are drawn on a logarithmic axis, whatever they were searched on
_NEAR_ENDS = (0.05, 0.95)  # an alpha beyond these, though neither 0 nor 1, asks for a logit axis
_LOGIT_TICKS = (1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999)
_GAP = 0.12  # of the span: how far beyond the inner values 0 and 1 lie, which a logit maps to infinity


@dataclass(frozen=True)
class AxisScale:
    """A scale over a range of values.

    Attributes:
        kind: of the scale.
        low, high: the range; of a logit scale, of the values between 0 and 1 alone.
        ends: of a logit scale, which of 0 and 1 occur.
    """

    kind: Kind
    low: float
    high: float
    ends: tuple[float, ...] = ()

    def positions(self, values: Iterable[float] | pd.Series) -> Numbers:
        """Where values lie on the axis; NaN where they have no place."""
        array = np.asarray(list(values), dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "log":
                return np.asarray(np.log10(np.where(array > 0, array, np.nan)))
            if self.kind == "linear":
                return array
            first, last = self._logit_range()
            inner = np.log(array / (1 - array))
            return np.asarray(np.where(array <= 0, first, np.where(array >= 1, last, inner)))

    def ticks(self) -> list[tuple[float, str]]:
        """Positions with the values that are written there."""
        values = self._tick_values()
        return list(
            zip(self.positions(values).tolist(), (f"{value + 0.0:.4g}" for value in values), strict=True)
        )

    def _logit_range(self) -> tuple[float, float]:
        low, high = (float(np.log(p / (1 - p))) for p in (self.low, self.high))
        gap = max(_GAP * (high - low), 0.7)
        return low - gap, high + gap

    def _tick_values(self) -> list[float]:
        if self.kind == "logit":
            inner = [v for v in _LOGIT_TICKS if self.low <= v <= self.high]
            return [
                *(v for v in self.ends if v == 0),
                *(inner or [self.low]),
                *(v for v in self.ends if v == 1),
            ]
        if self.kind == "log":
            first, last = int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high)))
            factors = (1, 2, 5) if last - first <= 2 else (1,)
            values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
            return [v for v in values if self.low * 0.999 <= v <= self.high * 1.001] or [self.low, self.high]
        return _round_numbers(self.low, self.high)


def _round_numbers(low: float, high: float) -> list[float]:
    """Some four to eight multiples of 1, 2 or 5 times a power of ten between two numbers."""
    size = 10.0 ** np.floor(np.log10((high - low) / 4))
    step = next(factor * size for factor in (1, 2, 5, 10) if (high - low) / (factor * size) <= 7)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(k * step) + 0.0 for k in np.arange(first, last + 1)]


def scale_of(table: ResultsTable, column: str) -> AxisScale | None:
    """The scale of a numeric column of the trials; None where it holds fewer than two different numbers."""
    if column not in table.trials:
        return None
    values = pd.to_numeric(table.trials[column], errors="coerce").dropna().to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    if len(np.unique(values)) < 2:
        return None
    kind = _searched_kind(table.study.config, column.removeprefix(S.CONFIG_PREFIX))
    return scale_over(values, kind, is_share=column == ALPHA)


def scale_over(values: Numbers, kind: Kind | None = None, is_share: bool = False) -> AxisScale:
    """A scale over values; without a kind the one that keeps them apart.

    Args:
        values: finite numbers, two of them different.
        kind: of the scale, where it is known.
        is_share: whether they lie in [0, 1] and may come close to either end.
    """
    inside = values[(values > 0) & (values < 1)]
    fits_logit = bool(len(inside)) and values.min() >= 0 and values.max() <= 1
    is_close = fits_logit and bool(inside.min() < _NEAR_ENDS[0] or inside.max() > _NEAR_ENDS[1])
    low, high = float(values.min()), float(values.max())
    if fits_logit and (kind == "logit" or (kind is None and is_share and is_close)):
        ends = tuple(end for end in (0.0, 1.0) if (values == end).any())
        return AxisScale("logit", float(inside.min()), float(inside.max()), ends)
    if low > 0 and (kind == "log" or (kind is None and high / low > _WIDE)):
        return AxisScale("log", low, high)
    return AxisScale("linear", low, high)


def _searched_kind(config: dict[str, Any], name: str) -> Kind | None:
    """The scale that a study's space names for a parameter, be it of a branch; None where it tells nothing."""
    study = config.get("study")
    space = study.get("space") if isinstance(study, dict) else None
    found = _dimension(space, name)
    if found is None:
        return None
    kind = found.get("kind")
    if kind in ("log", "logit"):
        return "log" if kind == "log" else "logit"
    if kind == "int" and found.get("log") is True:
        return "log"
    return "linear" if kind in ("uniform", "int") else None


def _dimension(space: object, name: str) -> dict[str, Any] | None:
    if not isinstance(space, dict):
        return None
    direct = space.get(name)
    if isinstance(direct, dict) and isinstance(direct.get("kind"), str):
        return direct
    inner = (_dimension(value, name) for value in space.values())
    return next((found for found in inner if found is not None), None)
