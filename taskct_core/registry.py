"""Names in a configuration -> objects: a family's dict of built-ins, or a user's ``package.module:Name``.

The dicts map a name to ``"package.module:Name"`` too, so that looking up a name (in ``--help``, in a
configuration) does not import PyTorch and MONAI, which takes seconds.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from taskct_core.errors import ConfigError


def known_name(name: str, family: Mapping[str, str], kind: str) -> str:
    """Return ``name`` if it is a key of ``family`` or has the form ``package.module:Name``.

    Raises:
        ValueError: naming the valid names (pydantic turns it into a configuration error).
    """
    if name in family or ":" in name:
        return name
    valid = ", ".join(sorted(family))
    raise ValueError(f"unknown {kind} {name!r}; valid: {valid}, or your own as package.module:Name")


def load(name: str, family: Mapping[str, str], kind: str) -> Any:
    """Import the object that ``name`` stands for.

    Raises:
        ConfigError: if the name is unknown, or its module or attribute does not exist.
    """
    try:
        known_name(name, family, kind)
        module_name, _, attribute = family.get(name, name).partition(":")
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise ConfigError(
            f"a {kind} must be a built-in name or an importable package.module:Name",
            f"{name!r} ({error})",
            "Check the spelling, and that the module is installed or on PYTHONPATH.",
        ) from error


def build(
    name: str, family: Mapping[str, str], kind: str, parameters: Mapping[str, Any], **offered: Any
) -> Any:
    """Call what ``name`` stands for with ``parameters``, and those of ``offered`` that it has arguments for.

    Raises:
        ConfigError: if the name is unknown, a parameter is not one of its arguments, or it rejects a value.
    """
    factory = load(name, family, kind)
    arguments = inspect.signature(factory).parameters
    takes_any = any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values())
    valid = sorted(set(arguments) - set(offered) - {"args", "kwargs"})
    unknown = sorted(set(parameters) - set(valid))
    if unknown and not takes_any:
        raise ConfigError(
            f"parameters of the {kind} {name!r} must be of: {', '.join(valid) or '(it has none)'}",
            ", ".join(f"{key} = {parameters[key]!r}" for key in unknown),
            "Correct the parameter's name.",
        )
    needed = {key: value for key, value in offered.items() if key in arguments}
    try:
        return factory(**parameters, **needed)
    except (TypeError, ValueError, AssertionError, ZeroDivisionError, RuntimeError) as error:
        raise ConfigError(
            f"the {kind} {name!r} must accept its parameters",
            f"{dict(parameters)} ({error})",
            "Correct the values.",
        ) from error
