"""Texts in charts: Plotly reads some HTML in them, links too, which names from a study must not be able to make."""

from __future__ import annotations

import re
from typing import Any

# What our own texts use: line breaks, bold print, and the box beside a hover text.
_FOREIGN_TAG = re.compile(r"<(?!/?b>|br ?/?>|/?extra>)", re.IGNORECASE)


def plain_text(text: str) -> str:
    """A text with every tag shown as text but those that our own texts use."""
    return _FOREIGN_TAG.sub("&lt;", text) if "<" in text else text


def plain_markup(chart: dict[str, Any]) -> dict[str, Any]:
    """A chart's JSON with every other tag shown as the text that it is; dicts and lists are copied."""
    return {key: _plain(value) for key, value in chart.items()}


def _plain(value: object) -> object:
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return plain_markup(value)
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], int | float):
            return value  # numbers, of which a chart has many
        return [_plain(inner) for inner in value]
    return value
