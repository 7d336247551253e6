"""What must not change while a study lives: its data, objectives, search space and search settings.

Stored as attributes of the Optuna study when it begins, compared at every later start.
"""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from study.search.config import StudyConfig
from study.search.space import SearchSpace
from study.search.storage.records import FINGERPRINT
from taskct_core.errors import ConfigError, StudyError
from taskct_core.redaction import redacted


def check_objectives(config: StudyConfig, metric_directions: Mapping[str, str]) -> None:
    """Raises:
    ConfigError: if an objective has no known direction.
    """
    for name in config.objectives:
        if name not in metric_directions:
            valid = ", ".join(metric_directions)
            raise ConfigError(
                f"an objective must be a known metric column ({valid})", name, "Correct its name."
            )


def search_fingerprint(
    config: StudyConfig, space: SearchSpace, metric_directions: Mapping[str, str]
) -> dict[str, str]:
    """The part of a fingerprint that the search itself gives: one entry a setting, as readable text."""
    objectives = ", ".join(f"{metric_directions[name]} {name}" for name in config.objectives)
    constraints = ", ".join(f"{name} <= {bound:g}" for name, bound in sorted(config.constraints.items()))
    return {
        "objectives": objectives,
        "constraints": constraints or "none",
        # Studies that began before there were options have none in their fingerprint.
        "sampler": config.sampler.model_dump_json(exclude=None if config.sampler.options else {"options"}),
        "pruner": config.pruner.model_dump_json(),
        "seed": str(config.seed),
        **({"warm start": redacted(config.warm_start)} if config.warm_start else {}),
        **{f"space.{field}": text for field, text in space.description().items()},
    }


def check_fingerprint(study: optuna.Study, fingerprint: Mapping[str, str]) -> None:
    """Store the fingerprint of a new study; compare that of an old one.

    Raises:
        StudyError: showing each difference as ``name: old -> new``.
    """
    stored = study.user_attrs.get(FINGERPRINT)
    if stored is None:
        study.set_user_attr(FINGERPRINT, dict(fingerprint))
        return
    names = sorted(stored.keys() | fingerprint.keys())
    differences = [
        f"{name}: {stored.get(name, 'absent')} -> {fingerprint.get(name, 'absent')}"
        for name in names
        if stored.get(name) != fingerprint.get(name)
    ]
    if differences:
        raise StudyError(
            "a study must continue with the data, objectives and search it began with",
            "changed " + "; ".join(differences),
            "Restore these settings, or begin a new study under another name "
            "(`study.enqueue_front_of` carries this one's front over).",
        )
