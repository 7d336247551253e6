"""Random numbers of a study that depend on nothing but its seed and what they are for."""

from __future__ import annotations

import hashlib


def derived_seed(study_seed: int, trial: int, purpose: str) -> int:
    """A 32-bit seed for one purpose within one trial, the same however often a study was interrupted."""
    digest = hashlib.sha256(f"{study_seed}/{trial}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
