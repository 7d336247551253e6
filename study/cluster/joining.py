"""Whether a Ray head answers at an address and lets us in: Ray itself asks on for minutes, whatever it is answered."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

from taskct_core.errors import ResourceError

_SECONDS_TO_ANSWER = 10.0
_QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"  # what Ray asks first, too
_SETTINGS = (("grpc.enable_http_proxy", 0),)  # as Ray, which speaks to its nodes directly


def require_answer(address: str) -> bool:
    """Ask the head at ``host:port`` once; where Ray speaks TLS or takes Kubernetes' tokens, only whether somebody listens.

    Returns:
        Whether somebody is there; False for addresses of another form.

    Raises:
        OSError: if nobody listens, or whoever does keeps silent or speaks something else.
        ResourceError: if it wants another token than the one that is set.
    """
    host, separator, port = address.rpartition(":")
    if not (separator and port.isdigit() and "/" not in host):
        return False
    socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    if os.environ.get("RAY_USE_TLS") == "1" or "RAY_ENABLE_K8S_TOKEN_AUTH" in os.environ:
        return True

    import grpc

    token, _origin = _find_token()
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address, options=_SETTINGS) as channel:
        try:
            channel.unary_unary(_QUESTION)(b"", metadata=metadata, timeout=_SECONDS_TO_ANSWER)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise token_is_refused(address) from None
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError(
                    f"somebody listens there, but did not answer within {_SECONDS_TO_ANSWER:g} s"
                ) from None
            raise ConnectionError("what listens there does not speak Ray's protocol") from None
    return True


def token_is_refused(address: str) -> ResourceError:
    """What to say when a cluster, or its dashboard, does not let us in."""
    return ResourceError(
        "a cluster with token authentication wants its token",
        f"{address} refused {_find_token()[1]}",
        "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH); docs/cluster.md says where from.",
    )


def _find_token() -> tuple[str | None, str]:
    """The token that Ray takes, and where it is from, in words that do not tell it."""
    mode = os.environ.get("RAY_AUTH_MODE", "token")
    if mode.lower() != "token":
        return None, f"us without a token, as RAY_AUTH_MODE is {mode}"
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if token:
        return token, "the token in RAY_AUTH_TOKEN"
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home folder
        file = Path(named) if named else Path.home() / ".ray" / "auth_token"
        token = file.read_text(encoding="utf-8").strip()
        if token:
            return token, f"the token in {file}" + (" (RAY_AUTH_TOKEN_PATH)" if named else "")
    return (
        None,
        "us without a token: there is none in RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token",
    )
