"""The whole pipeline through the command line's own function, on a small real experiment, with one Ray for all commands.

The program in processes of its own: test_installed.py beside this, and tests/study/test_slurm.py.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
import yaml

from study.cli import main
from study.cluster.ray_session import ray_session
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder

pytestmark = pytest.mark.ray

EXPERIMENT = {
    "name": "whole",
    "data": {
        "source": {"kind": "phantom", "patients": 10, "slices_per_patient": 8, "pixels": 96, "seed": 5},
        "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
    },
    "simulation": {"preset": "tiny", "num_angles": 48, "photons_per_ray": 500.0},
    "task_network": {
        "epochs": 8,
        "batch_size": 4,
        "window_hu": [-20, 200],
        "architecture_parameters": {"width": 8},
        "learning_rate": 6e-3,
    },
    "trial": {"epochs": 4, "batch_size": 4, "architecture_parameters": {"width": 8}, "learning_rate": 3e-3},
    "study": {
        "trials": 2,
        "enqueue": [{"alpha": 0.0}, {"alpha": 1.0}],
        "space": {"alpha": {"kind": "uniform", "low": 0.0, "high": 1.0}},
    },
    "execution": {"executor": "actor"},
}


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it said."""

    returncode: int
    stdout: str
    stderr: str


def taskct(*arguments: object, check: bool = True) -> Done:
    """What the program does in this process."""
    words = list(map(str, arguments))
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["taskct", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    result = Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module", autouse=True)
def one_ray() -> Iterator[None]:
    """The session that commands find open."""
    with ray_session(num_cpus=2):
        yield


@pytest.fixture(scope="module")
def finished(one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The experiment, run to its end: its YAML, its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("pipeline")
    config = folder / "whole.yaml"
    config.write_text(yaml.safe_dump(EXPERIMENT))
    result = taskct("run", config, "--set", f"output={folder / 'runs'}")
    return config, folder / "runs" / "whole", result.stdout


def _results(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "study" / StudyFolder.results)


def _last(results: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = results[results[schema.SPLIT] == split].sort_values(schema.EPOCH)
    return rows.groupby(schema.TRIAL).tail(1).set_index(schema.TRIAL)


def test_every_trial_and_reference_is_in_the_table(finished: tuple) -> None:
    _, root, output = finished
    results = _results(root)
    trials = results[results[schema.STATUS] == schema.COMPLETE]
    assert sorted(trials[schema.TRIAL].unique()) == [0, 1]
    assert set(results.loc[results[schema.STATUS] == schema.REFERENCE, schema.METHOD]) == {"full_dose", "fbp"}
    assert list(trials.groupby(schema.TRIAL)[schema.EPOCH].nunique()) == [4, 4]
    needed = [schema.DATA_HASH, schema.TASK_NETWORK_HASH, schema.CONFIG_HASH, schema.SEED, "version_torch"]
    assert not results.loc[results[schema.STATUS] == schema.COMPLETE, needed].isna().any().any()
    assert "report.html" in output


def test_the_numbers_are_those_of_training_and_not_constants(finished: tuple) -> None:
    """What would fail if a stage did nothing: learning, the dose, the task network, alpha."""
    _, root, _ = finished
    test = _last(_results(root), "test")
    trained, fbp, full = test.loc[0], test.loc[-2], test.loc[-1]
    assert trained[schema.PRIMARY_PSNR] > fbp[schema.PRIMARY_PSNR] + 1  # plain training denoises
    assert full["dice_liver_patient_nnunet"] > 0.6  # the task network finds livers it has not seen
    assert full["dice_liver_patient_nnunet"] > fbp["dice_liver_patient_nnunet"] + 0.02  # low dose hurts it
    assert test.loc[1, schema.PRIMARY_PSNR] < trained[schema.PRIMARY_PSNR] - 1  # alpha = 1 gives up fidelity
    assert np.isinf(full[schema.PRIMARY_PSNR])


def test_the_report_stands_alone_and_names_its_trials(finished: tuple) -> None:
    _, root, _ = finished
    html = (root / "study" / StudyFolder.report).read_text(encoding="utf-8")
    assert not re.search(r"<(?:script|link|img|iframe)\b[^>]*https?://", html)
    for text in (
        "trial 0",
        "Full dose",
        "FBP",
        json.loads((root / "data/dataset.json").read_text())["data_hash"][:8],
    ):
        assert text in html


def test_running_it_again_changes_nothing(finished: tuple) -> None:
    config, root, _ = finished
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.parquet") if "trials" in str(path)}
    results = _results(root)
    taskct("run", config, "--set", f"output={root.parent}")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    pd.testing.assert_frame_equal(_results(root), results)


def test_a_larger_number_of_trials_extends_the_study(finished: tuple) -> None:
    config, root, _ = finished
    taskct("study", "run", config, "--set", f"output={root.parent}", "--set", "study.trials=3")
    results = _results(root)
    assert sorted(results.loc[results[schema.TRIAL] >= 0, schema.TRIAL].unique()) == [0, 1, 2]


def test_status_tells_how_it_stands(finished: tuple) -> None:
    _, root, _ = finished
    output = taskct("study", "status", root).stdout
    assert "COMPLETE" in output or "complete" in output


def test_a_front_trial_is_exported_and_trained_again(finished: tuple, tmp_path: Path) -> None:
    """What the export writes is an experiment: training it gives the front trial's numbers."""
    _, root, _ = finished
    taskct("export", root, "--out", tmp_path / "export", "--figures", "html")
    assert (tmp_path / "export" / "tables" / "trials.csv").is_file()
    config = sorted((tmp_path / "export" / "front").glob("*.yaml"))[0]
    trial = int(config.stem.removeprefix("trial-"))
    printed = taskct("train", config, "--set", f"output={tmp_path}").stdout
    expected = _last(_results(root), "test").loc[trial, schema.PRIMARY_PSNR]
    assert f"test: {schema.METRICS[schema.PRIMARY_DICE].label}" in printed
    assert f"{expected:.3f}" in printed


def test_studies_are_compared_on_one_page(finished: tuple, tmp_path: Path) -> None:
    _, root, _ = finished
    taskct("compare", root, root, "--out", tmp_path / "comparison.html")
    assert "whole" in (tmp_path / "comparison.html").read_text(encoding="utf-8")


def test_evaluation_on_another_dose_and_by_another_network(finished: tuple) -> None:
    config, root, _ = finished
    own = f"output={root.parent}"
    dose = ["--set", own, "--set", "name=lower", "--set", "simulation.photons_per_ray=100"]
    taskct("simulate", config, *dose)
    audit = [
        "--set",
        own,
        "--set",
        "name=audit",
        "--set",
        f"dataset={root / 'data'}",
        "--set",
        "task_network.seed=9",
        "--set",
        "task_network.epochs=1",
    ]
    taskct("pretrain", config, *audit)
    lower, second = root.parent / "lower" / "data", root.parent / "audit" / "task_network"
    taskct("evaluate", root, "--trial", 0, "--data", lower, "--audit", second)
    rows = pd.read_parquet(root / "study" / "evaluations.parquet").set_index(schema.TRIAL)
    here = _last(_results(root), "test")
    assert rows.loc[-2, schema.PRIMARY_PSNR] < here.loc[-2, schema.PRIMARY_PSNR] - 1  # fewer photons
    assert rows.loc[0, schema.DATA_HASH] != here.loc[0, schema.DATA_HASH]
    assert f"{schema.PRIMARY_DICE}{schema.AUDIT_NETWORK_SUFFIX}" in rows
    slices = pd.read_parquet(root / "study" / "evaluation-samples.parquet")
    assert set(slices[schema.TRIAL]) == {-2, -1, 0}
    elsewhere = _reconstructor_of(root / "study" / "trials" / "0000", root.parent / "elsewhere.safetensors")
    unet = ["--architecture", "unet", "--architecture-parameters", "{width: 8}"]
    taskct("evaluate", root, "--trial", 0, "--checkpoint", elsewhere, *unet)
    again = pd.read_parquet(root / "study" / "evaluations.parquet")
    again = again[again[schema.DATA_HASH] == here.loc[0, schema.DATA_HASH]].set_index(schema.METHOD)
    for method in ("task_adaptive", "outside: elsewhere"):  # the same weights, by two ways
        for column in (schema.PRIMARY_PSNR, schema.PRIMARY_DICE):
            assert again.loc[method, column] == pytest.approx(here.loc[0, column], abs=1e-3)


def test_outside_checkpoints_that_cannot_be_scored(finished: tuple) -> None:
    _, root, _ = finished
    weights = _reconstructor_of(root / "study" / "trials" / "0000", root.parent / "weights.safetensors")
    for options, message in [
        (["--checkpoint", weights], "--checkpoint needs --architecture"),
        (["--checkpoint", weights, "--architecture", "dncnn"], "must hold the state_dict"),
        (["--checkpoint", root / "none.pt", "--architecture", "unet"], "must be an existing file"),
        (
            ["--checkpoint", weights, "--architecture", "unet", "--architecture-parameters", "8"],
            "YAML mapping",
        ),
    ]:
        result = taskct("evaluate", root, "--trial", 0, *options, check=False)
        assert result.returncode == 2, result.stdout + result.stderr
        assert message in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr


def _reconstructor_of(trial: Path, file: Path) -> Path:
    """The weights that the trial is scored by: those of the epoch that validation preferred."""
    checkpoint = torch.load(trial / "checkpoint.pt", weights_only=True)
    safetensors.torch.save_file(checkpoint["training"]["kept"]["weights"]["reconstructor"], file)
    return file


def test_changed_settings_are_refused_with_the_difference(finished: tuple) -> None:
    config, root, _ = finished
    own = ["--set", f"output={root.parent}"]
    for arguments, message in [
        (["simulate", config, "--set", "simulation.photons_per_ray=7"], "photons_per_ray: 500.0 -> 7"),
        (["pretrain", config, "--set", "task_network.seed=3"], "seed: 0 -> 3"),
        (["study", "run", config, "--set", "study.space={alpha: {kind: choice, values: [0.5]}}"], "space"),
        (["study", "run", config, "--set", "trial.epochs=9"], "trial settings"),
    ]:
        result = taskct(*arguments, *own, check=False)
        assert result.returncode == 2, result.stdout + result.stderr
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_the_tutorial_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of docs/tutorial.md in its order, on an experiment made smaller than the page's."""
    page = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^taskct (.+)$", "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)), re.M
    )
    assert len(commands) > 9
    monkeypatch.chdir(tmp_path)
    for command in commands:
        taskct(*shlex.split(command))
        if command.startswith("init"):
            values = yaml.safe_load(Path("mine.yaml").read_text())
            values["data"]["source"] |= {"patients": 5, "slices_per_patient": 3, "pixels": 64}
            values["simulation"]["num_angles"] = 24
            values["task_network"] |= {"epochs": 1, "architecture_parameters": {"width": 4}}
            values["trial"]["epochs"] = 1
            values["study"] |= {"trials": 2, "enqueue": values["study"]["enqueue"][:2]}
            values["execution"] = {"executor": "actor"}
            Path("mine.yaml").write_text(yaml.safe_dump(values))
    written = [
        nib.Nifti1Image.from_filename(tmp_path / f"{name}.nii.gz")
        for name in ("low_dose", "denoised", "liver")
    ]
    assert len({image.shape for image in written}) == 1
    assert all(np.array_equal(image.affine, written[0].affine) for image in written)
    for made in (
        "inspection.html",
        "runs/mine/study/report.html",
        "model/README.md",
        "runs/mine/export/front",
    ):
        assert (tmp_path / made).exists()
