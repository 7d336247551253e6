"""Looks, while Ray Tune runs, at what Tune would wait for without end: dead nodes, hanging trials, time that is up."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from typing_extensions import override

from study.search.conductor import Conductor
from taskct_core.errors import ResourceError

_SECONDS_BETWEEN_LOOKS = 5.0


class OutOfTime(Exception):
    """Ends Tune's run; trials stay RUNNING in storage."""


class StudyWatch(Callback):
    """Ends the run when the time is up or no node lives, and trials that take too long.

    Ray takes up to half a minute to call a node dead, and Tune then waits for another for ever.
    """

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._next_look = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {}  # see the adapters

    @override
    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: object) -> None:
        self._conductor.started(trial.config["trial"])

    @override
    def on_step_begin(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Raises:
        OutOfTime: if the time is up.
        ResourceError: if no node lives.
        """
        if self._conductor.time_is_up:
            raise OutOfTime
        for number in self._conductor.overdue():
            for trial in trials:
                if trial.config.get("trial") == number and not trial.is_finished():
                    _kill(trial)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
            _require_a_node()


def _kill(trial: Trial) -> None:
    """Kill the process of a trial, which may hang in whatever it does; it is not started again."""
    trial.max_failures = 0
    actor = trial.temporary_state.ray_actor
    if actor is not None:
        ray.kill(actor)


def _require_a_node() -> None:
    if not any(node["Alive"] for node in ray.nodes()):
        raise ResourceError(
            "a study needs a living Ray node",
            "every node died (killed, or out of memory?)",
            "Run the study again: it continues where it stopped.",
        )
