"""Two hosts on this machine: network namespaces joined by a cable, each with its host name and shared memory.

Needs root and ``ip``; see ``can_make_hosts``. Disks are shared, as a cluster's file system is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

# Reserved for tests of networks (RFC 2544), so nobody's real addresses.
HEAD_ADDRESS, WORKER_ADDRESS = "198.18.0.1", "198.18.0.2"
_GCS_PORT = 6379
_PATIENCE_SECONDS = 300.0  # of a loaded machine
_RAY = str(Path(sys.executable).parent / "ray")


def can_make_hosts() -> bool:
    """Whether this process may make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    name = f"probe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    return made


@dataclass(frozen=True)
class Host:
    """One of the hosts, whose name is its namespace's."""

    name: str
    environment: Mapping[str, str]

    def command(self, *words: str) -> list[str]:
        """A command line that runs ``words`` on this host."""
        settle = 'hostname "$0" && mount -t tmpfs -o size=2g tmpfs /dev/shm && exec "$@"'
        inside = ["unshare", "--mount", "--uts", "sh", "-c", settle, self.name, *words]
        return ["ip", "netns", "exec", self.name, *inside]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this host to its end."""
        return subprocess.run(
            self.command(*words),
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that see each other and nothing else."""
    environment = (
        os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",  # for own_plugins
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": uuid.uuid4().hex + uuid.uuid4().hex,
        }
    )
    environment["GLOO_SOCKET_IFNAME"] = "cable"  # nobody resolves these hosts' names
    environment.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)  # would make Ray listen on loopback
    names = [f"ct{os.getpid()}{letter}" for letter in "ab"]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        _ip(
            "link",
            "add",
            "cable",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            names[1],
        )
        for name, address in zip(names, (HEAD_ADDRESS, WORKER_ADDRESS), strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", name, "link", "set", device, "up")
        yield Host(names[0], environment), Host(names[1], environment)


@contextmanager
def ray_over(head: Host, worker: Host, cpus: int) -> Iterator[str]:
    """A Ray cluster of both hosts, as ``ray start`` makes it; yields its address."""
    address = f"{HEAD_ADDRESS}:{_GCS_PORT}"
    with (
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        options = ["--block", "--disable-usage-stats", f"--num-cpus={cpus}"]
        start_head = ["--head", f"--node-ip-address={HEAD_ADDRESS}", f"--port={_GCS_PORT}"]
        start_head += [f"--temp-dir={folder}/a", "--include-dashboard=false"]
        stack.enter_context(_running(head.command(_RAY, "start", *start_head, *options), head.environment))
        _wait_for(head, address, nodes=1)
        join = [f"--address={address}", f"--node-ip-address={WORKER_ADDRESS}"]
        stack.enter_context(_running(worker.command(_RAY, "start", *join, *options), worker.environment))
        _wait_for(head, address, nodes=2)
        yield address


@contextmanager
def _running(command: list[str], environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        for member in [process, *psutil.Process(process.pid).children(recursive=True)]:
            member.kill()
        process.wait()


def _wait_for(host: Host, address: str, nodes: int) -> None:
    code = f"""
import ray
ray.init(address={address!r}, log_to_driver=False, logging_level="ERROR")
raise SystemExit(sum(node["Alive"] for node in ray.nodes()) != {nodes})
"""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (done := host.run(sys.executable, "-c", code)).returncode != 0:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{nodes} Ray nodes did not come up: {done.stderr[-2000:]}")
        time.sleep(0.5)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
