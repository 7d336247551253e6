"""Counter-based random generators keyed by what they are for, so that draws need no common order."""

from __future__ import annotations

import hashlib

import numpy as np


def random_stream(*key: int | str) -> np.random.Generator:
    """A generator of its own for each key, the same on every machine and in every process."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], np.uint64)))
