"""A user's own objectives and trainables, named in the configuration as ``package.module:name``.

    from study import objective

    @objective("maximize")
    def worst_psnr(rows):                      # one mapping a slice, of the validation split
        return min(row["psnr_lodopab"] for row in rows)

``study.objectives: [my_metrics:worst_psnr, dice_mean_patient_nnunet]`` then searches for it. The module must be
importable wherever trials run: installed, on PYTHONPATH, or in the working directory that a job travels with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from taskct_core import schema
from taskct_core.errors import ConfigError, TrainingError
from taskct_core.registry import load
from taskct_core.schema import Direction

Score = Callable[[Sequence[Mapping[str, Any]]], float]
_DIRECTION = "study_direction"  # attribute of an objective's function


def objective(direction: Direction) -> Callable[[Score], Score]:
    """Declare that a function scores a trial, and whether a study shall maximize or minimize it.

    The function is called after every epoch with the rows of all validation slices: their patient and slice, their
    PSNR and SSIM columns, and the voxel counts of ``taskct_core.schema.COUNTS``. It returns a number; NaN at a
    trial's last epoch makes the trial fail.

    Raises:
        ConfigError: for another direction.
    """
    if direction not in ("maximize", "minimize"):
        raise ConfigError("an objective is to maximize or minimize", repr(direction), "Declare one of them.")

    def declare(function: Score) -> Score:
        setattr(function, _DIRECTION, direction)
        return function

    return declare


def is_own(name: str) -> bool:
    """Whether an objective is a user's own."""
    return ":" in name


def metric_directions(objectives: Iterable[str]) -> dict[str, Direction]:
    """Column -> ``maximize`` or ``minimize``: of every metric of the platform, and of these own objectives.

    Raises:
        ConfigError: if an own objective cannot be imported, or declares no direction.
    """
    own: dict[str, Direction] = {
        name: getattr(_load(name), _DIRECTION) for name in objectives if is_own(name)
    }
    return {name: metric.direction for name, metric in schema.OBJECTIVES.items()} | own


def own_scores(objectives: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The columns of a user's own objectives for one evaluation.

    Args:
        objectives: of the study; those of the platform are left out.
        rows: one a slice.

    Raises:
        TrainingError: if an objective raises, or returns no number.
    """
    return {name: _score(name, rows) for name in objectives if is_own(name)}


def _load(name: str) -> Score:
    function: Any = load(name, {}, "objective")
    if not callable(function) or not hasattr(function, _DIRECTION):
        raise ConfigError(
            "an own objective must be a function that declares its direction",
            name,
            'Decorate it: from study import objective; @objective("maximize").',
        )
    return function


def _score(name: str, rows: Sequence[Mapping[str, Any]]) -> float:
    try:
        return float(_load(name)(rows))
    except ConfigError:
        raise
    except Exception as error:  # a user's function may raise anything
        raise TrainingError(
            "an own objective must return a number for the rows of a split",
            f"{name}: {type(error).__name__}: {error}",
            "Correct the function.",
        ) from error
