"""What a text must not tell: passwords and tokens in URLs."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"
# user:password@ after ://, up to the last @ of the word: a password may hold anything. Alone before the @ of a web
# address stands a token.
_PASSWORD = re.compile(r"(?<=://)([^\s:/@'\"]*):\S*@")
_TOKEN = re.compile(r"(https?://)[^\s:/@'\"]+@")
_PARAMETER = re.compile(
    r"([?&;][\w.%-]*(?:pass|pwd|token|secret|key|signature|sig|credential|auth)[\w.%-]*=)[^&;\s'\"]+",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """The text with ``***`` for each password and token in its URLs; user names and the rest stay."""
    if "://" not in text:
        return text
    text = _PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _TOKEN.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(rf"\1{HIDDEN}", text)


def all_redacted(values: Any) -> Any:  # noqa: ANN401  plain values, of the shape that they had
    """Plain values with every text ``redacted``, keys included."""
    if isinstance(values, str):
        return redacted(values)
    if isinstance(values, dict):
        return {all_redacted(key): all_redacted(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [all_redacted(value) for value in values]
    return values
