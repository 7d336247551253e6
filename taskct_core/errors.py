"""Errors a user can act on: each names the rule, the value received and the next step, and no password."""

from __future__ import annotations

from taskct_core.redaction import redacted


class TaskctError(Exception):
    """Base of all errors that the command line shows as a message instead of a traceback.

    Args:
        rule: what must hold, e.g. ``"alpha must lie in [0, 1]"``.
        received: what was found instead, e.g. ``"alpha = 1.2"``; an empty text is shown as ``''``.
        next_step: what the user can do about it.
    """

    def __init__(self, rule: str, received: str, next_step: str) -> None:
        self.rule = redacted(rule)
        self.received = redacted(received) or "''"
        self.next_step = redacted(next_step)
        super().__init__(f"{self.rule}; received {self.received}. {self.next_step}")

    def __reduce__(self) -> tuple[type[TaskctError], tuple[str, str, str]]:
        # Exceptions pickle by their args; these travel from Ray workers to the driver.
        return type(self), (self.rule, self.received, self.next_step)


class ConfigError(TaskctError):
    """A configuration value, key or name is not valid."""


class DataError(TaskctError):
    """A volume, label, shard or results file breaks its contract."""


class ResourceError(TaskctError):
    """The machine or cluster lacks what the job needs."""


class StudyError(TaskctError):
    """A study's state forbids what was asked (changed data, locked by another driver, ...)."""


class TrainingError(TaskctError):
    """A trial's training cannot go on, such as when its loss is no longer finite."""


def first_line(error: Exception) -> str:
    """What a library's error says, in one line; its type where it says nothing."""
    return redacted(next(iter(str(error).splitlines()), "")) or type(error).__name__
