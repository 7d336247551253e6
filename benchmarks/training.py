"""How fast is a training step, and how much of what the device could do is that?

    python benchmarks/training.py --device cuda --precision bf16 --channels-last --json result.json
    python benchmarks/training.py --json result.json      # CPU, with less to do

The training of the platform (both losses, their gradient norms, clipping, the average of weights, batches from this
process's memory) is timed beside a bare PyTorch loop that takes the same mixed loss through the same networks from a
batch that lies on the device. On a CPU, processor time is timed, so that others on the machine do not count.

``samples_per_s_128``, ``samples_per_s_362``: slices a second at that many pixels a side; ``samples_per_s``: at the largest.
``of_bare_loop_...``: the share of the bare loop's speed that is left, ``of_bare_loop`` at the largest size.
``of_roofline_...``: the share of the fastest convolution or matrix product of this run, in the same precision, that a
step's convolutions and matrix products reach.
``profile_...``: shares of the device's time by kind of operation, by ``torch.profiler``.
``waits_per_step_...``: on a GPU, how often a step waits for it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np
import torch
from bench_record import write_result
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from taskct_core.contracts.rows import Batch, batch_of
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.training.config import TrialConfig
from taskct_core.training.trial import Training, build_training
from taskct_core.transfer import to_device

SIDES = (128, 362)
# kind of operation -> what its names contain, the first that fits.
KINDS = {
    "convolution": ("conv", "cudnn", "implicit_gemm", "xmma", "mkldnn"),
    "matrix_product": ("gemm", "addmm", "::mm", "::bmm"),
    "normalisation": ("norm",),
    "optimiser": ("adam", "lerp"),
    "copy": ("copy", "memcpy", "memset"),
}


class Setting:
    """What is timed.

    Args:
        options: of the command line.
        side: pixels of a slice.
    """

    def __init__(self, options: argparse.Namespace, side: int) -> None:
        self.device = torch.device(options.device)
        self.steps = options.steps
        self.config = TrialConfig.parse(
            {
                "architecture": options.architecture,
                "batch_size": options.batch,
                "epochs": 10_000,
                "precision": options.precision,
                "channels_last": options.channels_last,
                "compile": options.compile,
                "cuda_graphs": options.cuda_graphs,
            }
        )
        self.batch = _batch(options.batch, side)

    def training(self) -> Training:
        network = build_task_network(TaskNetworkConfig())
        return build_training(self.config, geometry=None, task_network=network, device=self.device)

    def timed(self, steps: Callable[[int], None]) -> float:
        """Seconds of one step: of this device, or of this process's CPU."""
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        self.wait()
        start = clock()
        steps(self.steps)
        self.wait()
        return (clock() - start) / self.steps

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _batch(size: int, side: int) -> Batch:
    """Noise with a disc of liver: what is in a slice costs no time."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    labels = np.repeat((np.hypot(rows, columns) < 0.2).astype(np.uint8)[None], size, axis=0)
    image = torch.from_numpy(rng.random((size, 1, side, side), dtype=np.float32))
    return batch_of({"full_dose": image, "fbp": image + 0.1, "labels": torch.from_numpy(labels)})


def bare_loop(setting: Setting) -> Callable[[int], None]:
    """The same networks and mixed loss as plain PyTorch, on a batch that lies on the device."""
    training, config = setting.training(), setting.config
    batch = to_device(setting.batch, setting.device)
    network, reconstructor = training.frozen_task_network, training.reconstructor.train()
    truth = network.targets(batch["labels"])
    optimiser = torch.optim.AdamW(
        reconstructor.parameters(), lr=1e-3, fused=True if setting.device.type == "cuda" else None
    )
    is_bf16 = config.precision == "bf16"

    def steps(count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(setting.device.type, torch.bfloat16, enabled=is_bf16):
                image = reconstructor(batch["fbp"])
                logits = network(image)
            image_loss = training.image_loss(image.float(), batch["full_dose"])
            task_loss = training.task_loss(logits.float(), truth)
            ((1 - config.alpha) * image_loss + config.alpha * task_loss).backward()
            optimiser.step()

    return steps


def our_loop(setting: Setting) -> Callable[[int], None]:
    """Epochs of so many steps."""
    training = setting.training()
    return lambda count: void(training.train_epoch([setting.batch] * count))


def void(_: object) -> None:
    """Nothing."""


def peak_flops(setting: Setting) -> float:
    """Operations a second of the faster of a large matrix product and a large convolution, in the trial's precision."""
    dtype = torch.bfloat16 if setting.config.precision == "bf16" else torch.float32
    size, channels, side = (8192, 256, 128) if setting.device.type == "cuda" else (1024, 64, 64)
    square = torch.rand(size, size, device=setting.device, dtype=dtype)
    image = torch.rand(4, channels, side, side, device=setting.device, dtype=dtype)
    kernel = torch.rand(channels, channels, 3, 3, device=setting.device, dtype=dtype)
    calls: list[Callable[[], Any]] = [
        lambda: square @ square,
        lambda: torch.nn.functional.conv2d(image, kernel, padding=1),
    ]
    return max(operations(call) / fastest(setting, call) for call in calls)


