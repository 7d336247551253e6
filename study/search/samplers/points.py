"""Samplers that go through a fixed sequence of points: a grid, or a quasi-random sequence.

Optuna's own take every parameter in every trial; these follow conditional dimensions, and take a trial's
point by its place among the proposed trials, so that an interruption changes nothing.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from scipy.stats import qmc
from typing_extensions import override

from study.search.space import SearchSpace
from study.search.space.dimensions import ChoiceDimension, Dimension, Scalar
from study.search.storage.records import FIXED


class Points(Protocol):
    """A sequence of points: Optuna's parameters by name, for every place in it."""

    def __getitem__(self, place: int) -> dict[str, Any]: ...


class GridPoints:
    """Every combination of the space; begins again after the last."""

    def __init__(self, space: SearchSpace, points: int) -> None:
        self._points = list(space.grid(points))

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return self._points[place % len(self._points)]


class QuasiRandomPoints:
    """A scrambled Sobol sequence with one coordinate for each dimension, conditional ones included."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._dimensions = dict(_all_dimensions(space.dimensions))
        self._sequence = qmc.Sobol(len(self._dimensions), scramble=True, seed=seed)

    def __getitem__(self, place: int) -> dict[str, Any]:
        coordinates = self._coordinates(place)
        return {
            name: dimension.parameter_at(float(position))
            for (name, dimension), position in zip(self._dimensions.items(), coordinates, strict=True)
        }

    def _coordinates(self, place: int) -> NDArray[np.float64]:
        """Of one point; the sequence is gone through once, and begun again for a point that is behind."""
        if place < self._sequence.num_generated:
            self._sequence.reset()
        ahead = place - self._sequence.num_generated
        if ahead:  # SciPy fails at no step
            self._sequence.fast_forward(ahead)
        coordinates: NDArray[np.float64] = self._sequence.random(1)[0]
        return coordinates


class PointSampler(BaseSampler):
    """Gives a trial the parameters of the point at its place."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._places: list[int] = []  # of every known trial, by number: enqueued ones take none
        self._next_place = 0

    @override
    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    @override
    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    @override
    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Scalar:
        return self._points[self._place(study, trial)][param_name]

    def _place(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Which point is the trial's."""
        if trial.number >= len(self._places):
            known = len(self._places)
            place = self._next_place
            trials = study.get_trials(deepcopy=False)
            first = next(
                place for place, other in enumerate(trials) if other.number >= 0
            )  # another study's go before
            for new in trials[first + known :]:
                self._places.append(place)
                place += FIXED not in new.system_attrs
            self._next_place = place
        return self._places[trial.number]


def _all_dimensions(dimensions: dict[str, Dimension], prefix: str = "") -> list[tuple[str, Dimension]]:
    """Every dimension that any draw can reach, by its parameter's name."""
    found: list[tuple[str, Dimension]] = []
    for name, dimension in dimensions.items():
        found.append((dimension.parameter_name(prefix + name), dimension))
        if isinstance(dimension, ChoiceDimension):
            for option in dimension.options:
                found.extend(_all_dimensions(dimension.branch(option), f"{option}."))
    return found
