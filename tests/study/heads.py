"""A Ray head on loopback that wants a token, as ``ray start --head`` makes it, with ports of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from ports import free_ports

_LOOPBACK = "127.0.0.1"
_PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class Head:
    """A running head.

    Attributes:
        dashboard: its URL.
        environment: of a process that may submit to it.
    """

    dashboard: str
    environment: Mapping[str, str]

    def taskct(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Call ``taskct`` beside the head."""
        return subprocess.run(
            [sys.executable, "-m", "study.cli", *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def ray_head(resources: Mapping[str, float]) -> Iterator[Head]:
    """Run a head of two CPUs and some resources while the block runs."""
    gcs, dashboard, agent, client = free_ports(4)
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",  # jobs call taskct by its name
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": uuid.uuid4().hex + uuid.uuid4().hex,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        command = [
            *(str(scripts / "ray"), "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2"),
            *(f"--node-ip-address={_LOOPBACK}", f"--port={gcs}", f"--ray-client-server-port={client}"),
            *(f"--dashboard-host={_LOOPBACK}", f"--dashboard-port={dashboard}"),
            *(f"--dashboard-agent-listen-port={agent}", f"--temp-dir={folder}"),
            f"--resources={json.dumps(dict(resources))}",
        ]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for_agent(f"http://{_LOOPBACK}:{agent}", environment["RAY_AUTH_TOKEN"], process)
            yield Head(f"http://{_LOOPBACK}:{dashboard}", environment)
        finally:
            members = [process, *psutil.Process(process.pid).children(recursive=True)]
            for member in members:
                member.kill()
            process.wait()


def _wait_for_agent(url: str, token: str, process: subprocess.Popen[bytes]) -> None:
    """Jobs are started by the head's agent, which answers some seconds after the dashboard."""
    request = urllib.request.Request(
        f"{url}/api/local_raylet_healthz", headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
