"""A search space: dimensions by the name of the :class:`TrialConfig` field that they vary.

Reads ``study.space`` of an experiment: a mapping written in YAML, or ``package.module:NAME`` of one
written in Python. Nested dimensions of a choice (``architecture``) are searched only where that value is
drawn; Optuna knows them as ``unet.width``, the trial receives ``architecture_parameters: {width: ...}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import optuna

from study.search.space.dimensions import ChoiceDimension, Dimension, Scalar, parse_dimension
from taskct_core.errors import ConfigError
from taskct_core.registry import load
from taskct_core.training.config import TrialConfig

Pick = Callable[[str, Dimension], Any]  # (Optuna parameter name, its dimension) -> parameter


class SearchSpace:
    """The dimensions of a search, and the way from Optuna's parameters to a trial's configuration."""

    def __init__(self, dimensions: dict[str, Dimension]) -> None:
        self.dimensions = dimensions

    @classmethod
    def parse(cls, space: dict[str, Any] | str) -> SearchSpace:
        """Read a space from plain data, or from ``package.module:NAME``.

        Raises:
            ConfigError: if a key is no field of TrialConfig, or a range or choice is not valid for it.
        """
        data = load(space, {}, "search space") if isinstance(space, str) else space
        if not isinstance(data, dict) or not data:
            raise ConfigError("a search space must be a mapping of dimensions", repr(data), "Add one: alpha.")
        dimensions = {field: parse_dimension(field, dimension) for field, dimension in data.items()}
        for field, dimension in dimensions.items():
            _check_field(field, dimension)
        return cls(dimensions)

    def draw(self, pick: Pick) -> dict[str, Any]:
        """Walk the space, picking the parameter of each dimension that is reached.

        Returns:
            Overrides of a :class:`TrialConfig`: ``{"alpha": 0.3, "architecture": "unet",
            "architecture_parameters": {"width": 16}}``.
        """
        values: dict[str, Any] = {}
        for field, dimension in self.dimensions.items():
            value = dimension.value_of(pick(dimension.parameter_name(field), dimension))
            values[field] = value
            if isinstance(dimension, ChoiceDimension) and isinstance(dimension.values, dict):
                values[_parameters_field(field)] = _draw_branch(value, dimension, pick)
        return values

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Let Optuna's sampler pick; parameters that the trial has already are kept."""
        return self.draw(lambda name, dimension: dimension.suggest(trial, name))

    def values_of(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Optuna's parameters of one trial -> overrides of a TrialConfig."""
        return self.draw(lambda name, _: parameters[name])

    def parameters_of(self, values: dict[str, Any]) -> dict[str, Any]:
        """Overrides of a TrialConfig -> Optuna's parameters; what is not given stays open.

        Raises:
            ConfigError: if a key is no dimension, or a value lies outside its dimension.
        """
        parameters: dict[str, Any] = {}
        for field, value in values.items():
            if field.endswith("_parameters") and field.removesuffix("_parameters") in self.dimensions:
                continue  # read with its choice, below
            dimension = self.dimensions.get(field)
            _add_parameter(parameters, field, dimension, value, self.dimensions)
            if isinstance(dimension, ChoiceDimension):
                branch = dimension.branch(value)
                for child, child_value in values.get(_parameters_field(field), {}).items():
                    _add_parameter(parameters, f"{value}.{child}", branch.get(child), child_value, branch)
        return parameters

    def grid(self, points: int) -> Iterator[dict[str, Any]]:
        """Every combination of parameters, with at most ``points`` inner values of each range."""
        return _grid(list(self.dimensions.items()), points)

    def examples(self, field: str) -> list[dict[str, Any]]:
        """One draw for each option of a choice (the others at their middle): what a preflight tries.

        Without such a dimension, one draw at the middle of the space.
        """
        dimension = self.dimensions.get(field)
        if not isinstance(dimension, ChoiceDimension):
            return [self.draw(_pick_middle)]
        return [self.draw(_pick_option(field, option)) for option in dimension.options]

    def description(self) -> dict[str, str]:
        """Each dimension as text, for a study's fingerprint."""
        return {field: dimension.model_dump_json() for field, dimension in self.dimensions.items()}


def _pick_middle(_name: str, dimension: Dimension) -> Scalar:
    return dimension.parameter_at(0.5)


def _pick_option(field: str, option: Scalar) -> Pick:
    return lambda name, dimension: option if name == field else _pick_middle(name, dimension)


def _parameters_field(field: str) -> str:
    return f"{field}_parameters"


def _draw_branch(value: Scalar, dimension: ChoiceDimension, pick: Pick) -> dict[str, Any]:
    return {
        name: child.value_of(pick(child.parameter_name(f"{value}.{name}"), child))
        for name, child in dimension.branch(value).items()
    }


def _add_parameter(
    parameters: dict[str, Any],
    name: str,
    dimension: Dimension | None,
    value: Any,  # noqa: ANN401  of the dimension's own type, if it contains it
    known: dict[str, Dimension],
) -> None:
    if dimension is None:
        valid = ", ".join(sorted(known)) or "none"
        raise ConfigError(
            f"a point must name dimensions of the search space ({valid})", name, "Mend the point."
        )
    if not dimension.contains(value):
        raise ConfigError(
            f"a point's {name} must lie in {dimension.model_dump_json()}",
            repr(value),
            "Mend the point or the space.",
        )
    parameters[dimension.parameter_name(name)] = dimension.parameter_of(value)


def _grid(dimensions: list[tuple[str, Dimension]], points: int) -> Iterator[dict[str, Any]]:
    """Combinations of the remaining dimensions; the first varies slowest."""
    if not dimensions:
        yield {}
        return
    (name, dimension), *others = dimensions
    for parameter in dimension.grid(points):
        branch: list[tuple[str, Dimension]] = []
        if isinstance(dimension, ChoiceDimension):
            branch = [(f"{parameter}.{child}", d) for child, d in dimension.branch(parameter).items()]
        for rest in _grid([*branch, *others], points):
            yield {dimension.parameter_name(name): parameter, **rest}


def _check_field(field: str, dimension: Dimension) -> None:
    """Let TrialConfig judge the field's name and its extreme values."""
    if field not in TrialConfig.model_fields:
        valid = ", ".join(TrialConfig.model_fields)
        raise ConfigError(
            f"a search dimension must be a field of a trial ({valid})", field, "Correct its name."
        )
    if isinstance(dimension, ChoiceDimension) and isinstance(dimension.values, dict):
        _check_branches(field, dimension)
    for value in dimension.extremes():
        # alpha > 1 is valid with additive mixing, which the trial or another dimension may set.
        TrialConfig.parse({"mixing": "additive", field: value})


def _check_branches(field: str, dimension: ChoiceDimension) -> None:
    if _parameters_field(field) not in TrialConfig.model_fields:
        raise ConfigError(
            "only a field whose values bring parameters (architecture) may be a mapping of choices",
            f"{field}: {dimension.options}",
            "Write its values as a list.",
        )
    for option in dimension.options:
        for name, child in dimension.branch(option).items():
            if isinstance(child, ChoiceDimension) and isinstance(child.values, dict):
                raise ConfigError(
                    "a nested dimension cannot itself be a mapping of choices",
                    f"{field}: {option}: {name}",
                    "Write its values as a list.",
                )
