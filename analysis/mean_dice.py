"""The mean Dice over structures, of the same structures for every method that is compared."""

from __future__ import annotations

import pandas as pd

from taskct_core import schema as S


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
