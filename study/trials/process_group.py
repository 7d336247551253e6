"""How the workers of a trial find each other: on one machine through a file, without a port that others could reach.

PyTorch's own store listens on all interfaces, and whoever reaches it may write to it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ray.train.backend import Backend
from ray.train.torch import TorchConfig

if TYPE_CHECKING:
    from ray import ObjectRef

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
_FOLDER = "TASKCT_PROCESS_GROUP"  # in the environment of the first worker
_SECONDS_TO_REMOVE = 10.0
Result = TypeVar("Result")


class _WorkerGroup(Protocol):
    """What a Ray Train backend is given, which Ray does not make public: the workers, by rank."""

    def __len__(self) -> int: ...

    def execute(self, function: Callable[..., Any], *arguments: object) -> list[Any]: ...

    def execute_single(self, rank: int, function: Callable[..., Result], *arguments: object) -> Result: ...

    def execute_single_async(
        self, rank: int, function: Callable[..., Any], *arguments: object
    ) -> ObjectRef[Any]: ...

    def get_resources_per_worker(self) -> dict[str, float]: ...


class LocalTorchConfig(TorchConfig):
    """Ray Train's, whose workers meet in a file if all run on one machine."""

    @property
    def backend_cls(self) -> type[Backend]:
        """See ``ray.train.backend.BackendConfig``."""
        return _LocalBackend


class _LocalBackend(TorchConfig().backend_cls):  # type: ignore[misc]
    def on_start(self, worker_group: _WorkerGroup, backend_config: TorchConfig) -> None:
        """Form the process group before training starts."""
        import ray

        if len(set(worker_group.execute(_node))) > 1:
            super().on_start(worker_group, backend_config)
            return
        resources = worker_group.get_resources_per_worker()
        backend = backend_config.backend or ("nccl" if resources.get("GPU", 0) else "gloo")
        store = worker_group.execute_single(0, _make_store)
        size = len(worker_group)
        ray.get(
            [
                worker_group.execute_single_async(
                    rank, _join, backend, store, rank, size, backend_config.timeout_s
                )
                for rank in range(size)
            ]
        )

    def on_shutdown(self, worker_group: _WorkerGroup, backend_config: TorchConfig) -> None:
        """Leave the process group. Until then the workers' libraries go on using the file."""
        import ray

        super().on_shutdown(worker_group, backend_config)
        with suppress(ray.exceptions.RayError):  # of a worker that is dead already
            ray.get(worker_group.execute_single_async(0, _remove_store), timeout=_SECONDS_TO_REMOVE)


def _node() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _make_store() -> str:
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="taskct-")  # which only this user may enter
    return str(Path(os.environ[_FOLDER]) / "store")


def _remove_store() -> None:
    folder = os.environ.pop(_FOLDER, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _join(backend: str, store: str, rank: int, size: int, timeout_s: int) -> None:
    import torch.distributed

    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, _LOOPBACK)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
    torch.distributed.init_process_group(
        backend,
        init_method=f"file://{store}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout_s),
    )
