"""What do two hundred trials at a time on eight nodes cost the driver, and is any lost when nodes leave and join?

    python benchmarks/many_nodes.py
    python benchmarks/many_nodes.py --nodes 2 --concurrent 8 --trials 24 --json result.json   # flat keys

The nodes are raylets of one cluster on this machine, beside a head that runs the driver and no trial. Trials look
their epochs up in a table and sleep in between, so that nothing but the platform is at work, each in a process of its
own; the first ones wait until as many run as may. As the study goes on, nodes are killed, each followed by one that joins. Then no trial may be lost, repeated, left
running or have other than its own epochs.

Events are what the driver is told of trials: started, an epoch reported, ended. They are counted, and the driver's
processor time is read, from when as many trials as may have reported until the last one is proposed. A report's delay is
from the epoch's end in the trial until the driver has it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

sys.path.pop(0)  # this folder: its analysis.py is not the package
sys.path.insert(0, str(Path(__file__).parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "study"))

# Read when Ray is imported and by its processes at their start.
os.environ |= {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on loopback
    # All nodes share this machine's processors: their processes start one after another, and have the time to.
    "RAY_worker_maximum_startup_concurrency": "1",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_register_timeout_seconds": "600",
    # A folder of its own, so that no other Ray of this machine takes it for a cluster to join; sockets want it short.
    "RAY_TMPDIR": tempfile.mkdtemp(prefix="ray"),
}

import lookup_trainable as lookup
from bench_record import write_result
from kills import unsound_trials
from ray import cloudpickle
from ray.cluster_utils import Cluster
from studies import plan, study_config

from study.cluster.ray_session import ray_session
from study.run import StudySummary, run_study
from study.search.events import EpochReported, Event, TrialFinished, TrialStarted
from study.search.tune import TuneExecutor
from taskct_core.schema import COMPLETE, EPOCH, PRUNED

if TYPE_CHECKING:
    from ray._private.node import Node

LOOPBACK = "127.0.0.1"
OPEN = "open"  # file in the gate's folder
LOGGED_AT = "logged_at"  # column of an epoch: when the trial had it


class Meter:
    """Notes what the driver is told of ``trials`` trials, of which ``concurrent`` run at a time."""

    def __init__(self, concurrent: int, trials: int) -> None:
        self.ended = 0
        self._concurrent, self._trials = concurrent, trials
        self._begun: set[int] = set()
        self._epochs: dict[int, int] = {}  # trial -> its last epoch
        self._running: set[int] = set()
        self._most_running = 0
        self._events = 0
        self._delays: list[float] = []
        # Time, processor time and events when measuring begins, and when it ends.
        self._marks: list[tuple[float, float, int]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self._begun.add(event.trial)
        elif isinstance(event, EpochReported):
            self._take_epoch(event)
        elif isinstance(event, TrialFinished):
            self._running.discard(event.trial)
            self.ended += 1
        else:
            return
        self._events += 1
        is_due = len(self._begun) == self._trials if self._marks else len(self._epochs) >= self._concurrent
        if is_due and len(self._marks) < 2:
            self._marks.append((time.monotonic(), time.process_time(), self._events))

    def _take_epoch(self, event: EpochReported) -> None:
        if event.row[EPOCH] > self._epochs.get(
            event.trial, 0
        ):  # a trial that starts again tells its epochs again
            self._epochs[event.trial] = event.row[EPOCH]
            self._delays.append(time.time() - event.row[LOGGED_AT])  # type: ignore[literal-required]  # an own objective
        self._running.add(event.trial)
        self._most_running = max(self._most_running, len(self._running))

    def summarise(self) -> dict[str, float]:
        (began, cpu_before, events_before), (ended, cpu_after, events_after) = self._marks
        seconds, cpu, events = ended - began, cpu_after - cpu_before, events_after - events_before
        return {
            "most_running": self._most_running,
            "events": self._events,
            "measured_s": seconds,
            "events_per_s": events / seconds,
            "driver_share_of_core": cpu / seconds,
            "driver_cpu_ms_per_event": 1000 * cpu / events,
            "report_delay_median_s": statistics.median(self._delays),
            "report_delay_99th_s": statistics.quantiles(self._delays, n=100, method="inclusive")[-1],
            "report_delay_worst_s": max(self._delays),
        }


class Nodes:
    """The nodes of a cluster, which come and go."""

    def __init__(self, cluster: Cluster, number: int, cpus: int) -> None:
        self.left = self.joined = 0
        self._cluster, self._cpus = cluster, cpus
        self._nodes: list[Node] = []
        for _ in range(number):
            self._add()

    def change(self, meter: Meter, trials: int, times: int) -> None:
        """As the study goes on, kill the oldest node and add another, ``times`` times, evenly over its trials."""
        for number in range(1, times + 1):
            while meter.ended < trials * number / (times + 2):
                time.sleep(0.5)
            self._cluster.remove_node(self._nodes.pop(0), allow_graceful=False)
            self.left += 1
            self._add()
            self.joined += 1

    def _add(self) -> None:
        self._nodes.append(self._cluster.add_node(num_cpus=self._cpus, node_ip_address=LOOPBACK))


class Memory:
    """Watches the machine's memory while a study runs."""

    def __init__(self) -> None:
        self._before = self._least = psutil.virtual_memory().available
        self._trial_mb: list[float] = []

    def watch(self, meter: Meter, trials: int) -> None:
        while meter.ended < trials:
            self._least = min(self._least, psutil.virtual_memory().available)
            if not self._trial_mb and meter.ended:
                self._trial_mb = list(trial_processes_mb())
            time.sleep(1.0)

    def summarise(self) -> dict[str, float]:
        return {
            "peak_memory_mb": (self._before - self._least) / 2**20,
            "driver_memory_mb": psutil.Process().memory_info().rss / 2**20,
            "trial_process_median_mb": statistics.median(self._trial_mb),
        }


