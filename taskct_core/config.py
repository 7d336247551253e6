"""What every configuration is: a strict, frozen model. Each stands beside what it configures."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self, cast, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from taskct_core.errors import ConfigError
from taskct_core.registry import did_you_mean

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
# What pydantic finds wrong with a value -> what it must be.
_WANTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("list_type", "tuple_type"), "must be a list, such as [a, b]"),
    **dict.fromkeys(("dict_type", "model_type"), "must be a mapping, such as {key: value}"),
    "string_type": "must be a text",
    "missing": "a value is missing",
}


class StrictModel(BaseModel):
    """Base of every configuration: immutable, and no key is accepted that is not declared.

    The text below a field says what its key means; it is the field's description, which the documentation shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """YAML reads ``yes`` as true, Python takes true for 1, and pydantic 1 for true."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if annotation is bool and not isinstance(value, bool):
            raise ValueError("must be true or false")
        if _holds_truth(value) and not _takes_truth(annotation):
            raise ValueError("must not be yes, no, true or false")
        return value

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Validate plain values.

        Raises:
            ConfigError: naming every offending key, the value received and the valid names.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _as_config_error(cls, values, error) from None


def _holds_truth(value: object) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_holds_truth, value))
    return isinstance(value, bool)


def _takes_truth(annotation: object) -> bool:
    """Whether truth values may stand somewhere in a field; a model inside judges its own."""
    if annotation in (bool, Any) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return True
    return any(map(_takes_truth, get_args(annotation)))


def _in_plain_words(message: str) -> str:
    return re.sub(r"^[A-Z][a-z]+ should ", "must ", message.removeprefix("Value error, "))


def _as_config_error(model: type[BaseModel], values: object, error: ValidationError) -> ConfigError:
    rules: dict[str, list[str]] = {}  # key -> what it must be, one rule a choice of a union
    received: dict[str, str] = {}
    for problem in error.errors():
        place = _place_in(values, problem["loc"])
        path = ".".join(map(str, place)) or model.__name__
        rule = _WANTED.get(problem["type"]) or _in_plain_words(problem["msg"])
        if problem["type"] == "extra_forbidden":
            rule = _unknown_key(path, sorted(_fields_at(model, place[:-1])))
        else:
            rule = f"{path}: {rule}"
        known = rules.setdefault(path, [])
        if rule not in known:
            known.append(rule if not known else rule.removeprefix(f"{path}: "))
        received.setdefault(path, f"{path} = {_shortened(problem['input'])}")
    return ConfigError(
        "; ".join("; or ".join(choices) for choices in rules.values()),
        "; ".join(received.values()),
        "Correct the configuration and run again.",
    )


def _place_in(values: object, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where a problem is in plain values: pydantic's path without the names that it gives to choices of a union."""
    place: list[int | str] = []
    for number, part in enumerate(loc):
        is_index = isinstance(part, int) and isinstance(values, list | tuple) and part < len(values)
        if is_index or (isinstance(values, dict) and part in values):
            place.append(part)
            values = cast(Any, values)[part]
        elif (
            isinstance(values, dict)
            and number == len(loc) - 1
            and isinstance(part, str)
            and part.isidentifier()
        ):
            place.append(part)  # a key that is missing
    return tuple(place)


def _unknown_key(path: str, valid: list[str]) -> str:
    nearest = did_you_mean(path.rpartition(".")[2], valid)
    return f"'{path}' is not a known key (valid here: {', '.join(valid)}){nearest}"


def _shortened(value: object, length: int = 300) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python prints
        text = f"a {type(value).__name__} too long to print"
    return text if len(text) <= length else f"{text[:length]} ..."


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for part in path:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        annotation = model.model_fields[part].annotation
        for choice in (annotation, *get_args(annotation)):  # the choices of "Model | None"
            if isinstance(choice, type) and issubclass(choice, BaseModel):
                model = choice
    return list(model.model_fields)
