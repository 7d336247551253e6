"""Which projector is the fastest for each operation on this machine's CPU: measured once, and kept.

The measurement takes some tenths of a second, and its record is a small file in the cache folder. It
holds for all scans of one class: image size, bins, bins a pixel. One choice serves all batches, so that
results do not depend on the batch: a kernel is chosen where it is at least as fast as the matrix for
one image and for several. All processes of a machine follow the record; where none can be kept, they
do not measure, but take the same kernel all.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from taskct_core.contracts.files import parse_json
from taskct_core.geometry import ParallelBeam
from taskct_core.projection.cache import cache_folder
from taskct_core.projection.kernel import (
    BORDER,
    KERNEL_VERSION,
    STRIP,
    KernelProjector,
    kernel_compiler,
    kernels,
)
from taskct_core.projection.matrices import MATRIX_VERSION
from taskct_core.projection.symmetric import SymmetricProjector
from taskct_core.projection.symmetry import base_bins, fold_image, fold_sinogram

PORTABLE = "portable"  # the sparse matrix
OPERATIONS = ("project", "backproject")
BATCHES = (1, 4)
TURNS = 4  # of which the fastest counts, since other processes only slow a turn down
MOST_WEIGHTS = 1_500_000  # of the measured matrix, so that building it takes some tenths of a second


def fastest_projectors(geometry: ParallelBeam) -> dict[str, str]:
    """For each of ``OPERATIONS``, ``PORTABLE`` or one of ``kernels()``.

    Args:
        geometry: a scan for which ``is_symmetric`` holds.
    """
    if not kernels():
        return dict.fromkeys(OPERATIONS, PORTABLE)
    scan = _representative(geometry)
    key = {
        "scan": scan.to_dict(),
        "processor": processor(),
        "kernels": [KERNEL_VERSION, *kernels()],
        "compiler": kernel_compiler(),
        "portable": [MATRIX_VERSION, torch.__version__],
    }
    try:
        return _kept_choice(key, lambda: portable_over_kernels(scan))
    except OSError:
        return dict.fromkeys(OPERATIONS, _unmeasured())


def portable_over_kernels(scan: ParallelBeam) -> dict[str, dict[str, float]]:
    """Operation -> kernel -> the matrix's processor time over the kernel's, for the batch where it is least.

    One thread, without the folding that all projectors share.
    """
    cpu = torch.device("cpu")
    portable = SymmetricProjector(scan, torch.float32, cpu, keep_matrices=False)
    compiled = {name: KernelProjector(scan, name) for name in kernels()}
    ratios: dict[str, dict[str, float]] = {operation: {} for operation in OPERATIONS}
    for batch in BATCHES:
        images, sinograms = torch.ones(batch, *scan.image_shape), torch.ones(batch, *scan.sinogram_shape)
        bordered, folded = fold_image(images, portable.edge, BORDER, STRIP), fold_image(images, portable.edge)
        folded_sinograms = fold_sinogram(sinograms)
        tasks: dict[tuple[str, str], Callable[[], object]] = {
            ("project", PORTABLE): functools.partial(portable.project_folded, folded),
            ("backproject", PORTABLE): functools.partial(portable.backproject_folded, folded_sinograms),
        }
        for name, projector in compiled.items():
            tasks["project", name] = functools.partial(projector.project_folded, bordered)
            tasks["backproject", name] = functools.partial(projector.backproject_folded, folded_sinograms)
        seconds = _seconds(tasks)
        for operation, of_kernels in ratios.items():
            for name in compiled:
                ratio = seconds[operation, PORTABLE] / seconds[operation, name]
                of_kernels[name] = min(of_kernels.get(name, ratio), ratio)
    return ratios


def processor() -> dict[str, str]:
    """This machine's processor: ``name`` and ``flags``, the latter empty where the system does not tell."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = values.get("model name") or platform.processor() or platform.machine()
    return {"name": name, "flags": values.get("flags") or values.get("Features") or ""}


def _representative(geometry: ParallelBeam) -> ParallelBeam:
    """The scan that is measured for all of its class: in pixel edges, with few angles."""
    edge = max(geometry.image_shape)
    weights_an_angle = 2 * edge * base_bins(geometry.num_bins)
    base_angles = min(geometry.num_angles // 4, max(1, MOST_WEIGHTS // weights_an_angle))
    return ParallelBeam(
        image_shape=(edge, edge),
        pixel_spacing_mm=1.0,
        num_bins=geometry.num_bins,
        bin_spacing_mm=max(0.1, round(geometry.bin_spacing_mm / geometry.pixel_spacing_mm, 1)),
        num_angles=4 * base_angles,
    )


def _seconds(tasks: dict[tuple[str, str], Callable[[], object]]) -> dict[tuple[str, str], float]:
    """Least processor time of each task in one thread, all taking turns; the first turn warms up."""
    seconds = dict.fromkeys(tasks, float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for turn in range(TURNS + 1):
            for name, task in tasks.items():
                began = time.thread_time()
                task()
                if turn:
                    seconds[name] = min(seconds[name], time.thread_time() - began)
    finally:
        torch.set_num_threads(threads)
    return seconds


def _kept_choice(key: dict[str, Any], measure: Callable[[], dict[str, dict[str, float]]]) -> dict[str, str]:
    """The record's choice; one process of the machine measures where there is none, while others wait."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    file = cache_folder() / f"fastest-projector-{digest}.json"
    if (choice := _read(file)) is not None:
        return choice
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        if (choice := _read(file)) is not None:  # measured by another process meanwhile
            return choice
        ratios = measure()
        choice = {operation: _fastest(ratios[operation]) for operation in OPERATIONS}
        _write(file, {"chosen": choice, "portable_over_kernels": ratios, "key": key})
        return choice


def _fastest(portable_over: dict[str, float]) -> str:
    name = max(portable_over, key=portable_over.__getitem__)
    return name if portable_over[name] >= 1 else PORTABLE


def _unmeasured() -> str:
    """What is expected to be the fastest: the widest kernel, unless its vectors are the baseline's."""
    return next((name for name in kernels() if name != "baseline"), PORTABLE)


def _read(file: Path) -> dict[str, str] | None:
    """A record's choice; None where it is missing, damaged or names what is not here."""
    try:
        chosen = parse_json(file.read_bytes())["chosen"]
        choice = {operation: str(chosen[operation]) for operation in OPERATIONS}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return choice if set(choice.values()) <= {PORTABLE, *kernels()} else None


def _write(file: Path, record: dict[str, Any]) -> None:
    """Whole or not at all, so that a reader never sees half a record."""
    descriptor, unfinished = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(record, stream, indent=2)
        os.replace(unfinished, file)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
