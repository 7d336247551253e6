"""Samplers that the platform does not bring: a class of the user's own, or one of OptunaHub."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from optuna.samplers import BaseSampler

from study.search.samplers.reseeded import MakeSampler
from taskct_core.errors import ConfigError
from taskct_core.registry import load

HUB = "optunahub:"  # begins the name of a sampler of OptunaHub: optunahub:samplers/auto_sampler:AutoSampler


def own_sampler(name: str, options: Mapping[str, Any]) -> MakeSampler:
    """What makes the sampler ``name`` for a proposal.

    Args:
        name: ``package.module:Name`` or ``optunahub:PACKAGE:Name`` of a class of Optuna's samplers, or a function that
            returns one.
        options: its arguments; ``seed`` it gets beside them, if it has it.

    Raises:
        ConfigError: if there is none of that name, it rejects its arguments, or makes something else.
    """
    factory = _of_hub(name) if name.startswith(HUB) else load(name, {}, "sampler")

    def make(seed: int) -> BaseSampler:
        try:
            takes_seed = "seed" in inspect.signature(factory).parameters
            sampler = factory(**options, **({"seed": seed} if takes_seed else {}))
        except Exception as error:  # whatever a user's own code may raise
            raise ConfigError(
                f"the sampler {name!r} must accept study.sampler.options",
                f"{dict(options)} ({type(error).__name__}: {error})",
                "Correct the options, or the sampler.",
            ) from error
        if not isinstance(sampler, BaseSampler):
            raise ConfigError(
                "a sampler must be one of Optuna's (a subclass of optuna.samplers.BaseSampler)",
                f"{name!r}, which makes a {type(sampler).__name__}",
                "Name a class derived from it, or a function that returns one.",
            )
        return sampler

    make(seed=0)  # a name or option that is wrong is told of before anything starts
    return make


def _of_hub(name: str) -> Callable[..., BaseSampler]:
    package, _, attribute = name.removeprefix(HUB).partition(":")
    try:
        import optunahub
    except ImportError:
        raise ConfigError(
            f"a sampler of OptunaHub ({name}) needs the package optunahub",
            "no such package here",
            "pip install 'taskct[optunahub]'",
        ) from None
    try:
        factory: Callable[..., BaseSampler] = getattr(optunahub.load_module(package), attribute)
    except Exception as error:  # no network, no such package, or one that needs others
        raise ConfigError(
            f"a sampler of OptunaHub must be named {HUB}PACKAGE:Name, such as "
            f"{HUB}samplers/auto_sampler:AutoSampler, and loaded",
            f"{name!r} ({type(error).__name__}: {error})",
            "Check the name, the network, and what the sampler's page says it needs.",
        ) from error
    return factory
