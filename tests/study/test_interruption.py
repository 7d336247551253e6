"""Ctrl-C and SIGTERM at any moment: one line, exit codes 130 and 143.

In the middle of a study: tests/study/test_slurm.py, whose job is stopped so.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from study.interruption import handlers_kept

LINE = "Interrupted. The same command continues where it was.\n"
PROGRAM = """
import sys, time
import study.cli
import study.cli.app

def wait() -> None:
    print("waiting", flush=True)
    time.sleep(60)

study.cli.app.app.command("wait")(wait)
study.cli.main()
"""


def start(*arguments: str, program: str | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, *(("-c", program) if program else ("-m", "study.cli")), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Wait until the program is Python's no longer: from here on it answers for signals."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        caught = Path(f"/proc/{process.pid}/status").read_text().partition("SigCgt:")[2].split()[0]
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


QUICKSTART = Path(__file__).parents[2] / "study" / "quickstart.yaml"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize(
    ("number", "delay"),
    [(signal.SIGINT, 0.0), (signal.SIGTERM, 0.05), (signal.SIGTERM, 0.2), (signal.SIGINT, 0.6)],
)
def test_a_signal_while_the_program_starts_is_one_line(tmp_path: Path, number: int, delay: float) -> None:
    process = start("study", "run", str(QUICKSTART), "--set", f"output={tmp_path}")
    wait_for_handlers(process)
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if err.startswith("Error:"):  # no dataset: it ends by itself, perhaps just when the signal comes
        pytest.skip("the command had ended")
    assert (process.returncode, err) == (128 + number, LINE)
    assert out in ("", "Loading ...\n")  # the first line comes as soon as there is a command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_in_one_line(number: int) -> None:
    process = start("wait", program=PROGRAM)
    assert process.stdout is not None and process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, "", LINE)


def test_the_handlers_of_a_library_do_not_stay() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with handlers_kept():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
