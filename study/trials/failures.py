"""Which failures of a trial are worth another attempt.

A process that died, a lost node or an unreadable file may do better the next time. A configuration that is not valid
and a loss that is not finite would come to the same end: such a trial fails at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskct_core.errors import ConfigError, TrainingError

FATAL = "fatal_error"  # what a trial reports instead of an epoch: why it must not be tried again
_DETERMINISTIC = (ConfigError, TrainingError)


def report_fatal_errors(trainable: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """A trainable that reports errors which would repeat themselves: Ray Tune retries whatever is raised."""

    def guarded(proposal: dict[str, Any]) -> None:
        from ray import tune

        try:
            trainable(proposal)
        except _DETERMINISTIC as error:
            tune.report({FATAL: str(error)})

    return guarded
