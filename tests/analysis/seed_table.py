"""A synthetic results folder of the shape that study/configs/seed_table.yaml gives on one scored patient.

Eight methods, three seeds each, four references, one validation patient; the modes that train a task network
have its scores too, and a second network has judged all. Nothing in it comes from a CT.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from study_factory import panel_arrays, plain_scores, write_table

from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

SEEDS, SEED_SPREAD = 3, 0.01
REFERENCES = {"full_dose": -1, "fbp": -2, "tv": -3, "sirt": -4}


@dataclass(frozen=True)
class Truth:
    """Noise-free scores: PSNR [dB], and Dice of liver and tumour under each network."""

    psnr: float
    frozen: tuple[float, float]
    audit: tuple[float, float]
    own: tuple[float, float] | None = None


METHODS: dict[tuple[str, float], Truth] = {
    ("reconstruction_only", 0.0): Truth(28.3, (0.67, 0.20), (0.66, 0.19)),
    ("task_adaptive", 0.5): Truth(28.0, (0.85, 0.35), (0.75, 0.26)),
    ("task_adaptive", 0.9): Truth(27.5, (0.86, 0.40), (0.74, 0.26)),
    ("task_adaptive", 0.99): Truth(25.0, (0.87, 0.42), (0.68, 0.20)),
    ("joint", 0.5): Truth(28.2, (0.65, 0.18), (0.66, 0.18), (0.86, 0.38)),
    ("sequential", 0.5): Truth(28.3, (0.66, 0.19), (0.66, 0.19), (0.84, 0.36)),
    ("end_to_end", 1.0): Truth(14.0, (0.30, 0.05), (0.31, 0.05), (0.85, 0.37)),
    ("fine_tune", 0.9): Truth(27.8, (0.84, 0.38), (0.73, 0.25)),
}
REFERENCE_TRUTH = {
    "full_dose": Truth(np.inf, (0.92, 0.55), (0.90, 0.50)),
    "fbp": Truth(22.0, (0.30, 0.05), (0.30, 0.05)),
    "tv": Truth(26.0, (0.48, 0.12), (0.47, 0.11)),
    "sirt": Truth(25.0, (0.45, 0.10), (0.45, 0.10)),
}


def trials() -> list[dict[str, object]]:
    """The 24 trials in the order of the file: all methods with seed 0, then 1, then 2."""
    points = [(seed, mode, alpha) for seed in range(SEEDS) for mode, alpha in METHODS]
    return [
        {
            "trial": k,
            "mode": mode,
            "alpha": alpha,
            "seed": seed,
            "own_task_network": "scratch" if mode == "joint" else "pretrained",
        }
        for k, (seed, mode, alpha) in enumerate(points)
    ]


def write_seed_table(folder: Path, *, patients: int = 1, slices: int = 49, pixels: int = 64) -> Path:
    """Write the study folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, samples, judged, audits = [], [], [], []
    planned = [(t, METHODS[str(t["mode"]), float(str(t["alpha"]))]) for t in trials()]
    planned += [({"trial": REFERENCES[name], "mode": name}, REFERENCE_TRUTH[name]) for name in REFERENCES]
    for trial, truth in planned:
        scored = _slices(trial, truth, patients, slices)
        audited = _slices(trial, truth, patients, slices, audit=True)
        samples.append(scored)
        rows.append(_row(trial, _summary(scored)))
        judged.append(_evaluation(trial, plain_scores(audited)))
        audits.append(_audited_slices(audited))
    write_table(folder / StudyFolder.results, pd.DataFrame(rows))
    write_table(folder / StudyFolder.samples, pd.concat(samples, ignore_index=True))
    pd.DataFrame(judged).to_parquet(folder / "evaluations.parquet", index=False)
    pd.concat(audits).to_parquet(folder / "evaluation-samples.parquet", index=False)
    (folder / StudyFolder.card).write_text(json.dumps(_card()))
    _write_panels(StudyFolder(folder), pixels)
    return folder


