"""How many times faster than ASTRA and ODL is the ray transform on one core, and is it as exact?

    python benchmarks/projector.py                      # LoDoPaB-CT's scan: 362 pixels, 1000 angles
    python benchmarks/projector.py --portable           # the matrix alone, its FBP too: without C++ or Triton
    python benchmarks/projector.py --device cuda --batch 32
    python benchmarks/projector.py --json result.json   # flat keys

Contenders take turns in every repeat, each pinned to the same core with one thread; seconds are medians
a slice, of processor time on a CPU. ``*_ratio`` is ASTRA's seconds over those of the projector that is
chosen here for each operation (``chosen``). The compiled one (Triton's on a GPU) and the portable matrix
take their turns too: ``compiled_over_portable`` has batch -> operation -> how many times faster the former is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import astra
import numpy as np
import odl
import torch
from torch import Tensor

from taskct_core.geometry import PRESETS, ParallelBeam
from taskct_core.projection import RayTransform, backends
from taskct_core.projection.astra_backend import AstraProjector, astra_geometries
from taskct_core.projection.backends import Projector, projector_for
from taskct_core.projection.fastest import PORTABLE, processor
from taskct_core.projection.filters import filter_sinogram
from taskct_core.projection.joseph import joseph_matrix
from taskct_core.projection.kernel import KernelProjector, kernel_compiler, kernels
from taskct_core.projection.symmetric import SymmetricProjector

OPERATIONS = ("forward", "adjoint", "fbp")
COMPARED_BATCHES = (1, 4)
GOALS = {"forward_ratio": 40, "adjoint_ratio": 15, "fbp_ratio": 15}


def main() -> None:
    options = parse_options()
    pin(options.device)
    if options.portable:
        backends._symmetric = SymmetricProjector
    scan = PRESETS[options.preset]
    images = ellipses(scan, options.batch).to(options.device)
    transform = RayTransform(scan)
    began = time.perf_counter()
    sinograms = transform(images)
    first_call = time.perf_counter() - began
    compiled, portable = both_projectors(scan, options.device)
    tasks = contenders(scan, transform, images, sinograms)
    for batch in sorted({*COMPARED_BATCHES, options.batch}):
        inputs = ellipses(scan, batch).to(options.device), sinograms[:1].expand(batch, -1, -1, -1).clone()
        tasks |= projector_tasks(f"portable_{batch}", portable, *inputs)
        tasks |= projector_tasks(f"compiled_{batch}", compiled, *inputs) if compiled else {}
    seconds = measure(tasks, options.repeats, options.device)
    result: dict[str, Any] = {
        "forward_ratio": seconds["astra_forward"] / seconds["forward"],
        "adjoint_ratio": seconds["astra_adjoint"] / seconds["adjoint"],
        "fbp_ratio": seconds["astra_fbp"] / seconds["fbp"],
        **{
            f"portable_{operation}_ratio": seconds[f"astra_{operation}"]
            / seconds[f"portable_{options.batch}_{operation}"]
            for operation in OPERATIONS
        },
        "compiled_over_portable": compiled_over_portable(seconds),
        "chosen": chosen(scan, images.device),
        **accuracy(scan, transform, images, sinograms),
        **{f"{name}_ms_per_slice": 1000 * value for name, value in seconds.items()},
        "first_call_s": first_call,
        **arithmetic_limit(scan, options.device),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "preset": options.preset,
        "batch": options.batch,
        "repeats": options.repeats,
        **provenance(options.device),
    }
    report(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="lodopab")
    parser.add_argument("--batch", type=int, default=4, help="slices at once for our projector")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--portable", action="store_true", help="leave compiled projectors aside: the matrix")
    parser.add_argument("--json", type=Path, help="also write the result here")
    return parser.parse_args()


def pin(device: str) -> None:
    """One core and one thread for everybody; on one core, other libraries' threads gain nothing."""
    torch.set_num_threads(1)
    if device == "cpu" and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def ellipses(scan: ParallelBeam, batch: int) -> Tensor:
    """Different sums of random ellipses of tissue-like values: (batch, 1, height, width) in [0, 1]."""
    rng = np.random.default_rng(0)
    height, width = scan.image_shape
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    images = np.zeros((batch, 1, height, width), np.float32)
    for image in images:
        image[0][rows**2 / 0.5 + columns**2 / 0.8 < 1] = 0.25
        for _ in range(8):
            centre, axes = rng.uniform(-0.45, 0.45, 2), rng.uniform(0.03, 0.2, 2)
            inside = ((rows - centre[0]) / axes[0]) ** 2 + ((columns - centre[1]) / axes[1]) ** 2 < 1
            image[0][inside] += rng.uniform(-0.05, 0.05)
    return torch.from_numpy(images)


