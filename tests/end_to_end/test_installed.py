"""What is installed from a wheel works without the checkout that it was built from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from taskct_core.phantom import make_phantom

pytestmark = pytest.mark.slow  # a build, and a Ray of the installed program's own

ROOT = Path(__file__).parents[2]
PACKAGES = ("analysis", "search_spaces", "study", "taskct_core")
BUILD_FILES = (
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
)


def run(command: list[str | Path], folder: Path, **environment: str) -> str:
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=outer | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, which building does not write into."""
    folder = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
    for file in (*BUILD_FILES, "constraints.txt"):
        shutil.copy(ROOT / file, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    command = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        "dist",
        ".",
    ]
    run([sys.executable, *command], source, TASKCT_PURE="1")
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def taskct(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an environment that has the wheel, and sees this one's other packages."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    python = folder / "bin" / "python"
    run(
        [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel],
        folder,
    )
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "taskct"


def test_one_wheel_serves_every_machine(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert all(f"{package}/py.typed" in names for package in PACKAGES)
    assert {"study/quickstart.yaml", "study/configs/lits.yaml", "study/configs/experiment.yaml"} <= set(names)


def test_the_sdist_has_what_it_needs_to_be_built(source: Path) -> None:
    run([sys.executable, "setup.py", "--quiet", "sdist"], source)
    (archive,) = (source / "dist").glob("*.tar.gz")
    names = {name.partition("/")[2] for name in run(["tar", "tzf", archive], source).splitlines()}
    assert {"taskct_core/projection/kernel.cpp", "study/quickstart.yaml", "study/configs/lits.yaml"} <= names


def test_the_first_hour_works_from_another_folder(taskct: Path, tmp_path: Path) -> None:
    assert "quickstart" in run([taskct, "--help"], tmp_path)
    assert "built-in phantoms" in run([taskct, "quickstart", "--help"], tmp_path)
    assert "Wrote mine.yaml" in run([taskct, "init", "mine", "--template", "quickstart"], tmp_path)


def test_a_stranger_denoises_a_scan_in_two_commands(taskct: Path, tmp_path: Path) -> None:
    volume = make_phantom(seed=7, num_slices=3, pixels=96)
    column, row, step = volume.spacing_mm[2], volume.spacing_mm[1], volume.spacing_mm[0]
    noise = np.random.default_rng(0).normal(0, 60, volume.hu.shape)
    scan = nib.Nifti1Image(
        (volume.hu + noise).astype(np.int16).transpose(2, 1, 0), np.diag([-column, -row, step, 1])
    )
    nib.save(scan, tmp_path / "scan.nii.gz")
    small = [
        "data.source={kind: phantom, patients: 5, slices_per_patient: 2, pixels: 96}",
        "simulation.num_angles=24",
        "task_network.epochs=1",
        "trial.epochs=2",
        "study.trials=1",
        "study.enqueue=[{alpha: 0.0}]",
        "execution.executor=actor",
    ]
    settings = [word for setting in small for word in ("--set", setting)]
    said = run([taskct, "quickstart", *settings], tmp_path)
    assert "Report: runs/quickstart/study/report.html" in said.replace(f"{tmp_path}/", "")
    assert "taskct reconstruct" in said.partition("Next:")[2]
    run([taskct, "reconstruct", "runs/quickstart", "scan.nii.gz", "denoised.nii.gz"], tmp_path)
    made = nib.Nifti1Image.from_filename(tmp_path / "denoised.nii.gz")
    assert made.shape == scan.shape
    np.testing.assert_allclose(made.affine, scan.affine, rtol=1e-6)  # files hold it in float32
    denoised = np.asarray(made.dataobj).transpose(2, 1, 0)
    assert not np.array_equal(denoised, volume.hu)
    assert np.corrcoef(denoised.ravel(), volume.hu.ravel())[0, 1] > 0.5
