"""Ends a run whose last Ray node died: Ray Tune would wait for ever for another."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.tune import Callback

from taskct_core.errors import ResourceError

_SECONDS_BETWEEN_LOOKS = 5.0


class NodeWatch(Callback):
    """Looks every few seconds whether a node lives. Ray takes up to half a minute to call one dead."""

    def __init__(self) -> None:
        self._next_look = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Raises:
        ResourceError: if no node lives.
        """
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        if not any(node["Alive"] for node in ray.nodes()):
            raise ResourceError(
                "a study needs a living Ray node",
                "every node died (killed, or out of memory?)",
                "Run the study again: it continues where it stopped.",
            )