def contenders(
    scan: ParallelBeam, transform: RayTransform, images: Tensor, sinograms: Tensor
) -> dict[str, tuple[Callable[[], Any], int]]:
    """Name -> (what to time, slices that it handles)."""
    batch = len(images)
    reference = AstraProjector(scan)
    image, sinogram = images[:1, 0].cpu(), sinograms[:1, 0].cpu()
    operator, odl_fbp = odl_operators(scan)
    odl_image = operator.domain.element(image[0].numpy())
    odl_sinogram = operator.range.element(sinogram[0].numpy())
    return {
        "forward": (lambda: transform(images), batch),
        "astra_forward": (lambda: reference.project(image), 1),
        "odl_forward": (lambda: operator(odl_image), 1),
        "adjoint": (lambda: transform.adjoint(sinograms), batch),
        "astra_adjoint": (lambda: reference.backproject(sinogram), 1),
        "odl_adjoint": (lambda: operator.adjoint(odl_sinogram), 1),
        "fbp": (lambda: transform.fbp(sinograms, "ram-lak"), batch),
        "astra_fbp": (lambda: astra_fbp(scan, sinogram[0].numpy()), 1),
        "odl_fbp": (lambda: odl_fbp(odl_sinogram), 1),
    }


def both_projectors(scan: ParallelBeam, device: str) -> tuple[Projector | None, Projector]:
    """The compiled projector of a device, where there is one, and the portable matrix."""
    portable = SymmetricProjector(scan, torch.float32, torch.device(device))
    if device == "cpu":
        return (KernelProjector(scan, next(iter(kernels()))) if kernels() else None), portable
    from taskct_core.projection.triton_projector import TritonProjector

    return TritonProjector(scan, torch.device(device)), portable


def projector_tasks(
    name: str, projector: Projector, images: Tensor, sinograms: Tensor
) -> dict[str, tuple[Callable[[], Any], int]]:
    """One projector's operations, in the form of ``contenders``."""

    def fbp() -> Tensor:
        return projector.backproject(filter_sinogram(sinograms, "ram-lak", 1.0)[:, 0])

    return {
        f"{name}_forward": (lambda: projector.project(images[:, 0]), len(images)),
        f"{name}_adjoint": (lambda: projector.backproject(sinograms[:, 0]), len(images)),
        f"{name}_fbp": (fbp, len(images)),
    }


def compiled_over_portable(seconds: dict[str, float]) -> dict[str, dict[str, float]]:
    return {
        str(batch): {
            operation: seconds[f"portable_{batch}_{operation}"] / seconds[f"compiled_{batch}_{operation}"]
            for operation in OPERATIONS
        }
        for batch in COMPARED_BATCHES
        if f"compiled_{batch}_forward" in seconds
    }


def chosen(scan: ParallelBeam, device: torch.device) -> dict[str, str]:
    """What carries out each operation: a kernel's name, ``portable`` or a projector's class."""
    projector = projector_for(scan, torch.float32, device)
    # A projector of two parts has their bound methods.
    methods = {"forward": projector.project, "adjoint": projector.backproject}
    parts = {operation: getattr(method, "__self__", None) for operation, method in methods.items()}
    names = {
        operation: PORTABLE if isinstance(part, SymmetricProjector) else type(part).__name__
        for operation, part in parts.items()
    }
    names |= {
        operation: part.kernel for operation, part in parts.items() if isinstance(part, KernelProjector)
    }
    return {**names, "fbp": names["adjoint"]}


