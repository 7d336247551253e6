"""What the tests of studies share: one Ray and one S3 server for the session, and the lookup-table trainable."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves helper modules to be found


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """URL of a bucket on an S3 server of this process, on loopback; all processes started after find it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        from upath import UPath

        UPath("s3://studies").fs.mkdir("studies")
        yield "s3://studies"
        server.stop()


@pytest.fixture(scope="session")
def local_ray(s3_bucket: str) -> Iterator[None]:
    """A Ray of two CPUs on loopback, whose workers can run the lookup trainable and reach the S3 server."""
    import lookup_trainable
    from ray import cloudpickle

    from study.cluster.ray_session import ray_session

    cloudpickle.register_pickle_by_value(lookup_trainable)  # as a driver of its own, in kills.py, does
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)  # for own_plugins
        with ray_session(num_cpus=2):
            yield
