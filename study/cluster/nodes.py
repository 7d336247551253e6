"""The nodes of a Ray cluster: what the largest has, and whether all of them see a study's folder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from taskct_core.contracts.files import is_remote

_SECONDS_TO_ANSWER = 60.0


def alive_nodes() -> list[dict[str, Any]]:
    """Ray's own records of the nodes that live: ``NodeID``, ``NodeManagerHostname``, ``Resources``, ..."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def shared_folder_problems(folder: Path, nodes: Sequence[dict[str, Any]]) -> list[str]:
    """Whether all nodes see ``folder``: a trial may go on in another node than it began in.

    A remote folder is taken to be reachable from everywhere.
    """
    if is_remote(folder) or len(nodes) < 2:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    try:
        blind = nodes_without(mark, nodes)
    finally:
        mark.unlink()
    if not blind:
        return []
    return [
        f"{folder} is not a folder of all nodes (not seen on {', '.join(blind)}): "
        "put output on a shared filesystem, or on s3://"
    ]


def nodes_without(path: Path, nodes: Sequence[dict[str, Any]]) -> list[str]:
    """The host names of the nodes that do not see ``path``, or do not answer within a minute."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote(num_cpus=0, max_retries=0)
    def sees() -> bool:
        return path.exists()

    answers = {
        sees.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(): node
        for node in nodes
    }
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=_SECONDS_TO_ANSWER)
    for answer in ready:
        with suppress(ray.exceptions.RayError):  # the node died meanwhile
            if ray.get(answer):
                del answers[answer]
    return sorted({node["NodeManagerHostname"] for node in answers.values()})
