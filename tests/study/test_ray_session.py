"""A local Ray is reached from this machine alone, by this user alone; one that cannot start or answer is told."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from study.cluster import joining, ray_session
from study.cluster.private_files import keep_token_private, session_folder
from study.config import ExperimentConfig
from study.experiment import submit as submission
from study.experiment.experiment import Experiment
from taskct_core.errors import ResourceError

# Ray is imported first, as by a user who does so before taskct: Ray reads its environment then.
SCRIPT = """
import os, psutil, ray, sys
from study.cluster.ray_session import ray_session, session_is_open

assert not session_is_open()
with ray_session(num_cpus=2):
    assert session_is_open()
    with ray_session():  # within a session: the same
        pass
    assert session_is_open()

    @ray.remote
    def work():
        return 1

    ray.get(work.remote())
    folder = os.environ["SESSIONS"]
    everywhere = psutil.process_iter(["cmdline"])  # None of those that end meanwhile
    own = {process.pid for process in everywhere if folder in " ".join(process.info["cmdline"] or [])} | {os.getpid()}
    own |= {process.pid for process in psutil.Process().children(recursive=True)}
    listening = [c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in own]
    assert len(listening) >= 5, listening
    print(*sorted({ip.removeprefix("::ffff:") for ip in listening}))
    print(*sorted(os.listdir(folder)))
    print("ready", flush=True)
    sys.stdin.readline()
assert not session_is_open()
"""


@pytest.fixture(autouse=True)
def no_open_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of other files that ran in this process before may have left the shared Ray open; it is to outlive these."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)


AS_NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="looks at sockets as Linux has them")
def test_nobody_else_reaches_a_local_ray_or_its_files() -> None:
    folder = session_folder()
    environment = {**os.environ, "SESSIONS": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None and process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    try:
        assert lines[0] == "127.0.0.1"
        assert "session_" in lines[1]
        assert lines[2] == "ready"
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        if os.getuid() == 0:  # only root can try as somebody else
            other = subprocess.run(
                [*AS_NOBODY, "ls", str(folder)], capture_output=True, text=True, check=False
            )
            assert "Permission denied" in other.stderr
    finally:
        process.communicate("\n")
    assert process.returncode == 0


@pytest.mark.slow
def test_what_runs_before_a_session_does_not_import_ray() -> None:
    """Ray reads its environment when it is imported."""
    script = """
import sys
import study.cli.stages, study.cli.study_actions, study.experiment.rebuild, study.experiment.submit
from study import run_study, load_study, study_status, retry_failed
assert "ray" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_folder_whose_sockets_would_have_too_long_a_path_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))  # as TMPDIR sets it
    folder = session_folder()
    assert not folder.is_relative_to(deep)
    longest = folder / "session_2026-01-01_00-00-00_000000_4194304" / "sockets" / "plasma_store"
    assert len(str(longest)) <= 107
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    assert not session_folder().is_relative_to(deep)


def test_a_folder_that_somebody_else_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (short / f"taskct-{os.getuid()}").symlink_to(elsewhere)
    assert not session_folder().resolve().is_relative_to(elsewhere)
    (short / f"taskct-{os.getuid()}").unlink()
    (short / f"taskct-{os.getuid()}").mkdir(mode=0o777)
    assert session_folder().parent == short / f"taskct-{os.getuid()}"
    assert stat.S_IMODE(session_folder().parent.stat().st_mode) == 0o700


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is removed after the test, whoever sets it
        monkeypatch.delenv(name)
    return tmp_path


def test_the_token_is_the_users_alone(home: Path) -> None:
    keep_token_private()
    file = home / ".ray" / "auth_token"
    token = file.read_text()
    assert len(token) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)  # as Ray itself leaves it
    keep_token_private()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == token


def test_a_home_that_cannot_be_written_to(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".ray").write_text("a file where the folder should be")
    keep_token_private()
    assert len(os.environ["RAY_AUTH_TOKEN"]) >= 32


def test_ray_that_does_not_come_up_is_tried_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    tries = []

    def fail(**settings: object) -> None:
        tries.append(settings)
        raise Exception("The current node timed out during startup.\nSee the logs.")

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(ResourceError, match="timed out during startup") as caught, ray_session.ray_session():
        pass
    assert len(tries) == 2
    assert "start_timeout" in caught.value.next_step


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Accepts connections on loopback and answers all with the same bytes, or never."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connections.append(connection)
                if answer is not None:
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [(None, "did not answer"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak Ray's protocol")],
)
def test_an_address_where_somebody_else_listens_is_told_soon(
    answer: bytes | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_SECONDS_TO_ANSWER", 0.5)
    started = time.monotonic()
    with (
        listener(answer) as address,
        pytest.raises(ResourceError, match=told),
        ray_session.ray_session(address),
    ):
        pass
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("answer", [None, b"* 1 ready\r\n"])
def test_a_dashboard_that_does_not_answer_is_told_soon(
    answer: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_SECONDS_TO_ANSWER", 0.5)
    config = tmp_path / "experiment.yaml"
    config.write_text(f"output: {tmp_path}\n")
    with listener(answer) as address, pytest.raises(ResourceError, match="cluster's dashboard"):
        submission.submit(config, [], f"http://{address}")


def test_a_gpu_that_is_not_there_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    values = {"output": str(tmp_path), "execution": {"use_gpu": True}}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ResourceError, match="use_gpu needs a GPU"):
        Experiment(ExperimentConfig.parse(values))
    Experiment(ExperimentConfig.parse(values | {"execution": {"use_gpu": True, "address": "10.0.0.1:6379"}}))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    Experiment(ExperimentConfig.parse(values))


def test_output_that_is_no_utf8_ends_nothing() -> None:
    script = "from study.cli.app import _say_what_can_be_said as f; f(); print('α → Dice')"
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == b"? ? Dice"
