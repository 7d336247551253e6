"""Scores under other task networks than the frozen one: the trial's own, and one that took no part in its training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from analysis.contestants import Contestant
from analysis.metric_info import means_alike
from analysis.results_table import LIVER_DICE, ResultsTable
from taskct_core import schema as S


def network_scores(table: ResultsTable, split: str, suffix: str) -> pd.DataFrame:
    """Scores under another network than the frozen one, by trial or reference.

    Args:
        table: of the study.
        split: that they are of.
        suffix: ``schema.OWN_NETWORK_SUFFIX`` (the network that the trial trained itself) or
            ``schema.AUDIT_NETWORK_SUFFIX`` (one that took no part in the training).

    Returns:
        Segmentation metrics under their usual names, without rows where nobody has that network's
        scores; of an audit by several networks the last one's.
    """
    names = [name + suffix for name in S.SEGMENTATION_METRICS]
    rows = table.rows_until_kept
    rows = rows[rows[S.SPLIT] == split].sort_values(S.EPOCH, kind="stable")
    found = [rows.drop_duplicates(S.TRIAL, keep="last").set_index(S.TRIAL)]
    if suffix == S.AUDIT_NETWORK_SUFFIX:
        found.append(_audit_rows(table, split))
    frames = [frame.reindex(columns=names).astype(float) for frame in found]
    every = pd.concat(frames).dropna(how="all")
    every = every[~every.index.duplicated(keep="last")].sort_index()
    return means_alike(every.rename(columns=lambda name: name.removesuffix(suffix)))


def shared_dice(table: ResultsTable, split: str, suffix: str) -> str:
    """The Dice that the frozen and another network can be compared in: the mean over structures, or the
    liver's where only one of the two knows tumours, for their means are then of different things."""
    tumour = "dice_tumour_patient_nnunet"
    other = network_scores(table, split, suffix)
    frozen_knows = tumour in table.metrics and bool(table.scores(split, [tumour]).notna().any(axis=None))
    return S.PRIMARY_DICE if frozen_knows == bool(other[tumour].notna().any()) else LIVER_DICE


def _audit_rows(table: ResultsTable, split: str) -> pd.DataFrame:
    """The rows of ``taskct evaluate --audit`` on the study's own data, indexed like ``scores``."""
    rows = table.of_own_data(table.evaluations, split)
    if S.AUDIT_NETWORK_HASH not in rows:
        return pd.DataFrame(index=pd.Index([], name=S.TRIAL, dtype=int))
    rows = rows[rows[S.AUDIT_NETWORK_HASH].notna()]
    rows = rows[rows[S.AUDIT_NETWORK_HASH] == rows[S.AUDIT_NETWORK_HASH].iloc[-1]] if len(rows) else rows
    return rows.drop_duplicates(S.TRIAL, keep="last").astype({S.TRIAL: int}).set_index(S.TRIAL)


def means_under_both(
    table: ResultsTable, sides: Sequence[Contestant]
) -> tuple[str, list[float], list[float]] | None:
    """The Dice that the frozen and a second network share, and the mean of each method's seeds under the one and the other.

    On the split of claims; None where one of the networks has not judged one of the methods.
    """
    split = table.claim_split
    metric = shared_dice(table, split, S.AUDIT_NETWORK_SUFFIX)
    frames = (table.scores(split, [metric]), network_scores(table, split, S.AUDIT_NETWORK_SUFFIX))
    if any(metric not in frame for frame in frames):
        return None
    frozen, audited = (
        [float(frame[metric].reindex(list(side.trials)).mean()) for side in sides] for frame in frames
    )
    return (metric, frozen, audited) if all(map(math.isfinite, frozen + audited)) else None