def trial_processes_mb() -> Iterator[float]:
    """Memory of each process that runs trials; of pages that several share, its part."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith("ray::ImplicitF"):
                yield process.memory_full_info().pss / 2**20


@contextmanager
def cluster_on_loopback() -> Iterator[Cluster]:
    """A cluster of a head without a CPU for trials, which the driver joins."""
    head = {"num_cpus": 0, "node_ip_address": LOOPBACK, "dashboard_host": LOOPBACK, "dashboard_port": None}
    # At its exit a node would handle signals, which a thread that adds one may not set.
    cluster = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
    try:
        yield cluster
    finally:
        cluster.shutdown()
        shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--concurrent", type=int, default=200, help="trials at a time, over all nodes")
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=10, help="of a trial")
    parser.add_argument("--seconds-per-epoch", type=float, default=1.0, help="in the mean")
    parser.add_argument("--changes", type=int, default=2, help="how many nodes leave, and how many join")
    parser.add_argument("--keep", type=Path, help="folder to leave the study in, to look into a problem")
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    cloudpickle.register_pickle_by_value(lookup)
    meter, memory = Meter(options.concurrent, options.trials), Memory()
    began = time.monotonic()
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as folder:
        study, gate = Path(folder) / "study", Path(folder) / "gate"
        gate.mkdir(parents=True)
        with cluster_on_loopback() as cluster:
            nodes = Nodes(cluster, options.nodes, -(-options.concurrent // options.nodes))
            with ray_session(cluster.address):
                others = [
                    beside(open_when_all_wait, gate, options.concurrent),
                    beside(nodes.change, meter, options.trials, options.changes),
                    beside(memory.watch, meter, options.trials),
                ]
                summary = run(options, study, gate, meter)
                for thread in others:
                    thread.join()
        problems = unsound_trials(study, options.trials, options.epochs)
    result = {
        "nodes": options.nodes,
        "concurrent_trials": options.concurrent,
        "epochs": options.epochs,
        "seconds_per_epoch": options.seconds_per_epoch,
        **ends(summary),
        "lost_trials": len(problems),
        "nodes_left": nodes.left,
        "nodes_joined": nodes.joined,
        **meter.summarise(),
        **memory.summarise(),
        "seconds": time.monotonic() - began,
    }
    print(
        f"{result['trials']} trials, at most {result['most_running']} at a time on {options.nodes} nodes, "
        f"{nodes.left} left and {nodes.joined} joined: {result['events_per_s']:.0f} events a second for "
        f"{result['driver_share_of_core']:.2f} of a core; reports {result['report_delay_median_s']:.2f} s late "
        f"(worst {result['report_delay_worst_s']:.1f}); {len(problems)} lost {'; '.join(problems)}"
    )
    if options.json:
        write_result(options.json, result)
    sys.exit(bool(problems))


def run(options: argparse.Namespace, folder: Path, gate: Path, meter: Meter) -> StudySummary:
    """The study; a trial that its node took down with it is started again."""
    seconds = options.seconds_per_epoch

    def train(trial: Path, _epoch: int) -> dict[str, float]:
        (gate / trial.name).touch()
        while not (gate / OPEN).exists():
            time.sleep(0.1)
        time.sleep(random.uniform(0.5, 1.5) * seconds)
        return {LOGGED_AT: time.time()}

    trainable = lookup.lookup_trainable(options.epochs, faults=dict.fromkeys(range(options.trials), train))
    settings = study_config(trials=options.trials, pruner={"name": "pareto_asha"}, max_retries=3)
    executor = TuneExecutor(trainable, {"cpu": 1}, max_concurrent=options.concurrent)
    return run_study(plan(settings, folder, epochs=options.epochs), executor, meter)


def open_when_all_wait(gate: Path, trials: int) -> None:
    """Processes start one after another: the first trials wait for each other."""
    while len(list(gate.iterdir())) < trials:
        time.sleep(0.5)
    (gate / OPEN).touch()


def ends(summary: StudySummary) -> dict[str, int]:
    """How the trials ended."""
    statuses = [record.status for record in summary.trials]
    return {
        "trials": len(statuses),
        "trials_complete": statuses.count(COMPLETE),
        "trials_pruned": statuses.count(PRUNED),
        "trials_retried": sum(record.retries > 0 for record in summary.trials),
    }


def beside(work: Callable[..., None], *arguments: object) -> threading.Thread:
    """Begin some work that goes on while the study runs."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


if __name__ == "__main__":
    main()
