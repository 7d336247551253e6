"""The dimensions of a search space, as data that YAML and Python write alike.

learning_rate: {kind: log, low: 1.0e-4, high: 1.0e-2}
alpha:         {kind: logit, low: 0.01, high: 0.99, ends: [0, 1]}
batch_size:    {kind: int, low: 2, high: 16, log: true}
image_loss:    {kind: choice, values: [mse, l1]}
architecture:  {kind: choice, values: {unet: {width: {kind: int, low: 8, high: 32}}, dncnn: {}}}
"""

from __future__ import annotations

from typing import Any, Literal, Self

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from pydantic import model_validator

from study.search.space.ranges import FloatDimension, IntDimension
from taskct_core.config import StrictModel
from taskct_core.errors import ConfigError

_NEXT_STEP = "Correct the search space; docs/study.md shows each kind."
Scalar = bool | int | float | str | None


class ChoiceDimension(StrictModel):
    """One of several values; as a mapping, each value brings the dimensions of its own parameters."""

    kind: Literal["choice"]
    values: list[Scalar] | dict[str, dict[str, FloatDimension | IntDimension | ChoiceDimension]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.values:
            raise ValueError("a choice needs at least one value")
        if len(set(map(repr, self.values))) != len(self.values):
            raise ValueError(f"a choice's values must differ, but got {self.values}")
        return self

    @property
    def options(self) -> list[Scalar]:
        return list(self.values)

    def branch(self, value: Scalar) -> dict[str, Dimension]:
        """The dimensions that come with ``value``; empty for a plain choice."""
        return dict(self.values[value]) if isinstance(self.values, dict) and isinstance(value, str) else {}

    def parameter_name(self, name: str) -> str:
        return name

    @property
    def distribution(self) -> BaseDistribution:
        return CategoricalDistribution(self.options)

    def value_of(self, parameter: Scalar) -> Scalar:
        return parameter

    def parameter_of(self, value: Scalar) -> Scalar:
        return value

    def parameter_at(self, position: float) -> Scalar:
        return self.options[min(int(position * len(self.options)), len(self.options) - 1)]

    def contains(self, value: object) -> bool:
        return value in self.options

    def extremes(self) -> list[Scalar]:
        return self.options

    def grid(self, points: int) -> list[Scalar]:  # noqa: ARG002  see the docstring
        """Every option, however many points are asked for."""
        return self.options

    def suggest(self, trial: optuna.Trial, name: str) -> Scalar:
        return trial.suggest_categorical(name, self.options)


Dimension = FloatDimension | IntDimension | ChoiceDimension
KINDS: dict[str, type[Dimension]] = {
    "uniform": FloatDimension,
    "log": FloatDimension,
    "logit": FloatDimension,
    "int": IntDimension,
    "choice": ChoiceDimension,
}


def parse_dimension(name: str, data: object) -> Dimension:
    """Read one dimension from plain data, with those that its choices bring.

    Raises:
        ConfigError: naming the dimension (``architecture.unet.width``) and what is wrong with it.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(kind, str) or kind not in KINDS:
        rule = f"{name} must be a mapping whose kind is one of {', '.join(KINDS)}"
        raise ConfigError(rule, repr(data), _NEXT_STEP)
    if kind == "choice":
        data = data | {"values": _parse_values(name, data.get("values"))}
    model = KINDS[kind]
    try:
        return model.parse(data)
    except ConfigError as error:
        rule = error.rule.removeprefix(f"{model.__name__}: ")
        raise ConfigError(f"{name}: {rule}", repr(data), _NEXT_STEP) from None


def _parse_values(name: str, values: object) -> list[Any] | dict[str, dict[str, Dimension]]:
    if isinstance(values, list):
        return values
    if not isinstance(values, dict) or not all(isinstance(branch or {}, dict) for branch in values.values()):
        rule = f"{name}: values must be a list, or a mapping from each value to its own dimensions"
        raise ConfigError(rule, repr(values), _NEXT_STEP)
    return {
        option: {child: parse_dimension(f"{name}.{option}.{child}", d) for child, d in (branch or {}).items()}
        for option, branch in values.items()
    }
