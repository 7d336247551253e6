"""``taskct study submit``: an experiment as a job of a running Ray cluster (what ``ray job submit`` does).

The configuration, and a working directory if one is named, travel to the cluster; there ``taskct run`` is the job's
entrypoint, kept off preemptible nodes by ``execution.driver_resource``. Submitted again, an experiment continues.
"""

from __future__ import annotations

import asyncio
import http.client
import shlex
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.cluster.joining import token_is_refused
from study.config import ExperimentConfig, load_experiment
from study.trials.resources import driver_resources
from taskct_core.contracts.files import is_url
from taskct_core.errors import ConfigError, ResourceError, StudyError, first_line
from taskct_core.redaction import redacted

if TYPE_CHECKING:  # Ray takes seconds to import
    from ray.job_submission import JobSubmissionClient

_SECONDS_TO_ANSWER = 10.0
_REACH_IT = "Forward its port (`kubectl port-forward`, `ray dashboard`), or correct --address."


def submit(
    config: Path, overrides: Sequence[str], address: str, working_dir: Path | None = None
) -> tuple[Any, str]:
    """Send an experiment to a cluster.

    Args:
        config: the experiment's YAML file.
        overrides: ``a.b=value``, as ``--set`` takes them.
        address: of the cluster's dashboard, ``http://host:8265``.
        working_dir: that the job runs in, such as a folder with plug-ins; holds ``config``. ``None``: the
            configuration travels alone.

    Returns:
        Ray's client, and the job's id.

    Raises:
        ConfigError: if the configuration is not valid, or names folders that the cluster does not have.
        ResourceError: if no cluster answers, or it does not let us in.
    """
    experiment = load_experiment(config, list(overrides))
    _check_folders(experiment)
    check_secrets(overrides)
    with _packed(config, working_dir) as (folder, name), _cluster_errors(address):
        from ray.job_submission import JobSubmissionClient

        _require_answer(address)
        client = JobSubmissionClient(address)
        job = client.submit_job(
            entrypoint=_entrypoint(name, overrides),
            runtime_env={"working_dir": str(folder)},
            entrypoint_resources=driver_resources(experiment.execution) or None,
        )
    return client, job


def _require_answer(address: str) -> None:
    """Ask once with a limit: Ray's client waits for ever for one that accepts a connection and says nothing.

    Raises:
        OSError: if nobody answers.
    """
    if not address.startswith(("http://", "https://")):
        return
    try:
        urllib.request.urlopen(address, timeout=_SECONDS_TO_ANSWER).close()
    except urllib.error.HTTPError:  # an answer, such as that a token is wanted
        return
    except http.client.HTTPException as error:
        raise ConnectionError(f"what listens there does not speak HTTP ({first_line(error)})") from None


def follow(client: JobSubmissionClient, job: str, show: Callable[[str], None]) -> None:
    """Show a job's output until it ends.

    Raises:
        StudyError: if the job failed or was stopped.
        ResourceError: if the cluster went away.
    """

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            show(text)

    with _cluster_errors(client.get_address(), f"The job may go on without us: `ray job logs {job}`."):
        asyncio.run(tail())
        info = client.get_job_info(job)
    if info.status != "SUCCEEDED":
        raise StudyError(
            "a submitted job must end well",
            f"{job} {info.status}: {str(info.message).partition(', last available logs')[0]}",
            "See its output above; submitted again, the experiment continues where it stopped.",
        )


def _check_folders(experiment: ExperimentConfig) -> None:
    """A relative folder would lie in the job's working directory, which Ray deletes."""
    folders = {
        "output": experiment.output,
        "dataset": experiment.dataset,
        "pretrained": experiment.pretrained,
        "data.source.path": experiment.data.source.path,
    }
    relative = [
        f"{name}: {folder}"
        for name, folder in folders.items()
        if folder is not None and not is_url(folder) and not Path(folder).is_absolute()
    ]
    if relative:
        raise ConfigError(
            "the folders of a submitted experiment must be absolute paths of a filesystem that all nodes share, or URLs",
            ", ".join(relative),
            "Give such as --set output=s3://bucket/runs.",
        )


def check_secrets(overrides: Sequence[str]) -> None:
    """A job's command stands where others read it: in a dashboard, a script, logs.

    Raises:
        ConfigError: if a setting holds a password or token.
    """
    secrets = [override for override in overrides if redacted(override) != override]
    if secrets:
        raise ConfigError(
            "--set of a submitted experiment must hold no password or token: everyone on the cluster sees it",
            ", ".join(secrets),
            "Leave it to ~/.pgpass or the environment of the cluster's nodes.",
        )


@contextmanager
def _packed(config: Path, working_dir: Path | None) -> Iterator[tuple[Path, str]]:
    """The folder that travels, and where in it the configuration is."""
    if working_dir is None:
        with tempfile.TemporaryDirectory(prefix="taskct-") as temporary:
            shutil.copy(config, temporary)
            yield Path(temporary), config.name
        return
    folder = working_dir.resolve()
    if not config.resolve().is_relative_to(folder):
        raise ConfigError(
            "the configuration must lie in the working directory that travels to the cluster",
            f"{config} outside of {folder}",
            "Move it there, or name a folder that holds both.",
        )
    yield folder, str(config.resolve().relative_to(folder))


def _entrypoint(config: str, overrides: Sequence[str]) -> str:
    settings = [*overrides, "execution.address=auto"]
    return shlex.join(["taskct", "run", config, *(part for text in settings for part in ("--set", text))])


@contextmanager
def _cluster_errors(address: str, next_step: str = _REACH_IT) -> Iterator[None]:
    """Turn what Ray's client raises when it cannot reach a cluster, or may not, into a ResourceError."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError:
        raise token_is_refused(address) from None
    except (ConnectionError, RuntimeError, OSError) as error:
        raise ResourceError(
            "the address must be that of a running Ray cluster's dashboard",
            f"{address} ({first_line(error)})",
            next_step,
        ) from None
