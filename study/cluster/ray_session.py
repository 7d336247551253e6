"""Starting Ray on this machine, or joining a running cluster, with what the platform needs of it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from study.cluster.joining import require_answer, token_is_refused
from study.cluster.private_files import keep_token_private, session_folder
from study.interruption import handlers_kept
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
# Seconds; Ray's own defaults are too short for a machine that has other things to do.
_TIMEOUTS = (
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S",
    "RAY_gcs_server_port_wait_time_s",
    "RAY_gcs_server_request_timeout_seconds",
    "RAY_worker_register_timeout_seconds",
)
_LOCAL_ENVIRONMENT = {
    # Despite its name, 0 is what makes a local Ray listen on loopback only, on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Ray's default of 15 lets trials stand still for minutes beside any other program; `nice taskct run` still yields.
    "RAY_worker_niceness": "0",
    # One process less to start for every trial; this machine is not preempted.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # A trial is several processes, most of them waiting: with few CPUs Ray would warn the user of their number.
    "RAY_worker_maximum_startup_concurrency": str(max(8, os.cpu_count() or 1)),
}
_SECONDS_TO_START = 180.0


@contextmanager
def ray_session(
    address: str | None = None, num_cpus: int | None = None, start_timeout: float = _SECONDS_TO_START
) -> Iterator[None]:
    """Run a block with Ray connected; a session that is already open is used as it is.

    On this machine Ray listens on loopback only, without a dashboard, and its files are private to the user.

    Args:
        address: of a running cluster (``auto`` or ``host:port``); ``None`` starts Ray here.
        num_cpus: how many CPUs Ray may use here; ``None`` for all.
        start_timeout: seconds that each part of Ray may take to start or to answer.

    Raises:
        ResourceError: if Ray cannot be started, or the cluster not be reached.
    """
    for name, value in _environment(address, start_timeout).items():
        os.environ.setdefault(name, value)
    if session_is_open():
        yield
        return
    with handlers_kept():
        if address is None:
            _start(num_cpus)
        else:
            _join(address)
    import ray

    _quiet_ray_data()
    try:
        yield
    finally:
        ray.shutdown()


def _environment(address: str | None, start_timeout: float) -> dict[str, str]:
    if address is not None:
        return _ENVIRONMENT
    return _ENVIRONMENT | _LOCAL_ENVIRONMENT | dict.fromkeys(_TIMEOUTS, str(max(1, round(start_timeout))))


def _start(num_cpus: int | None) -> None:
    """Start Ray here, once more if it did not come up: on a loaded machine its parts wait for each other in vain.

    Raises:
        ResourceError: if it does not come up the second time either.
    """
    import ray

    keep_token_private()
    # What the environment says, too; but Ray read that when it was imported, which may have been before us.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    for is_last in (False, True):
        try:
            ray.init(
                address="local",  # without it, Ray joins any cluster that it finds on this machine
                num_cpus=num_cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(session_folder()),
            )
            return
        except Exception as error:  # Ray raises errors of all kinds, plain Exceptions among them
            ray.shutdown()
            if is_last:
                raise ResourceError(
                    "Ray must start on this machine",
                    f"it did not, twice ({first_line(error)})",
                    "Look for memory, disk space and processes left behind; on a loaded machine give it more time "
                    "(--set execution.start_timeout=600), or name a short writable folder in RAY_TMPDIR.",
                ) from None


def session_is_open() -> bool:
    """Whether this process is connected to Ray; does not import Ray, which reads its settings when imported."""
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _join(address: str) -> None:
    import ray

    next_step = "Start one with `ray start --head`, or leave the address out to run on this machine."
    try:
        if require_answer(_head_of(address)):
            next_step = (
                "Somebody listens there, so check that it is a Ray head's own port (6379, not the dashboard's) and that "
                "Ray has the same version here."
            )
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ray.exceptions.AuthenticationError:
        raise token_is_refused(address) from None
    except (OSError, ValueError) as error:  # ConnectionError and TimeoutError are OSErrors
        raise ResourceError(
            "execution.address must be that of a running Ray cluster",
            f"{address!r} ({first_line(error)})",
            next_step,
        ) from None


def _head_of(address: str) -> str:
    """``host:port`` of the head that ``auto`` stands for; any other address as it is.

    Raises:
        ConnectionError: if no Ray runs here.
    """
    import ray

    if address != "auto":
        return address
    return str(ray._private.services.canonicalize_bootstrap_address_or_die(address))


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
