"""``python -m study.cluster.wait_for_nodes HOST:PORT NUMBER``: until so many nodes are in the Ray cluster.

Nodes of a batch job start at the same time: a study that began before all are there would take the cluster for smaller.
"""

from __future__ import annotations

import sys
import time

from study.cluster.ray_session import ray_session
from taskct_core.errors import ResourceError

_SECONDS_TO_COME = 300.0
_SECONDS_BETWEEN_LOOKS = 2.0


def wait_for_nodes(address: str, number: int, patience: float = _SECONDS_TO_COME) -> None:
    """Wait.

    Raises:
        ResourceError: if they are not there after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while (found := _living_nodes(address)) < number:
        if time.monotonic() >= deadline:
            raise ResourceError(
                f"{number} nodes must join the Ray cluster at {address}",
                f"{found} after {patience:g} s",
                "See the job's log for the nodes that did not start.",
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _living_nodes(address: str) -> int:
    try:
        with ray_session(address):
            import ray

            return sum(node["Alive"] for node in ray.nodes())
    except ResourceError:  # its head is not up yet
        return 0


def main() -> None:
    """The command line: exit code 1 and one line where nodes do not come."""
    try:
        wait_for_nodes(sys.argv[1], int(sys.argv[2]))
    except ResourceError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
