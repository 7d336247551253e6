"""A synthetic study one of whose trials is a front: points of known scores, and images at every alpha."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from study_factory import Recipe, write_study, write_table

from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

TRIAL = 2  # a complete U-Net of the factory's
ALPHAS = (0.0, 0.2, 0.5, 0.8, 1.0)
# By alpha; the third is dominated by the second, the fifth gains PSNR and Dice over the fourth.
PSNR = (32.0, 31.8, 31.0, 29.5, 29.6)
DICE = (0.50, 0.60, 0.58, 0.70, 0.71)


def write_front_study(folder: Path) -> Path:
    """Write the study folder and return it."""
    write_study(folder, Recipe(trials=12))
    files = StudyFolder(folder)
    rows = pd.read_parquet(files.results)
    rows.loc[rows[S.TRIAL] == TRIAL, [S.METHOD, "config_mode"]] = "front"
    own = rows[(rows[S.TRIAL] == TRIAL) & (rows[S.EPOCH] == rows[S.EPOCH].max())]
    points = [
        own.iloc[[0]].assign(
            **{S.SPLIT: split, S.ALPHA: alpha, S.PRIMARY_PSNR: psnr, S.PRIMARY_DICE: dice, S.HYPERVOLUME: 1.5}
        )
        for split in ("validation", "test")
        for alpha, psnr, dice in zip(ALPHAS, PSNR, DICE, strict=True)
    ]
    write_table(files.results, pd.concat([rows.assign(**{S.ALPHA: np.nan}), *points], ignore_index=True))
    panel = np.load(files.panel(TRIAL))
    shade = np.arange(len(ALPHAS), dtype=np.float16)[:, None, None, None] / 1000
    image = panel["image"][None].astype(np.float16) + shade
    prediction = np.repeat(panel["prediction"][None], len(ALPHAS), axis=0)
    np.savez(files.front_panel(TRIAL), alpha=np.array(ALPHAS), image=image, prediction=prediction)
    return folder
