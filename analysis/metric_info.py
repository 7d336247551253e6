"""What is known of metric columns: of the platform's, and of objectives of a user's own; the mean Dice that methods share."""

from __future__ import annotations

import math

import pandas as pd

from taskct_core import schema as S
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


def means_alike(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of several methods on the same slices, the mean Dice of each over structures that all of them have.

    Where the slices have no true tumour, a method that draws none has no tumour Dice and one that draws a false one has
    0, so that what each averaged by itself is not the same thing.
    """
    scores = scores.copy()
    for scope in S.DICE_SCOPES:
        for empty in S.EMPTY_POLICIES:
            mean = f"dice_mean_{scope}_{empty}"
            every = [f"dice_{structure}_{scope}_{empty}" for structure in S.STRUCTURES]
            alike = [
                f"dice_{structure}_{scope}_{empty}" for structure in structures_alike(scores, scope, empty)
            ]
            known = [name for name in every if name in scores and scores[name].notna().any()]
            if mean in scores and alike and alike != known:
                scores[mean] = scores[alike].mean(axis=1)
    return scores


def structures_alike(scores: pd.DataFrame, scope: str, empty: str) -> tuple[str, ...]:
    """The structures whose Dice every method has that has any."""
    columns = {structure: f"dice_{structure}_{scope}_{empty}" for structure in S.STRUCTURES}
    known = {structure: scores[column] for structure, column in columns.items() if column in scores}
    if not known:
        return ()
    scored = pd.DataFrame(known).dropna(how="all")
    return tuple(structure for structure in scored if len(scored) and scored[structure].notna().all())


def in_words_of(structure: str | None, text: str) -> str:
    """Text in which a mean Dice over one structure alone bears that structure's name; None: it is over several."""
    if structure is None:
        return text
    called = {"Dice mean": f"Dice {structure}", "mean Dice": f"{structure} Dice"}
    for words, name in called.items():
        text = text.replace(words, name)
    return text
