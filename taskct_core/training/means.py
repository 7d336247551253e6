"""Means over the samples of an epoch."""

from __future__ import annotations

from collections import defaultdict


class Means:
    """Means over samples of what the steps measured; each over the samples it was measured on."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self.samples = 0

    def add(self, measured: dict[str, float], samples: int) -> None:
        """Take in one step's figures, means over its ``samples``."""
        self.samples += samples
        for name, value in measured.items():
            self._sums[name] += samples * value
            self._counts[name] += samples

    def result(self) -> dict[str, float]:
        """The means, and ``samples``: how many there were in all."""
        return {name: self._sums[name] / self._counts[name] for name in self._sums} | {
            "samples": self.samples
        }
