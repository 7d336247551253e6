"""Bad input: one message with rule, value and next step, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from study.cli import main
from taskct_core.contracts.folders import DatasetFolder, TaskNetworkFolder

SHAPE = (24, 24, 4)


def _pair(folder: Path, number: int, labels: np.ndarray | None = None, **changes: np.ndarray) -> None:
    hu = changes.get("hu", np.full(SHAPE, -1000, np.int16))
    labels = np.ones(SHAPE, np.uint8) if labels is None else labels
    nib.save(nib.Nifti1Image(hu, np.eye(4)), folder / f"volume-{number}.nii.gz")
    affine = changes.get("affine", np.eye(4))
    nib.save(nib.Nifti1Image(labels, affine), folder / f"segmentation-{number}.nii.gz")


def _missing_folder(folder: Path) -> None:
    folder.rmdir()


def _empty_folder(folder: Path) -> None:
    pass


def _volume_without_label(folder: Path) -> None:
    _pair(folder, 1)
    _pair(folder, 2)
    (folder / "segmentation-2.nii.gz").unlink()


def _label_without_volume(folder: Path) -> None:
    _pair(folder, 1)
    _pair(folder, 2)
    (folder / "volume-2.nii.gz").unlink()


def _other_shapes(folder: Path) -> None:
    _pair(folder, 1, labels=np.ones((24, 24, 5), np.uint8))


def _other_affines(folder: Path) -> None:
    _pair(folder, 1, affine=np.diag([1.0, 1.0, 3.0, 1.0]))


def _unreadable(folder: Path) -> None:
    _pair(folder, 1)
    (folder / "volume-1.nii.gz").write_bytes(b"not a NIfTI file")


SOURCES: dict[Callable[[Path], None], str] = {
    _missing_folder: "does not exist",
    _empty_folder: "volume-N",
    _volume_without_label: "volume-2",
    _label_without_volume: "segmentation-2",
    _other_shapes: "(24, 24, 5)",
    _other_affines: "segmentation-1",
    _unreadable: "volume-1",
}


def _run(arguments: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr("sys.argv", ["taskct", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    error = capsys.readouterr().err
    assert caught.value.code == 2, error
    assert "Traceback" not in error
    lines = error.strip().splitlines()
    assert lines[0].startswith("Error: ")
    assert any(line.startswith("  received: ") for line in lines)
    assert any(line.startswith("  next: ") for line in lines)
    return error


@pytest.mark.parametrize("spoil", SOURCES, ids=lambda function: function.__name__.strip("_"))
def test_source(
    spoil: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "ct"
    source.mkdir()
    spoil(source)
    config = tmp_path / "experiment.yaml"
    values = {"output": str(tmp_path / "runs"), "data": {"source": {"kind": "lits", "path": str(source)}}}
    config.write_text(yaml.safe_dump(values))
    assert SOURCES[spoil] in _run(["simulate", config], monkeypatch, capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trial.alpha=1.5", "alpha must lie in [0, 1]"),
        ("trial.alpha=-0.1", "alpha"),
        ("trial.architecture=transformer9000", "unknown architecture 'transformer9000'; valid: "),
        ("trial.image_loss=mae", "unknown image loss"),
        ("trial.learnin_rate=1", "'trial.learnin_rate' is not a known key (valid here: alpha, "),
        ("simulation.photons_per_ray=0", "photons_per_ray"),
        ("study.objectives=[accuracy]", "objectives must be metric columns"),
        ("study.space={alpha: {kind: uniform, low: 0.0, high: 3.0}}", "alpha"),
        ("name=../elsewhere", "name"),
        ("nonsense", "a.b=value"),
    ],
)
def test_configuration(
    override: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "experiment.yaml"
    config.write_text(f"output: {tmp_path / 'runs'}\n")
    assert message in _run(["run", config, "--set", override], monkeypatch, capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", [None, "a: [", "- 1\n- 2\n"])
def test_yaml(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "experiment.yaml"
    if text is not None:
        config.write_text(text)
    _run(["run", config], monkeypatch, capsys)


def _config_of(small, folder: Path, **changes: object) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(json.loads(small.experiment.model_dump_json()) | changes))
    return path


def test_shards_of_another_version(
    small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(small.workspace.dataset, tmp_path / "data")
    card = data / DatasetFolder.card
    card.write_text(json.dumps(json.loads(card.read_text()) | {"format_version": 99}))
    config = _config_of(small, tmp_path, dataset=str(data))
    for command in (["pretrain"], ["train"], ["study", "run"]):
        assert "version 99" in _run([*command, config], monkeypatch, capsys)


def test_stages_in_the_wrong_order(
    small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config_of(small, tmp_path, output=str(tmp_path / "runs"))
    assert "taskct simulate" in _run(["pretrain", config], monkeypatch, capsys)
    config = _config_of(small, tmp_path, output=str(tmp_path / "runs"), dataset=str(small.workspace.dataset))
    assert "taskct pretrain" in _run(["study", "run", config], monkeypatch, capsys)
    assert "taskct pretrain" in _run(["train", config], monkeypatch, capsys)
    assert "taskct study run" in _run(["report", tmp_path], monkeypatch, capsys)
    assert "taskct study run" in _run(["evaluate", tmp_path / "nowhere"], monkeypatch, capsys)
    assert not (tmp_path / "runs").exists()


def test_a_task_network_that_was_tampered_with(
    small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = shutil.copytree(small.workspace.task_network, tmp_path / "network")
    weights = network / TaskNetworkFolder.weights
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    config = _config_of(small, tmp_path, dataset=str(small.workspace.dataset), pretrained=str(network))
    assert "hash" in _run(["study", "run", config], monkeypatch, capsys)
