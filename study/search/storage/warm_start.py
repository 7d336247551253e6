"""Another study's trials as a start: what the sampler of a study knows before that has trials of its own.

Copied once into ``warm-start.json``, so that proposals follow from the study's own folder, whatever becomes of the other.
They are no trials of the study: nothing but its sampler sees them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from study.search.config import StudyConfig
from study.search.space import SearchSpace
from study.search.space.dimensions import ChoiceDimension, Dimension
from study.search.storage.opening import open_study
from study.search.storage.records import TrialRecord, read_records
from study.trials import epoch_log
from taskct_core.config import StrictModel
from taskct_core.contracts.files import open_folder, read_json, write_json
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import finite_numbers
from taskct_core.errors import ConfigError, DataError
from taskct_core.schema import COMPLETE

_MEND = "Restore it from a backup, or remove it: it is then taken from the other study anew."


class Known(StrictModel):
    """One trial of the other study, in this one's space."""

    parameters: dict[str, Any]  # Optuna's, of the dimensions that both spaces have
    values: list[float]  # in the order of the objectives
    constraints: dict[str, float]  # column -> by how much it is above its bound


class WarmStart(StrictModel):
    """What a study knew when it began."""

    known: list[Known]
    dropped: int  # completed trials of the other study that do not lie in this one's space

    def trials(self, space: SearchSpace) -> list[FrozenTrial]:
        """As a sampler sees them: completed before any trial of the study, which numbers below 0 say."""
        distributions = dict(_distributions(space.dimensions))
        trials = []
        for number, known in enumerate(self.known):
            trial = optuna.trial.create_trial(
                params=known.parameters,
                distributions={name: distributions[name] for name in known.parameters},
                values=known.values,
                constraints=known.constraints,
            )
            trial.number = number - len(self.known)
            trials.append(trial)
        return trials


def warm_start(
    folder: Path, config: StudyConfig, space: SearchSpace, directions: Mapping[str, str]
) -> WarmStart:
    """What the study in ``folder`` begins with; taken from the other study by its first driver.

    Raises:
        ConfigError: if the other study has other objectives, or nothing in the space.
        StudyError: if there is no other study.
        DataError: if what was taken cannot be read any longer.
    """
    if config.warm_start is None:
        return WarmStart(known=[], dropped=0)
    path = StudyFolder(folder).warm_start
    if not path.is_file():
        taken = _take(open_folder(config.warm_start), config, space, directions)
        write_json(path, taken.model_dump())
    values = read_json(path, _MEND)
    try:
        start = WarmStart.parse(values)
        start.trials(space)
        if any(len(known.values) != len(config.objectives) for known in start.known):
            raise ValueError(f"trials with other than {len(config.objectives)} values")
    except (ConfigError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(
            f"{path.name} must hold what the study began with", f"{path}: {error}", _MEND
        ) from None
    return start


def _take(source: Path, config: StudyConfig, space: SearchSpace, directions: Mapping[str, str]) -> WarmStart:
    other = open_study(source)
    ways = [way.name.lower() for way in other.directions]
    theirs = dict(zip(other.metric_names or [], ways, strict=False))
    ours = {name: directions[name] for name in config.objectives}
    if list(theirs.items()) != list(ours.items()):
        raise ConfigError(
            "the study of study.warm_start must have this one's objectives",
            f"{source} with {theirs} instead of {ours}",
            "Name another study, take its objectives in their order, or leave warm_start out.",
        )
    completed = [record for record in read_records(other) if record.status == COMPLETE]
    found = [_known(record, source, config, space) for record in completed]
    known = [trial for trial in found if trial is not None]
    if not known:
        raise ConfigError(
            "the study of study.warm_start must have trials in this one's search space",
            f"{source}: {len(completed)} completed trials, none in the space",
            "Name another study, widen the space, or leave warm_start out.",
        )
    return WarmStart(known=known, dropped=len(completed) - len(known))


def _known(record: TrialRecord, source: Path, config: StudyConfig, space: SearchSpace) -> Known | None:
    """A trial in the space, by what both spaces have; None where one of these values lies outside."""
    try:
        parameters = space.parameters_of(_shared(record.values, space))
    except ConfigError:
        return None
    constraints = {}
    if config.constraints:
        rows = epoch_log.read(StudyFolder(source).trial(record.trial))
        scores = finite_numbers(epoch_log.kept_row(rows)) if rows else {}
        if not config.constraints.keys() <= scores.keys():
            return None
        constraints = {name: scores[name] - bound for name, bound in config.constraints.items()}
    values = [record.objectives[name] for name in config.objectives]
    return Known(parameters=parameters, values=values, constraints=constraints) if parameters else None


def _shared(values: dict[str, Any], space: SearchSpace) -> dict[str, Any]:
    """The values of dimensions that the space has, too."""
    shared = {name: value for name, value in values.items() if name in space.dimensions}
    for name, value in list(shared.items()):
        dimension, parameters = space.dimensions[name], values.get(f"{name}_parameters")
        if isinstance(dimension, ChoiceDimension) and parameters and dimension.contains(value):
            branch = dimension.branch(value)
            shared[f"{name}_parameters"] = {
                child: parameters[child] for child in branch if child in parameters
            }
    return shared


def _distributions(
    dimensions: Mapping[str, Dimension], prefix: str = ""
) -> Iterator[tuple[str, BaseDistribution]]:
    """Of everything that the space can draw, by the name of its parameter."""
    for name, dimension in dimensions.items():
        yield dimension.parameter_name(prefix + name), dimension.distribution
        if isinstance(dimension, ChoiceDimension):
            for option in dimension.options:
                yield from _distributions(dimension.branch(option), f"{option}.")
