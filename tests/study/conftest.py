"""What the tests of studies share: one Ray for the session, and the lookup-table trainable."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves helper modules to be found


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray of two CPUs on loopback, whose workers can run the lookup trainable."""
    import lookup_trainable
    from ray import cloudpickle

    from study.ray_session import ray_session

    cloudpickle.register_pickle_by_value(lookup_trainable)  # workers have no tests folder on their path
    with ray_session(num_cpus=2):
        yield
