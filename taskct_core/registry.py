"""Names in a configuration -> objects: a family's dict of built-ins, or a user's ``package.module:Name``.

The dicts map a name to ``"package.module:Name"`` too, so that looking up a name (in ``--help``, in a
configuration) does not import PyTorch and MONAI, which takes seconds.

To import a name is to run code. A user's own configuration may name what it likes; a file that lies in a folder
(a task network's card, a trial's config.yaml, a study's storage) came from whoever made the folder, so what it
names passes :class:`Trust` first.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from taskct_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Trust:
    """Which names of a folder's files may be imported.

    Attributes:
        plugins: names that the user's own configuration has, too.
        everything: whatever the folder names, because the user said so (``--trust``).
    """

    plugins: frozenset[str] = frozenset()
    everything: bool = False

    def require(self, name: str, built_in: Collection[str], kind: str, source: object) -> None:
        """Refuse a name that is neither built in nor trusted.

        Args:
            name: as the file has it.
            built_in: names that run no code of the folder's maker.
            kind: what it names, for the message, such as ``reconstructor``.
            source: the file.

        Raises:
            ConfigError: naming the file, before anything is imported.
        """
        if self.everything or name in built_in or name in self.plugins:
            return
        raise ConfigError(
            f"a {kind} that a folder's file names must be built in ({', '.join(sorted(built_in))}), "
            "as any other would run code of whoever made the folder",
            f"{name!r} in {source}",
            "If you trust its maker, name it in your own configuration, or give --trust.",
        )


BUILT_IN_ONLY = Trust()
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def known_name(name: str, family: Collection[str], kind: str, *, own: bool = True) -> str:
    """Return ``name`` if it is one of ``family`` or, where a user may bring ``own`` ones, ``package.module:Name``.

    Raises:
        ValueError: naming the valid names (pydantic turns it into a configuration error).
    """
    if name in family or (own and ":" in name):
        return name
    or_own = ", or your own as package.module:Name" if own else ""
    raise ValueError(
        f"unknown {kind} {name!r}; valid: {', '.join(sorted(family))}{or_own}{did_you_mean(name, family)}"
    )


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """``"; did you mean 'unet'?"`` where a valid name is like the one received, or begins with it; else nothing."""
    valid = list(valid)
    nearest = difflib.get_close_matches(name, valid, n=1)
    nearest = nearest or [known for known in valid if name and known.startswith(name)]
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


@dataclass(frozen=True)
class NameOf:
    """Marks a configuration's key as a name that ``known_name`` checks: see :func:`name_of`."""

    family: str
    kind: str
    own: bool

    @property
    def names(self) -> list[str]:
        """The built-in ones, in the family's order."""
        return list(load(self.family, {}, "registry"))

    def check(self, name: str) -> str:
        """The name as it is.

        Raises:
            ConfigError: if there is none such.
        """
        return known_name(name, load(self.family, {}, "registry"), self.kind, own=self.own)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Where the user may bring one, the names are examples of what may stand there."""
        return {**handler(schema), "examples" if self.own else "enum": self.names}


def name_of(family: str, kind: str, *, own: bool = False) -> NameOf:
    """Marks a configuration's key as a name that ``known_name`` checks: ``Annotated[str, name_of(...)]``.

    Args:
        family: where the names are, as ``package.module:NAMES``; imported when a configuration is checked.
        kind: what they name, for messages.
        own: whether the user may bring one.
    """
    return NameOf(family, kind, own)


def load(name: str, family: Mapping[str, str], kind: str) -> Any:  # noqa: ANN401  whatever has the name
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


def build_module(
    name: str, family: Mapping[str, str], kind: str, parameters: Mapping[str, Any], **offered: object
) -> nn.Module:
    """Build the ``nn.Module`` that ``name`` stands for: a class of modules, or a function that makes one.

    Args:
        name: a key of ``family``, or ``package.module:Name``.
        family: the built-ins.
        kind: what it is, for messages, such as ``reconstructor``.
        parameters: arguments that the user gives.
        offered: arguments that it gets if it has them.

    Raises:
        ConfigError: if the name is unknown, a class is none of modules (it is not called then), a parameter is not
            one of its arguments, it rejects a value, or it makes something else.
    """
    from torch import nn

    factory = load(name, family, kind)
    if not callable(factory) or (isinstance(factory, type) and not issubclass(factory, nn.Module)):
        raise _not_a_module(name, kind, f"is {factory!r}")
    module = _call(factory, name, kind, parameters, offered)
    if not isinstance(module, nn.Module):
        raise _not_a_module(name, kind, f"makes a {type(module).__name__}")
    return module


def _not_a_module(name: str, kind: str, received: str) -> ConfigError:
    return ConfigError(
        f"a {kind} must be a torch.nn.Module",
        f"{name!r}, which {received}",
        "Name a class derived from torch.nn.Module, or a function that returns one.",
    )


def _call(
    factory: Callable[..., object],
    name: str,
    kind: str,
    parameters: Mapping[str, Any],
    offered: Mapping[str, object],
) -> object:
    try:
        arguments = inspect.signature(factory).parameters
    except ValueError:  # of some functions written in C
        raise _not_a_module(name, kind, f"is {factory!r}") from None
    takes_any = any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values())
    variadic = {name for name, argument in arguments.items() if argument.kind in _VARIADIC}
    valid = sorted(set(arguments) - set(offered) - variadic)
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
