"""The studies that every figure and the report must cope with: what one with everything in it may lack or hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from seed_table import write_seed_table
from study_factory import Recipe, write_study, write_table

from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

SMALL: dict[str, Any] = {"trials": 6, "slices": 2}  # what is enough for every figure


def _recipe(**values: object) -> Callable[[Path], Path]:
    return lambda folder: write_study(folder, Recipe(**(SMALL | values)))


def _edited(edit: Callable[[pd.DataFrame], pd.DataFrame], **values: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write_study(folder, Recipe(**(SMALL | values)))
        write_table(folder / StudyFolder.results, edit(pd.read_parquet(folder / StudyFolder.results)))
        return folder

    return make


def _without(folder: Path, *names: str) -> Path:
    write_study(folder, Recipe(**SMALL))
    for name in names:
        (folder / name).unlink()
    return folder


def _strange_names(folder: Path) -> Path:
    return _renamed(folder, "my.package:<script>alert(1)</script>", name="</script><b>&")


def _renamed(folder: Path, architecture: str, **values: object) -> Path:
    """A study in which the U-Net has another name."""
    write_study(folder, Recipe(trials=4, **values))
    table = pd.read_parquet(folder / StudyFolder.results)
    is_unet = table["config_architecture"] == "unet"
    table.loc[is_unet, "config_architecture"] = architecture
    write_table(folder / StudyFolder.results, table)
    return folder


OWN_OBJECTIVE = "my_metrics:blurred_share"


def _own_objective(folder: Path) -> Path:
    """An objective of the user's own, to be minimized: the better the PSNR, the lower."""
    write_study(folder, Recipe(trials=24, panels=False))
    rows = pd.read_parquet(folder / StudyFolder.results)
    rows[OWN_OBJECTIVE] = 40 - rows[S.PRIMARY_PSNR].replace(np.inf, 40)
    write_table(folder / StudyFolder.results, rows)
    study = json.loads((folder / StudyFolder.card).read_text())
    directions = {S.PRIMARY_DICE: "maximize", OWN_OBJECTIVE: "minimize"}
    (folder / StudyFolder.card).write_text(
        json.dumps(study | {"objectives": list(directions), "directions": directions})
    )
    return folder


STUDIES: dict[str, Callable[[Path], Path]] = {
    "seeds, own networks and an audit": lambda folder: write_seed_table(folder, slices=6),
    "enough trials for importances": _recipe(trials=24, panels=False, configs=False),
    "one trial": _recipe(trials=1, pruned=0, failed=0, running=0),
    "all failed": _recipe(trials=0, pruned=0, running=0, failed=3),
    "all running": _recipe(trials=0, pruned=0, failed=0, running=2),
    "references only": _recipe(trials=0, pruned=0, failed=0, running=0),
    "no references": _recipe(references=False),
    "all equal": _recipe(equal=True),
    "one patient": _recipe(patients=1),
    "validation only": _recipe(test_split=False),
    "one architecture": _recipe(architectures=("unet",)),
    "one epoch": _recipe(epochs=1),
    "NaN metric": _edited(lambda rows: rows.assign(**{S.PRIMARY_DICE: np.nan})),
    "NaN in some trials": _edited(lambda rows: _blank_every_third(rows)),
    "missing metric column": _edited(lambda rows: rows.drop(columns=[S.PRIMARY_PSNR])),
    "no metrics at all": _edited(lambda rows: rows.drop(columns=list(S.METRICS))),
    "no configuration": _edited(lambda rows: rows.drop(columns=[c for c in rows if c.startswith("config_")])),
    "no costs": _edited(lambda rows: rows.drop(columns=[S.SECONDS, S.PARAMETERS, S.FINISHED_AT])),
    "no samples": lambda folder: _without(folder, StudyFolder.samples),
    "no study.json": lambda folder: _without(folder, StudyFolder.card),
    "no panel slices": lambda folder: _without(folder, StudyFolder.panel_slices),
    "broken panel": lambda folder: _broken_panel(folder),
    "strange names": _strange_names,
    "names of 300 characters": lambda folder: _renamed(folder, f"my_package.{'deep_' * 57}:Net"),
    "infinite scores": _edited(lambda rows: _infinite_scores(rows), trials=4, panels=False, configs=False),
    "own objective": _own_objective,
    "samples of references only": lambda folder: _samples_of_references(folder),
}


def _blank_every_third(rows: pd.DataFrame) -> pd.DataFrame:
    metrics = [name for name in S.METRICS if name in rows]
    rows.loc[rows.index % 3 == 0, metrics] = np.nan
    return rows


def _infinite_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """As a network that gives the full-dose image back, or that divides by zero, is scored."""
    rows.loc[rows[S.TRIAL] == 0, S.PRIMARY_PSNR] = np.inf
    rows.loc[rows[S.TRIAL] == 1, [S.PRIMARY_PSNR, S.PRIMARY_DICE]] = -np.inf
    return rows


def _samples_of_references(folder: Path) -> Path:
    """As a trainable of the user's own leaves it, which writes no rows of slices."""
    write_study(folder, Recipe(trials=4, test_split=False))
    samples = pd.read_parquet(folder / StudyFolder.samples)
    write_table(folder / StudyFolder.samples, samples[samples[S.TRIAL] < 0])
    return folder


def _broken_panel(folder: Path) -> Path:
    write_study(folder, Recipe(trials=4))
    (folder / StudyFolder.panels / "fbp.npz").write_bytes(b"not an archive")
    return folder
