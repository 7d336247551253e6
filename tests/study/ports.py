"""Ports for servers that a test starts and that cannot pick one themselves."""

from __future__ import annotations

import random
import socket

_LOOPBACK = "127.0.0.1"
_BELOW_EPHEMERAL = range(20_000, 32_000)
"""Above the ports of Ray's workers (10002 to 19999), below those that a kernel hands out (Linux: from 32768).

A port that the kernel handed out and that was closed again goes to whichever process asks next: one of
Ray's own servers had taken a head's before the head opened it.
"""


def free_ports(count: int) -> list[int]:
    """Find so many different ports of loopback on which nothing listens."""
    found: list[int] = []
    for port in random.sample(_BELOW_EPHEMERAL, len(_BELOW_EPHEMERAL)):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    try:
        with socket.create_server((_LOOPBACK, port)):
            return True
    except OSError:
        return False
