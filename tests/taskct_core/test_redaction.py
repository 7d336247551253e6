"""No password or token of a URL stays in a text; everything else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskct_core.config import StrictModel
from taskct_core.errors import ConfigError, DataError, first_line
from taskct_core.redaction import all_redacted, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://anna:s3cr3t@db.example/studies", "postgresql://anna:***@db.example/studies"),
        ("postgresql+psycopg2://anna:p@ss@db/s", "postgresql+psycopg2://anna:***@db/s"),
        ("postgresql://anna:pa/ss:word@db/s", "postgresql://anna:***@db/s"),
        ("mysql://:s3cr3t@db/s", "mysql://:***@db/s"),
        ("https://ghp_0123456789@host/x", "https://***@host/x"),
        ("http://anna:s3cr3t@mlflow:5000", "http://anna:***@mlflow:5000"),
        ("postgresql://db/s?user=anna&password=s3cr3t&x=1", "postgresql://db/s?user=anna&password=***&x=1"),
        (
            "s3://b/k?X-Amz-Signature=abc&X-Amz-Security-Token=d",
            "s3://b/k?X-Amz-Signature=***&X-Amz-Security-Token=***",
        ),
        ("two: a://u:p@h and b://u:q@h", "two: a://u:***@h and b://u:***@h"),
        ("postgresql://anna@db/s", "postgresql://anna@db/s"),  # a name is needed to find ~/.pgpass
        ("sqlite:////home/a/study.db", "sqlite:////home/a/study.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("mail a@b.example; ratio 1:2", "mail a@b.example; ratio 1:2"),
    ],
)
def test_passwords_and_tokens_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@given(
    st.text(st.characters(categories=["L", "N"], max_codepoint=0x7F), min_size=1),
    st.text(st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x7F), min_size=8),
)
def test_no_password_survives(user: str, password: str) -> None:
    """Whatever stands before the last @ is a password to SQLAlchemy, too."""
    secret = f"{password}§"
    assert secret not in redacted(f"'postgresql://{user}:{secret}@db.example:5432/s' is not valid")


def test_nested_values_are_redacted() -> None:
    values = {"study": {"storage": "a://u:p@h", "trials": 3, "more": [{"x": "b://u:q@h"}, None]}}
    assert all_redacted(values) == {
        "study": {"storage": "a://u:***@h", "trials": 3, "more": [{"x": "b://u:***@h"}, None]}
    }


class _Settings(StrictModel):
    storage: int


def test_no_error_tells_a_password() -> None:
    url = "postgresql://anna:s3cr3t@db/s"
    errors = [ConfigError("a rule", repr(url), f"Try {url}."), DataError(url, "x", "y")]
    with pytest.raises(ConfigError) as caught:
        _Settings.parse({"storage": url})
    for error in [*errors, caught.value]:
        assert "s3cr3t" not in f"{error} {error.rule} {error.received} {error.next_step} {error.args}"
    assert "s3cr3t" not in first_line(OSError(f"could not connect to {url}"))
