"""What is known of a metric column: of the platform's, and of objectives of a user's own."""

from __future__ import annotations

from collections.abc import Mapping

from taskct_core.schema import METRICS, Direction, Metric

# Own objectives by name. A name is a function's, ``package.module:name``, so it means the same in every study.
_own: dict[str, Metric] = {}


def declare_own(directions: Mapping[str, Direction]) -> None:
    """Make a study's own objectives known; ``directions`` may name the platform's metrics, too."""
    for name, direction in directions.items():
        if name not in METRICS:
            label = name.rpartition(":")[2].replace("_", " ")
            _own[name] = Metric(label[:1].upper() + label[1:], f"own objective {name}", direction)


def is_metric(name: str) -> bool:
    """Whether a column is a metric's."""
    return name in METRICS or name in _own


def metric_info(name: str) -> Metric:
    """How a metric column is read.

    Raises:
        KeyError: if it is neither the platform's nor declared.
    """
    return METRICS[name] if name in METRICS else _own[name]
