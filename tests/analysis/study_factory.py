"""Writes synthetic study folders with a known trade-off; nothing in them comes from a CT.

Ground truth, on every slice and before the patient's offset and the slice's noise::

    PSNR [dB]   = 32 + bonus(architecture) - 3 alpha^2
    liver Dice  = 0.70 + 0.20 sqrt(alpha)
    tumour Dice = 0.40 + 0.30 sqrt(alpha)

so Dice rises and PSNR falls with alpha, and the front of one architecture is its whole alpha range.
Scores in ``results.parquet`` are computed from the slices by plain loops, apart from ``analysis``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder

BONUS_DB = {"unet": 0.0, "learned_primal_dual": 1.0, "dncnn": -1.0}
REFERENCES = {"full_dose": -1, "fbp": -2, "tv": -3}
# (PSNR, liver Dice, tumour Dice) of the references; the full-dose image has no PSNR against itself.
REFERENCE_SCORES = {"full_dose": (np.inf, 0.95, 0.80), "fbp": (26.0, 0.60, 0.30), "tv": (28.0, 0.66, 0.36)}
PIXELS = {"liver": 1000, "tumour": 200}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the synthetic study holds."""

    name: str = "synthetic"
    trials: int = 12  # configurations that complete, each trained with every seed
    seeds: int = 1
    pruned: int = 1
    failed: int = 1
    running: int = 1
    epochs: int = 3
    patients: int = 5
    slices: int = 4
    architectures: tuple[str, ...] = ("unet", "learned_primal_dual")
    test_split: bool = True
    references: bool = True
    samples: bool = True
    panels: bool = True
    configs: bool = True
    equal: bool = False  # every trial scores the same
    photons_per_ray: float = 4096.0
    data_hash: str = "data-a"
    noise: float = 0.3
    seed: int = 0


def write_study(folder: Path, recipe: Recipe | None = None) -> Path:
    """Write the study folder and return it."""
    recipe = recipe or Recipe()
    folder.mkdir(parents=True, exist_ok=True)
    trials = plan(recipe)
    samples = _samples(recipe, trials)
    results = _results(recipe, trials, samples)
    write_table(folder / StudyFolder.results, results)
    if recipe.samples:
        write_table(folder / StudyFolder.samples, samples)
    (folder / StudyFolder.card).write_text(json.dumps(_study_card(recipe)))
    if recipe.configs:
        _write_configs(folder, trials)
    if recipe.panels:
        _write_panels(folder, trials)
    return folder


def write_table(path: Path, table: pd.DataFrame, version: str | None = str(S.RESULTS_FORMAT_VERSION)) -> None:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    if version is not None:
        arrow = arrow.replace_schema_metadata(
            {**(arrow.schema.metadata or {}), b"taskct_format": version.encode()}
        )
    pq.write_table(arrow, path, write_page_checksum=True)