def fastest(setting: Setting, call: Callable[[], Any], repeats: int = 5) -> float:
    def repeated(count: int) -> None:
        for _ in range(count):
            call()

    return min(setting.timed(repeated) for _ in range(repeats))


def operations(call: Callable[[], Any]) -> float:
    """Floating-point operations of the convolutions and matrix products of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def profiled(setting: Setting, steps: Callable[[int], None]) -> dict[str, float]:
    """Share of each kind of operation in the device's time of its own."""
    is_gpu = setting.device.type == "cuda"
    activities = [ProfilerActivity.CUDA] if is_gpu else [ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        steps(setting.steps)
    times: Counter[str] = Counter()
    for event in profiler.key_averages():
        times[kind_of(event.key)] += event.self_device_time_total if is_gpu else event.self_cpu_time_total
    whole = sum(times.values())
    return {f"profile_{kind}": spent / whole for kind, spent in times.most_common()}


def kind_of(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), "other")


@contextlib.contextmanager
def counted_waits(setting: Setting) -> Iterator[list[warnings.WarningMessage]]:
    """PyTorch's own warnings of each operation that waits for the GPU."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")


def waits_per_step(setting: Setting, steps: Callable[[int], None]) -> float:
    """Beyond the one wait of an epoch."""
    counts = []
    for count in (setting.steps, 2 * setting.steps):
        with counted_waits(setting) as found:
            steps(count)
        counts.append(sum("synchroniz" in str(warning.message) for warning in found))
    return (counts[1] - counts[0]) / setting.steps


def measure(options: argparse.Namespace, side: int, peak: float) -> dict[str, float]:
    setting = Setting(options, side)
    loops = {"ours": our_loop(setting), "bare": bare_loop(setting)}
    for steps in loops.values():
        steps(1)  # kernels are chosen and compiled
    seconds = {
        name: min(setting.timed(steps) for _ in range(options.repeats)) for name, steps in loops.items()
    }
    flops = operations(lambda: loops["bare"](1))  # both take these; ours adds no convolution
    result = {
        "samples_per_s": options.batch / seconds["ours"],
        "of_bare_loop": seconds["bare"] / seconds["ours"],
        "of_roofline": flops / seconds["ours"] / peak,
        **profiled(setting, loops["ours"]),
    }
    if setting.device.type == "cuda":
        result["waits_per_step"] = waits_per_step(setting, loops["ours"])
    return {f"{name}_{side}": value for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--architecture", default="unet", help="one that takes the FBP alone (default unet)")
    parser.add_argument("--batch", type=int, help="slices a step (default 32, on a CPU 2)")
    parser.add_argument("--steps", type=int, help="timed at a time (default 50, on a CPU 2)")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="pixels (default 128 362)")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts (default 3)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cuda-graphs", action="store_true", help="with --compile, on a GPU")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    is_gpu = options.device.startswith("cuda")
    options.batch = options.batch or (32 if is_gpu else 2)
    options.steps = options.steps or (50 if is_gpu else 2)
    torch.set_num_threads(1)
    peak = peak_flops(Setting(options, min(options.sides)))
    result: dict[str, Any] = {"peak_gflops": peak / 1e9}
    for side in options.sides:
        result |= measure(options, side, peak)
    largest = max(options.sides)
    result |= {name: result[f"{name}_{largest}"] for name in ("samples_per_s", "of_bare_loop", "of_roofline")}
    for name, value in result.items():
        print(f"{name:>28}: {value:.3g}")
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    gpu = {"gpu": torch.cuda.get_device_name()} if is_gpu else {}
    if options.json:
        write_result(options.json, result | settings | gpu)


if __name__ == "__main__":
    main()
