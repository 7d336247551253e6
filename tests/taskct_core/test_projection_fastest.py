"""The choice of the projector: measured once a machine, kept, mended, and never slower than the matrix."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest
import torch

from taskct_core.geometry import PRESETS
from taskct_core.projection import fastest
from taskct_core.projection.fastest import OPERATIONS, PORTABLE, fastest_projectors, portable_over_kernels
from taskct_core.projection.kernel import kernels

pytestmark = pytest.mark.skipif(not kernels(), reason="built without a C++ compiler")
TINY = PRESETS["tiny"]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pretend(monkeypatch: pytest.MonkeyPatch, **ratios: float) -> None:
    """The matrix's time over every kernel's, for each operation."""
    measured = {operation: dict.fromkeys(kernels(), ratios[operation]) for operation in OPERATIONS}
    monkeypatch.setattr(fastest, "portable_over_kernels", lambda scan: measured)


def no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest, "portable_over_kernels", lambda scan: pytest.fail("measured again"))


def test_each_operation_takes_a_kernel_only_where_it_beats_the_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, project=1.3, backproject=0.9)
    chosen = fastest_projectors(TINY)
    assert chosen["project"] in kernels()
    assert chosen["backproject"] == PORTABLE


@pytest.mark.parametrize("preset", PRESETS)
def test_a_real_measurement_is_quick_and_leaves_no_trace(preset: str) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    began = time.process_time()
    assert set(fastest_projectors(PRESETS[preset])) == set(OPERATIONS)
    assert time.process_time() - began < 2  # some tenths, but for what else the machine does
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_the_record_is_kept_with_what_was_measured(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    chosen = fastest_projectors(TINY)
    (file,) = cache.glob("fastest-projector-*.json")
    record = json.loads(file.read_text())
    assert record["chosen"] == chosen
    for operation in OPERATIONS:
        best = max(record["portable_over_kernels"][operation].values())
        assert (chosen[operation] == PORTABLE) == (best < 1)
    assert {"name", "flags"} <= set(record["key"]["processor"])
    assert record["key"]["compiler"]
    no_measurement(monkeypatch)
    assert fastest_projectors(TINY) == chosen


def test_another_processor_measures_anew(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    pretend(monkeypatch, project=2, backproject=2)
    fastest_projectors(TINY)
    monkeypatch.setattr(fastest, "processor", lambda: {"name": "another", "flags": ""})
    pretend(monkeypatch, project=0.5, backproject=0.5)
    assert set(fastest_projectors(TINY).values()) == {PORTABLE}
    assert len(list(cache.glob("fastest-projector-*.json"))) == 2


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\xfe", b"{", b"[]", b"null", b'{"chosen": {"project": "portable"}}', None],
    ids=["empty", "not text", "cut off", "a list", "null", "half", "unknown kernel"],
)
def test_a_damaged_record_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, cache: Path, damage: bytes | None
) -> None:
    pretend(monkeypatch, project=2, backproject=0.5)
    chosen = fastest_projectors(TINY)
    (file,) = cache.glob("fastest-projector-*.json")
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"portable"', b'"avx1024"') if damage is None else damage)
    assert fastest_projectors(TINY) == chosen
    assert file.read_bytes() == whole
    assert {path.suffix for path in cache.iterdir()} <= {".json", ".lock"}  # no unfinished file is left


def test_without_a_usable_cache_all_processes_take_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TASKCT_CACHE", str(tmp_path / "file" / "below"))
    no_measurement(monkeypatch)
    first = fastest_projectors(TINY)
    assert first == fastest_projectors(TINY)
    assert len(set(first.values())) == 1


def choose_in_a_process(results: multiprocessing.Queue) -> None:
    measured = []

    def measure(scan):
        measured.append(scan)
        time.sleep(0.3)
        return portable_over_kernels(scan)

    fastest.portable_over_kernels = measure
    results.put((fastest_projectors(TINY), len(measured)))


def test_one_of_many_processes_measures() -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=choose_in_a_process, args=(results,)) for _ in range(4)]
    for process in processes:
        process.start()
    choices, measurements = zip(*(results.get(timeout=60) for _ in processes), strict=True)
    for process in processes:
        process.join()
    assert all(choice == choices[0] for choice in choices)
    assert sum(measurements) == 1