def plan(recipe: Recipe) -> list[dict[str, Any]]:
    """The trials: number, status and configuration. Alpha is a grid over every architecture."""
    statuses = [S.COMPLETE] * recipe.trials * recipe.seeds
    statuses += [S.PRUNED] * recipe.pruned + [S.FAIL] * recipe.failed + [S.RUNNING] * recipe.running
    grid = max(1, -(-recipe.trials // len(recipe.architectures)) - 1)
    planned = []
    for number, status in enumerate(statuses):
        configuration = number // recipe.seeds
        alpha = round((configuration // len(recipe.architectures)) % (grid + 1) / grid, 6)
        planned.append(
            {
                "trial": number,
                "status": status,
                "method": "reconstruction_only" if alpha == 0 else "task_adaptive",
                "mode": "reconstruction_only" if alpha == 0 else "task_adaptive",
                "alpha": 0.5 if recipe.equal else alpha,
                "architecture": recipe.architectures[configuration % len(recipe.architectures)],
                "image_loss": ("mse", "l1")[configuration % 4 // 2],
                "task_loss": "dice_ce",
                "learning_rate": float(10.0 ** -(2 + configuration % 3)),
                "width": 16.0 if configuration % 2 == 0 else np.nan,
                "seed": number % recipe.seeds,
            }
        )
    return planned


def expected(trial: dict[str, Any], equal: bool = False) -> tuple[float, float, float]:
    """The noise-free PSNR, liver Dice and tumour Dice of a configuration."""
    bonus = 0.0 if equal else BONUS_DB[trial["architecture"]]
    root = np.sqrt(trial["alpha"])
    return 32 + bonus - 3 * trial["alpha"] ** 2, 0.70 + 0.20 * root, 0.40 + 0.30 * root


def _samples(recipe: Recipe, trials: list[dict[str, Any]]) -> pd.DataFrame:
    blocks = []
    for split in ("validation", "test") if recipe.test_split else ("validation",):
        patients = [f"{split}-{k}" for k in range(recipe.patients)]
        grid = pd.MultiIndex.from_product([patients, range(recipe.slices)], names=[S.PATIENT, S.SLICE_INDEX])
        shared = np.random.default_rng([recipe.seed, len(split)])
        patient_offset = np.repeat(shared.normal(0, 1, recipe.patients), recipe.slices)
        finished = [t for t in trials if t["status"] == S.COMPLETE or split == "validation"]
        finished = [t for t in finished if t["status"] not in (S.FAIL, S.RUNNING)]
        scored = [(t["trial"], t["method"], expected(t, recipe.equal)) for t in finished]
        if recipe.references:
            scored += [(REFERENCES[name], name, REFERENCE_SCORES[name]) for name in REFERENCES]
        for number, method, scores in scored:
            noise = np.random.default_rng([recipe.seed, len(split), number + 10])
            frame = grid.to_frame(index=False)
            frame.insert(0, S.TRIAL, number)
            frame.insert(1, S.METHOD, method)
            frame.insert(2, S.SPLIT, split)
            _add_scores(frame, scores, patient_offset, 0.0 if recipe.equal else recipe.noise, noise)
            blocks.append(frame)
    if not blocks:
        return pd.DataFrame(columns=[S.TRIAL, S.METHOD, S.SPLIT, S.PATIENT, S.SLICE_INDEX, *S.COUNTS])
    return pd.concat(blocks, ignore_index=True)


def _add_scores(frame: pd.DataFrame, scores: tuple[float, ...], offset: Any, noise: float, draw: Any) -> None:
    psnr, liver, tumour = scores
    jitter = noise * draw.normal(0, 1, len(frame))
    for region, shift in zip(S.IMAGE_METRIC_REGIONS, (0.0, 2.0, -8.0, -9.0), strict=True):
        frame[f"psnr_{region}"] = psnr + shift + 0.5 * offset + jitter
        ssim = 1.0 if np.isinf(psnr) else 0.5 + psnr / 100
        frame[f"ssim_{region}"] = np.clip(ssim + 0.01 * offset + 0.01 * jitter, 0, 1)
    for structure, dice in (("liver", liver), ("tumour", tumour)):
        pixels = PIXELS[structure]
        value = np.clip(dice + 0.01 * offset + 0.05 * noise * draw.normal(0, 1, len(frame)), 0, 1)
        # No tumour on every patient's first slice, in truth or prediction: the empty policies differ there.
        there = np.ones(len(frame), bool) if structure == "liver" else frame[S.SLICE_INDEX].to_numpy() > 0
        frame[f"{structure}_true_pixels"] = np.where(there, pixels, 0)
        frame[f"{structure}_predicted_pixels"] = np.where(there, pixels, 0)
        frame[f"{structure}_overlap_pixels"] = np.where(there, np.rint(pixels * value), 0).astype(int)
        frame[f"{structure}_surface_pixels"] = np.where(there, 100, 0)
        frame[f"{structure}_surface_within"] = np.where(there, np.rint(100 * value), 0).astype(int)
        frame[f"hd95_{structure}"] = np.where(there, 20 * (1 - value), np.nan)
    for name, count in zip(S.COMPONENT_COUNTS, (3, 2, 1), strict=True):
        frame[name] = np.where(frame[S.SLICE_INDEX] > 0, count, 0)


def _results(recipe: Recipe, trials: list[dict[str, Any]], samples: pd.DataFrame) -> pd.DataFrame:
    by_trial = dict(iter(samples.groupby([S.TRIAL, S.SPLIT])))
    rows = []
    for trial in trials:
        validation = by_trial.get((trial["trial"], "validation"))
        metrics = plain_scores(validation) if validation is not None else {}
        done = recipe.epochs if trial["status"] == S.COMPLETE else 1
        for epoch in range(1, done + 1):
            share = 1 - 0.1 * (done - epoch)
            rows.append(_row(recipe, trial, "validation", epoch, {k: v * share for k, v in metrics.items()}))
        if (trial["trial"], "test") in by_trial:
            rows.append(_row(recipe, trial, "test", done, plain_scores(by_trial[trial["trial"], "test"])))
    for name, number in REFERENCES.items() if recipe.references else ():
        for split in ("validation", "test") if recipe.test_split else ("validation",):
            reference = {"trial": number, "method": name, "status": S.REFERENCE}
            rows.append(_row(recipe, reference, split, 0, plain_scores(by_trial[number, split])))
    table = pd.DataFrame(rows)
    return table.reindex(columns=list(dict.fromkeys([*table.columns, *S.METRICS])))


def _row(
    recipe: Recipe, trial: dict[str, Any], split: str, epoch: int, metrics: dict[str, float]
) -> dict[str, Any]:
    config = {S.CONFIG_PREFIX + k: v for k, v in trial.items() if k not in ("trial", "status", "method")}
    cost = {S.SECONDS: 20.0 * epoch, S.PARAMETERS: 12345, S.LOSS: 1.0 / (epoch + 1)} if config else {}
    return {
        S.STUDY: recipe.name,
        S.TRIAL: trial["trial"],
        S.METHOD: trial["method"],
        S.SPLIT: split,
        S.EPOCH: epoch,
        S.STATUS: trial["status"],
        S.FAILURE_REASON: "loss is not finite (synthetic)" if trial["status"] == S.FAIL else None,
        **config,
        **cost,
        S.SEED: trial.get("seed"),
        S.DATA_HASH: recipe.data_hash,
        S.METRIC_POLICY: S.POLICY_TEXT,
        S.CONFIG_HASH: f"hash-of-{trial['trial']}",
        S.TASK_NETWORK_HASH: "task-network-synthetic",
        S.GIT_COMMIT: "0000000",
        S.FINISHED_AT: f"2026-01-01T00:{abs(trial['trial']) % 60:02d}:00+00:00",
        "version_torch": "2.13.0",
        **metrics,
    }


def plain_scores(samples: pd.DataFrame) -> dict[str, float]:
    """All metrics of one trial and split by plain loops over slices and patients."""
    scores = {name: float(samples[name].mean()) for name in S.METRICS if name in samples}
    counts = samples[[S.PATIENT, *S.COUNTS]]
    for scope in S.DICE_SCOPES:
        pooled = counts if scope == "slice" else counts.groupby(S.PATIENT, as_index=False).sum()
        for empty in S.EMPTY_POLICIES:
            pair = [_plain_dice(pooled, structure, empty) for structure in S.STRUCTURES]
            scores[f"dice_liver_{scope}_{empty}"], scores[f"dice_tumour_{scope}_{empty}"] = pair
            scores[f"dice_mean_{scope}_{empty}"] = float(np.nanmean(pair))
    return scores | (_plain_boundary_scores(samples) if set(S.SURFACE_COUNTS) <= set(samples) else {})


def _plain_boundary_scores(samples: pd.DataFrame) -> dict[str, float]:
    scores: dict[str, float] = {}
    sums = samples.groupby(S.PATIENT)[[name for name in samples if name.endswith(("pixels", "within"))]].sum()
    for structure in S.STRUCTURES:
        within, pixels = (sums[f"{structure}_surface_{part}"].tolist() for part in ("within", "pixels"))
        scores[f"surface_dice_{structure}"] = _mean_share(within, pixels)
        true, found = (sums[f"{structure}_{part}_pixels"].tolist() for part in ("true", "predicted"))
        errors = [100 * abs(f - t) for f, t in zip(found, true, strict=True)]
        scores[f"volume_error_{structure}"] = _mean_share(errors, true)
    true, hit, false = (float(samples[name].sum()) for name in S.COMPONENT_COUNTS)
    if true:
        scores |= {"tumour_recall": hit / true, "tumour_f1": 2 * hit / (hit + true + false)}
    return scores


def _mean_share(parts: list[float], wholes: list[float]) -> float:
    """Mean over patients of part / whole, of those that have any."""
    shares = [part / whole for part, whole in zip(parts, wholes, strict=True) if whole]
    return sum(shares) / len(shares) if shares else float("nan")


def _plain_dice(pooled: pd.DataFrame, structure: str, empty: str) -> float:
    values = []
    for true, predicted, overlap in zip(
        *(pooled[f"{structure}_{part}_pixels"].tolist() for part in ("true", "predicted", "overlap")),
        strict=True,
    ):
        if true + predicted == 0:
            values.append(1.0 if empty == "lits" else np.nan)
        elif true == 0 and empty == "monai":
            values.append(np.nan)
        else:
            values.append(2 * overlap / (true + predicted))
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _study_card(recipe: Recipe) -> dict[str, Any]:
    simulation = {
        "preset": "tiny",
        "photons_per_ray": recipe.photons_per_ray,
        "fbp_filter": "hann",
        "seed": 0,
    }
    return {
        "name": recipe.name,
        "objectives": [S.PRIMARY_DICE, S.PRIMARY_PSNR],
        "config": {
            "name": recipe.name,
            "output": "runs",
            "simulation": simulation,
            "study": {"trials": recipe.trials, "sampler": {"name": "tpe"}, "pruner": {"name": "asha"}},
        },
        "dataset": {
            "simulation": simulation,
            "source": {"kind": "phantom"},
            "patients": {"train": 6, "validation": recipe.patients, "test": recipe.patients},
            "content_hash": recipe.data_hash,
        },
        "task_network": {"architecture": "unet", "window_hu": [-200, 250], "content_hash": "synthetic"},
    }


def _write_configs(folder: Path, trials: list[dict[str, Any]]) -> None:
    for trial in trials:
        path = StudyFolder(folder).trial(trial["trial"]).config
        path.parent.mkdir(parents=True, exist_ok=True)
        config = {k: v for k, v in trial.items() if k not in ("trial", "status", "method", "width")}
        path.write_text(yaml.safe_dump(config))


def _write_panels(folder: Path, trials: list[dict[str, Any]], size: int = 64) -> None:
    path = folder / StudyFolder.panels
    path.mkdir(exist_ok=True)
    slices = [{"patient": f"test-{k}", "slice_index": k, "split": "test"} for k in range(2)]
    StudyFolder(folder).panel_slices.write_text(json.dumps(slices))
    image, label = panel_arrays(size, 2)
    np.savez_compressed(path / "truth.npz", label=label)
    drawn = [("full_dose", 0.0, 0), ("fbp", 0.01, 3)]
    drawn += [
        (f"trial-{t['trial']:04d}", 0.002 * t["alpha"], 2 - round(2 * t["alpha"]))
        for t in trials
        if t["status"] == S.COMPLETE
    ]
    for name, noise, shift in drawn:
        noisy = image + noise * np.random.default_rng(7).normal(size=image.shape)
        np.savez_compressed(
            path / f"{name}.npz", image=noisy.astype(np.float16), prediction=np.roll(label, shift, axis=2)
        )


def panel_arrays(size: int, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc with a square "liver" and a round "tumour": normalised attenuation and labels (slice, H, W),
    every other slice upside down."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    label = np.where((abs(x + 0.1) < 0.18) & (abs(y) < 0.2), S.LIVER, 0)
    label = np.where((x + 0.1) ** 2 + y**2 < 0.06**2, S.TUMOUR, label).astype(np.uint8)
    attenuation = (
        np.where(x**2 + y**2 < 0.2, 20.4, 0.02) + 1.6 * (label == S.LIVER) + 0.8 * (label == S.TUMOUR)
    )
    image = (attenuation / 81.35858).astype(np.float32)
    images, labels = ([[array, array[::-1]][k % 2] for k in range(slices)] for array in (image, label))
    return np.stack(images), np.stack(labels)
