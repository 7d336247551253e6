"""What every configuration is: a strict, frozen model. Each stands beside what it configures."""

from __future__ import annotations

from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from taskct_core.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class StrictModel(BaseModel):
    """Base of every configuration: immutable, and no key is accepted that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads ``yes`` as true, and Python takes true for 1."""
        if _holds_truth(value) and not _takes_truth(cls.model_fields[str(info.field_name)].annotation):
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
            raise _as_config_error(cls, error) from None


def _holds_truth(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_holds_truth, value))
    return isinstance(value, bool)


def _takes_truth(annotation: Any) -> bool:
    """Whether truth values may stand somewhere in a field; a model inside judges its own."""
    if annotation in (bool, Any) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return True
    return any(map(_takes_truth, get_args(annotation)))


def _as_config_error(model: type[BaseModel], error: ValidationError) -> ConfigError:
    rules, received = [], []
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"]) or model.__name__
        if problem["type"] == "extra_forbidden":
            valid = ", ".join(sorted(_fields_at(model, problem["loc"][:-1])))
            rules.append(f"'{path}' is not a known key (valid here: {valid})")
        else:
            rules.append(f"{path}: {problem['msg'].removeprefix('Value error, ')}")
        received.append(f"{path} = {_shortened(problem['input'])}")
    return ConfigError("; ".join(rules), "; ".join(received), "Correct the configuration and run again.")


def _shortened(value: Any, length: int = 300) -> str:
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
