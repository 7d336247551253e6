"""What is known of a metric column: of the platform's, and of objectives of a user's own."""

from __future__ import annotations

import math

from taskct_core.schema import OBJECTIVES, Direction, Metric


def is_metric(name: str) -> bool:
    """Whether a column is a metric's; an objective of a user's own is named ``package.module:name``."""
    return name in OBJECTIVES or ":" in name


def metric_info(name: str, direction: Direction = "maximize") -> Metric:
    """How a metric column is read.

    Args:
        name: of the column.
        direction: of an own objective; its study knows it, see ``ResultsTable.direction``.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    label = name.rpartition(":")[2].replace("_", " ")
    return Metric(label[:1].upper() + label[1:], f"own objective {name}", direction)


def metric_range(name: str) -> tuple[float, float]:
    """The lowest and the highest value that a metric can have."""
    if name.startswith(("dice", "surface_dice", "tumour_recall", "tumour_f1")):
        return 0.0, 1.0
    if name.startswith("ssim"):
        return -1.0, 1.0
    return (0.0 if name.startswith(("hd95", "volume_error")) else -math.inf), math.inf
