"""Matrices on disk: concurrent builders, failed builders, folders that cannot be used."""

import dataclasses
import json
import multiprocessing
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from taskct_core.geometry import PRESETS
from taskct_core.projection.cache import cached_arrays
from taskct_core.projection.symmetric import SymmetricProjector


def slow_build(folder: Path) -> dict[str, np.ndarray]:
    (folder / f"built-{time.monotonic_ns()}").touch()
    time.sleep(0.3)
    return {"values": np.arange(5)}


def read_in_a_process(folder: Path, results: multiprocessing.Queue) -> None:
    arrays = cached_arrays("test", {"version": 1}, lambda: slow_build(folder))
    results.put(arrays["values"].tolist())


def test_one_of_many_processes_builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path / "cache"))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=read_in_a_process, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    assert [results.get(timeout=30) for _ in processes] == [[0, 1, 2, 3, 4]] * 4
    for process in processes:
        process.join()
    assert len(list(tmp_path.glob("built-*"))) == 1


def test_a_failed_build_leaves_nothing_and_the_next_succeeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path))

    def fail() -> dict[str, np.ndarray]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_arrays("test", {}, fail)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert cached_arrays("test", {}, lambda: {"values": np.ones(2)})["values"].tolist() == [1, 1]


def test_keys_do_not_mix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path))
    for version in (1, 2):
        made = {"values": np.array([version])}
        arrays = cached_arrays("test", {"version": version}, partial(dict, made))
        assert arrays["values"].tolist() == [version]


def test_an_unusable_folder_warns_and_builds_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="TASKCT_CACHE"):
        arrays = cached_arrays("test", {}, lambda: {"values": np.ones(1)})
    assert arrays["values"].tolist() == [1]


def test_a_reader_cannot_change_what_others_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path))
    cached_arrays("test", {}, lambda: {"values": np.zeros(3)})["values"][:] = 7
    assert cached_arrays("test", {}, dict)["values"].tolist() == [0, 0, 0]


def damage_entry(file: Path, damage: str) -> None:
    checksums = file.with_name("arrays.json")
    match damage:
        case "truncated":
            file.write_bytes(file.read_bytes()[:200])
        case "longer":
            file.write_bytes(file.read_bytes() + b"\0")
        case "doubled":
            np.save(file, 2 * np.load(file))
        case "one bit":
            values = bytearray(file.read_bytes())
            values[-5] ^= 1
            file.write_bytes(values)
        case "another array's file":
            file.write_bytes(file.with_name("more.npy").read_bytes())
        case "missing":
            file.unlink()
        case "no checksums":
            checksums.unlink()
        case "an earlier version":
            checksums.write_text('["more", "values"]')
        case "checksums not JSON":
            checksums.write_bytes(b"\xff{")
        case "an array forgotten":
            listed = json.loads(checksums.read_text())
            del listed["arrays"]["values"]
            checksums.write_text(json.dumps(listed))


DAMAGES = [
    "truncated",
    "longer",
    "doubled",
    "one bit",
    "another array's file",
    "missing",
    "no checksums",
    "an earlier version",
    "checksums not JSON",
    "an array forgotten",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_built_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str) -> None:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path))
    build = {"values": np.arange(1000.0), "more": np.arange(3)}
    cached_arrays("test", {}, lambda: build)
    (file,) = tmp_path.glob("test-*/values.npy")
    damage_entry(file, damage)
    assert cached_arrays("test", {}, lambda: build)["values"].tolist() == build["values"].tolist()
    assert cached_arrays("test", {}, dict)["values"].tolist() == build["values"].tolist()  # whole again
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.json", "more.npy", "values.npy"]


def test_a_damaged_matrix_does_not_reach_a_projection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Doubled weights were accepted, and every projection doubled."""
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path))
    scan = dataclasses.replace(PRESETS["tiny"], image_shape=(10, 10), num_bins=15, num_angles=8)
    images = torch.rand(1, 10, 10, generator=torch.Generator().manual_seed(0))
    expected = SymmetricProjector(scan, torch.float32, torch.device("cpu")).project(images)
    (file,) = tmp_path.glob("rays-*/forward_weights.npy")
    damage_entry(file, "doubled")
    actual = SymmetricProjector(scan, torch.float32, torch.device("cpu")).project(images)
    assert torch.equal(actual, expected)
