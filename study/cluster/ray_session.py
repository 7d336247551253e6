"""Starting Ray on this machine, or joining a running cluster, with what the platform needs of it."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from taskct_core.errors import ResourceError, first_line

# Read when Ray is imported and by its processes at their start, so they must be set before either.
_ENVIRONMENT = {
    # Ray Train looks every 2 s whether its workers are done; a short trial spends seconds waiting for it.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LOCAL_ENVIRONMENT = {
    # Despite its name, 0 is what makes a local Ray listen on loopback only, on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # One process less to start for every trial; this machine is not preempted.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # A trial is several processes, most of them waiting: with few CPUs Ray would warn the user of their number.
    "RAY_worker_maximum_startup_concurrency": str(max(8, os.cpu_count() or 1)),
}
_SECONDS_TO_ANSWER = 10.0
_LOOPBACK = "127.0.0.1"
_TOKEN_HELP = (
    "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH); docs/cluster.md says where from."
)


@contextmanager
def ray_session(address: str | None = None, num_cpus: int | None = None) -> Iterator[None]:
    """Run a block with Ray connected; a session that is already open is used as it is.

    On this machine Ray and its dashboard listen on loopback only. The dashboard stays on: without it,
    trials that a scheduler stops leak their placement groups and a sweep hangs.

    Args:
        address: of a running cluster (``auto`` or ``host:port``); ``None`` starts Ray here.
        num_cpus: how many CPUs Ray may use here; ``None`` for all.

    Raises:
        ResourceError: if the cluster cannot be reached.
    """
    for name, value in (_ENVIRONMENT if address else _ENVIRONMENT | _LOCAL_ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    if address is None:
        ray.init(
            address="local",  # without it, Ray joins any cluster that it finds on this machine
            num_cpus=num_cpus,
            include_dashboard=True,
            dashboard_host=_LOOPBACK,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    else:
        _join(address)
    _quiet_ray_data()
    try:
        yield
    finally:
        ray.shutdown()


def token_is_missing(address: str, error: Exception) -> ResourceError:
    """What to say when a cluster, or its dashboard, does not let us in."""
    return ResourceError(
        "a cluster with token authentication wants its token",
        f"{address} ({first_line(error)})",
        f"Set {_TOKEN_HELP}",
    )


def session_is_open() -> bool:
    """Whether this process is connected to Ray; does not import Ray, which reads its settings when imported."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _join(address: str) -> None:
    import ray

    next_step = "Start one with `ray start --head`, or leave the address out to run on this machine."
    try:
        if _answers(address):
            # Of a token that is wrong Ray says only in its log that the cluster could not be found.
            next_step = (
                "Somebody listens there, so check that it is a Ray head's own port (6379, not the dashboard's), that "
                f"Ray has the same version here, and the token: {_TOKEN_HELP}"
            )
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ray.exceptions.AuthenticationError as error:
        raise token_is_missing(address, error) from None
    except (OSError, ValueError) as error:  # ConnectionError and TimeoutError are OSErrors
        raise ResourceError(
            "execution.address must be that of a running Ray cluster",
            f"{address!r} ({first_line(error)})",
            next_step,
        ) from None


def _answers(address: str) -> bool:
    """Connect to ``host:port`` and hang up: Ray tries for many minutes to reach a port that nobody listens on.

    Returns:
        Whether somebody listens; False for addresses of another form.

    Raises:
        OSError: if nobody does.
    """
    host, separator, port = address.rpartition(":")
    if not (separator and port.isdigit() and "/" not in host):
        return False
    socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    return True


def _quiet_ray_data() -> None:
    """Leave the progress display to the command line, which shows one bar instead of one an operator."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def cluster_cpus() -> float:
    """CPUs of all nodes that Ray knows of."""
    import ray

    return float(ray.cluster_resources().get("CPU", 0.0))
