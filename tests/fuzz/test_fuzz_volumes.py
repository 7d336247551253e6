"""Mutated NIfTI and DICOM files: each ends in a taskct error or is read, never in a traceback, a hang or a bomb.

Seeded: ``TASKCT_FUZZ_SEED`` starts elsewhere; ``TASKCT_FUZZ_SECONDS`` gives each kind of file more than its 8 s.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "taskct_core"))  # importlib mode: the abdomen's module

from abdomen import make_abdomen, write_dicom_patient, write_lits

from taskct_core.errors import TaskctError
from taskct_core.volumes import list_patients, read_volume

SEED = int(os.environ.get("TASKCT_FUZZ_SEED", "0"))
SECONDS = float(os.environ.get("TASKCT_FUZZ_SECONDS", "8"))
MOST_INPUTS = 20 if "TASKCT_FUZZ_SECONDS" not in os.environ else 10**6
SLOWEST = 5.0  # processor seconds for one input
HU, LABELS = make_abdomen()


def flipped_bits(raw: bytearray, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 9)):
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))


def random_header_bytes(raw: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(min(len(raw), 1200)))
    count = int(rng.integers(1, 9))
    raw[start : start + count] = rng.bytes(count)


def extreme_bytes(raw: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(min(len(raw), 1200)))
    raw[start : start + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f"][
        rng.integers(4)
    ]


def cut(raw: bytearray, rng: np.random.Generator) -> None:
    del raw[int(rng.integers(len(raw))) :]


def doubled_block(raw: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(raw)))
    raw[start:start] = raw[start : start + int(rng.integers(1, 400))]


def lost_block(raw: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(min(len(raw), 1500)))
    del raw[start : start + int(rng.integers(1, 60))]


MUTATIONS: list[Callable[[bytearray, np.random.Generator], None]] = [
    flipped_bits,
    random_header_bytes,
    extreme_bytes,
    cut,
    doubled_block,
    lost_block,
]


def mutated(files: list[Path]) -> Iterator[str]:
    """Mutate one of the files at a time, name what was done, and restore it."""
    start = time.monotonic()
    for number in range(MOST_INPUTS):
        if time.monotonic() - start > SECONDS:
            return
        rng = np.random.default_rng([SEED, number])
        file = files[int(rng.integers(len(files)))]
        original = file.read_bytes()
        raw = bytearray(original)
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        mutation(raw, rng)
        file.write_bytes(raw)
        yield f"seed {SEED}, input {number}: {mutation.__name__} of {file.name}"
        file.write_bytes(original)


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "dicom"])
def test_mutated_volumes_end_in_an_error_or_are_read(tmp_path: Path, kind: str) -> None:
    if kind == "dicom":
        write_dicom_patient(tmp_path / "p")
    else:
        write_lits(tmp_path, ending=f".{kind}")
    files = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    count = 0
    for what in mutated(files):
        count += 1
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for reference in list_patients("dicom" if kind == "dicom" else "lits", tmp_path):
                    volume = read_volume(reference)
                    assert np.isfinite(volume.hu).all() and volume.labels.max() <= 2
            except TaskctError as error:
                assert error.rule and error.received and error.next_step
            except Exception as error:
                pytest.fail(f"{what}: {type(error).__name__}: {error}")
        assert time.process_time() - began < SLOWEST, what
    assert count >= 3