def _slices(
    trial: dict[str, object], truth: Truth, patients: int, slices: int, audit: bool = False
) -> pd.DataFrame:
    number = int(str(trial["trial"]))
    noise = np.random.default_rng(100 + number)
    offset = 0.0 if number < 0 else SEED_SPREAD * noise.normal()
    grid = pd.MultiIndex.from_product(
        [[f"volume-{k}" for k in range(patients)], range(slices)], names=[S.PATIENT, S.SLICE_INDEX]
    )
    frame = grid.to_frame(index=False)
    frame.insert(0, S.SPLIT, "validation")
    frame.insert(0, S.METHOD, str(trial["mode"]))
    frame.insert(0, S.TRIAL, number)
    frame[S.PRIMARY_PSNR] = truth.psnr + 10 * offset + 0.3 * noise.normal(size=len(frame))
    frame[S.PRIMARY_SSIM] = 1.0 if np.isinf(truth.psnr) else 0.5 + frame[S.PRIMARY_PSNR] / 100
    networks = {"": truth.audit if audit else truth.frozen}
    networks |= {S.OWN_NETWORK_SUFFIX: truth.own} if truth.own and not audit else {}
    for suffix, dice in networks.items():
        for structure, value, pixels in zip(S.STRUCTURES, dice, (2000, 100), strict=True):
            each = np.clip(value + offset + 0.03 * noise.normal(size=len(frame)), 0, 1)
            for part, count in (
                ("true", pixels),
                ("predicted", pixels),
                ("overlap", np.rint(pixels * each).astype(int)),
            ):
                frame[f"{structure}_{part}_pixels{suffix}"] = count
    return frame


def _summary(scored: pd.DataFrame) -> dict[str, float]:
    summary = plain_scores(scored)
    own = {f"{c}{S.OWN_NETWORK_SUFFIX}": c for c in S.COUNTS}
    if set(own) <= set(scored):
        under_own = plain_scores(scored.drop(columns=list(S.COUNTS)).rename(columns=own))
        summary |= {f"{name}{S.OWN_NETWORK_SUFFIX}": v for name, v in under_own.items() if "dice" in name}
    return summary


def _row(trial: dict[str, object], metrics: dict[str, float]) -> dict[str, object]:
    is_reference = int(str(trial["trial"])) < 0
    config = {} if is_reference else {k: v for k, v in trial.items() if k != "trial"}
    return {
        S.STUDY: "seed_table",
        S.TRIAL: trial["trial"],
        S.METHOD: trial["mode"],
        S.SPLIT: "validation",
        S.EPOCH: 0 if is_reference else 20,
        S.STATUS: S.REFERENCE if is_reference else S.COMPLETE,
        S.FAILURE_REASON: None,
        **{S.CONFIG_PREFIX + name: value for name, value in config.items()},
        S.CONFIG_PREFIX + "architecture": None if is_reference else "unet",
        S.SECONDS: None if is_reference else 400.0,
        S.DATA_HASH: "data-real",
        S.METRIC_POLICY: S.POLICY_TEXT,
        S.TASK_NETWORK_HASH: "network-a",
        **metrics,
    }


def _evaluation(trial: dict[str, object], audited: dict[str, float]) -> dict[str, object]:
    return {
        S.TRIAL: trial["trial"],
        S.METHOD: trial["mode"],
        S.SPLIT: "validation",
        S.DATA_HASH: "data-real",
        S.TASK_NETWORK_HASH: "network-a",
        S.AUDIT_NETWORK_HASH: "network-b",
        **{f"{name}{S.AUDIT_NETWORK_SUFFIX}": value for name, value in audited.items() if "dice" in name},
    }


def _audited_slices(audited: pd.DataFrame) -> pd.DataFrame:
    """The slices' counts under the second network, as ``taskct evaluate --audit`` keeps them."""
    keys = {S.DATA_HASH: "data-real", S.AUDIT_NETWORK_HASH: "network-b"}
    names = {count: f"{count}{S.AUDIT_NETWORK_SUFFIX}" for count in S.COUNTS}
    return audited.drop(columns=[S.PRIMARY_PSNR, S.PRIMARY_SSIM]).rename(columns=names).assign(**keys)


def _card() -> dict[str, object]:
    return {
        "name": "seed_table",
        "objectives": [S.PRIMARY_DICE, S.PRIMARY_PSNR],
        "config": {"name": "seed_table", "study": {"trials": SEEDS * len(METHODS)}},
    }


def _write_panels(folder: StudyFolder, pixels: int) -> None:
    folder.panels.mkdir(exist_ok=True)
    shown = [{S.PATIENT: "volume-0", S.SLICE_INDEX: k, S.SPLIT: "validation"} for k in (10, 24, 40)]
    folder.panel_slices.write_text(json.dumps(shown))
    image, label = panel_arrays(pixels, len(shown))
    np.savez_compressed(folder.panel_truth, label=label)
    noise = np.random.default_rng(5)
    named = [("full_dose", 0.0), ("fbp", 0.02), ("tv", 0.004), ("sirt", 0.006)]
    named += [(f"trial-{t['trial']:04d}", 0.002) for t in trials()]
    for name, strength in named:
        noisy = image + strength * noise.normal(size=image.shape)
        prediction = np.roll(label, round(400 * strength), axis=2)
        np.savez_compressed(folder.panel(name), image=noisy.astype(np.float16), prediction=prediction)
