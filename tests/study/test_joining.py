"""Who joins a cluster is let in, or told at once why not; test_hosts.py asks a real head."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from study.cluster.joining import require_answer
from taskct_core.errors import ResourceError

TOKEN, OTHER = "1" * 64, "2" * 64


class Gate(grpc.GenericRpcHandler):
    """Answers every question with nothing, but only to who has the token, as a Ray head does."""

    def service(self, handler_call_details: Any) -> Any:
        def answer(_question: bytes, context: Any) -> bytes:
            if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Gate()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a token, and an environment that names none."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    return tmp_path


def set_token(token: str, where: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "RAY_AUTH_TOKEN":
        monkeypatch.setenv(where, token)
        return
    file = home / (".ray/auth_token" if where == "home" else "elsewhere")
    file.write_text(f"{token}\n")
    if where != "home":
        monkeypatch.setenv(where, str(file))


@pytest.mark.parametrize("where", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "home"])
def test_a_token_is_taken_from_where_ray_takes_it(
    where: str, head: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_token(TOKEN, where, home, monkeypatch)
    assert require_answer(head)


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("RAY_AUTH_TOKEN", "refused the token in RAY_AUTH_TOKEN"),
        ("RAY_AUTH_TOKEN_PATH", "/elsewhere (RAY_AUTH_TOKEN_PATH)"),
        ("home", "/.ray/auth_token"),
    ],
)
def test_a_wrong_token_is_told_by_its_place(
    where: str, told: str, head: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_token(OTHER, where, home, monkeypatch)
    with pytest.raises(ResourceError) as caught:
        require_answer(head)
    assert caught.value.received.endswith(told)
    assert head in caught.value.received and OTHER not in str(caught.value)


def test_a_missing_token_is_told(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="there is none in RAY_AUTH_TOKEN"):
        require_answer(head)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ResourceError, match="RAY_AUTH_MODE is disabled"):
        require_answer(head)


def test_an_address_of_another_form_is_left_to_ray() -> None:
    assert not require_answer("ray://127.0.0.1:10001")