def odl_operators(scan: ParallelBeam) -> tuple[Any, Any]:
    half_image = np.array(scan.image_shape) * scan.pixel_spacing_mm / 2000
    half_detector = scan.num_bins * scan.bin_spacing_mm / 2000
    space = odl.uniform_discr(-half_image, half_image, scan.image_shape, dtype="float32")
    tomo = odl.applications.tomo
    odl_scan = tomo.Parallel2dGeometry(
        odl.uniform_partition(0, np.pi, scan.num_angles),
        odl.uniform_partition(-half_detector, half_detector, scan.num_bins),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the CPU is slow is the question
        operator = tomo.RayTransform(space, odl_scan, impl="astra_cpu")
        return operator, tomo.fbp_op(operator, filter_type="Ram-Lak")


def astra_fbp(scan: ParallelBeam, sinogram: np.ndarray) -> np.ndarray:
    """ASTRA's own filtered back-projection, in 1/m."""
    volume, projection = astra_geometries(scan)
    projector = astra.create_projector("linear", projection, volume)
    data = astra.data2d.create("-sino", projection, sinogram)
    result = astra.data2d.create("-vol", volume, 0.0)
    config = astra.astra_dict("FBP")
    config |= {"ProjectorId": projector, "ProjectionDataId": data, "ReconstructionDataId": result}
    config["FilterType"] = "ram-lak"
    algorithm = astra.algorithm.create(config)
    astra.algorithm.run(algorithm)
    image = astra.data2d.get(result) / (scan.pixel_spacing_mm / 1000)
    astra.algorithm.delete(algorithm)
    astra.data2d.delete([data, result])
    astra.projector.delete(projector)
    return image


def measure(tasks: dict[str, tuple[Callable[[], Any], int]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds a slice of each task, all tasks taking turns; the first turn warms up.

    On a CPU these are seconds of the one thread's processor time, so that waiting for other processes
    does not count.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(repeats + 1):
        for name, (task, slices) in tasks.items():
            began = clock()
            task()
            if device != "cpu":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append((clock() - began) / slices)
    return {name: statistics.median(values) for name, values in seconds.items()}


def accuracy(
    scan: ParallelBeam, transform: RayTransform, images: Tensor, sinograms: Tensor
) -> dict[str, float]:
    """Relative L2 differences: from ASTRA, and of both from the weights in float64 on some angles."""
    image, sinogram = images[0, 0].cpu(), sinograms[0, 0].cpu()
    by_astra = AstraProjector(scan).project(image[None])[0]
    some = np.linspace(0, scan.num_angles - 1, 20).astype(int)
    matrix = joseph_matrix(scan, scan.angles[some], scan.num_bins)
    exact = (matrix @ image.double().flatten().numpy()).reshape(len(some), -1) * scan.pixel_spacing_mm / 1000
    weights = torch.rand(sinograms.shape, generator=torch.Generator().manual_seed(0)).to(sinograms)
    left = (sinograms.double() * weights.double()).sum()
    right = (images.double() * transform.adjoint(weights).double()).sum()
    fbp = transform.fbp(sinograms, "ram-lak")[0, 0].cpu()
    return {
        "forward_error": relative(sinogram, by_astra),
        "forward_error_float64": relative(sinogram[some], torch.from_numpy(exact)),
        "astra_forward_error_float64": relative(by_astra[some], torch.from_numpy(exact)),
        "adjointness_error": float(abs(left - right) / abs(left)),
        "fbp_error": relative(fbp, torch.from_numpy(astra_fbp(scan, sinogram.numpy()))),
    }


def relative(value: Tensor, reference: Tensor) -> float:
    return float((value.double() - reference.double()).norm() / reference.double().norm())


def arithmetic_limit(scan: ParallelBeam, device: str) -> dict[str, float]:
    """Milliseconds that one slice's multiplications and additions take at this core's matrix speed."""
    base = scan.angles[: scan.num_angles // 4]
    weights = 4 * sum(joseph_matrix(scan, base[[k]], scan.num_bins).nnz for k in range(0, len(base), 10))
    weights *= len(base) / len(range(0, len(base), 10))
    square = torch.rand(2048, 2048, device=device)
    speed = 2 * 2048**3 / measure({"": (lambda: square @ square, 1)}, 5, device)[""]
    return {"non_zeros": weights, "arithmetic_limit_ms": 1000 * 2 * weights / speed, "gflops": speed / 1e9}


def provenance(device: str) -> dict[str, str | None]:
    name = torch.cuda.get_device_name() if device.startswith("cuda") else processor()["name"]
    packages = {f"version_{name}": version(name) for name in ("torch", "astra-toolbox", "odl", "numpy")}
    return {
        "hardware": name,
        "processor_flags": processor()["flags"],
        "compiler": kernel_compiler(),
        "command": " ".join(sys.argv),
        "load_average": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",  # others slow a run down
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        **packages,
    }


def report(result: dict[str, Any]) -> None:
    print(f"{result['preset']} on {result['hardware']}, batch {result['batch']}, {result['chosen']}")
    print(f"{'':10}{'ours':>10}{'ASTRA':>10}{'ODL':>10}   ms a slice")
    for name in ("forward", "adjoint", "fbp"):
        times = [result[f"{prefix}{name}_ms_per_slice"] for prefix in ("", "astra_", "odl_")]
        goal = GOALS[f"{name}_ratio"]
        ratio = result[f"{name}_ratio"]
        verdict = "reached" if ratio >= goal else f"missed by a factor of {goal / ratio:.2f}"
        print(
            f"{name:10}"
            + "".join(f"{value:10.2f}" for value in times)
            + f"   {ratio:5.1f}x, goal {goal}x {verdict}"
        )
    for name in OPERATIONS:
        print(f"{name:10} by the portable matrix: {result[f'portable_{name}_ratio']:.1f}x")
    for batch, ratios in result["compiled_over_portable"].items():
        listed = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
        print(f"compiled over portable, batch {batch}: {listed}")
    for key in (
        "forward_error",
        "forward_error_float64",
        "astra_forward_error_float64",
        "adjointness_error",
        "fbp_error",
    ):
        print(f"{key:30}{result[key]:.1e}")
    limit = result["arithmetic_limit_ms"]
    factor = result["forward_ms_per_slice"] / limit
    print(
        f"arithmetic limit {limit:.2f} ms ({result['gflops']:.0f} GFLOP/s): forward takes {factor:.1f} times it"
    )
    print(
        f"peak memory {result['peak_memory_gib']:.1f} GiB; first call {math.ceil(result['first_call_s'])} s"
    )


if __name__ == "__main__":
    main()
