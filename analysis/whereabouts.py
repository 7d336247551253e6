"""What a report leaves out unless it is asked for: machines, people and where files lie.

A report is passed on; a results table stays with its study. Absolute paths become their last part, home folders
``…``, as do addresses and the hosts of the trials.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from analysis.results_table import ResultsTable
from taskct_core import schema as S
from taskct_core.contracts.study_card import StudyCard

HIDDEN = "…"
_SERVERS = {"storage", "mlflow", "wandb", "address"}  # keys of an experiment that name servers
_URL = re.compile(r"\b[a-zA-Z][\w+.-]*://[^\s'\"<>)\]]+")
_PATH = re.compile(r"(?<![\w:/.~…*])(?:~/|/(?=[\w.~-]))[^\s'\"<>:;,()\[\]{}|]*")
_IP = re.compile(r"\b(?!127\.0\.0\.1\b)(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b")
_HOMES = ("home", "Users")


def without_whereabouts(table: ResultsTable) -> ResultsTable:
    """The table with nothing in it that tells a host, a user or an absolute path; numbers are untouched."""
    hide = Hider(_places(table), _hosts(table))
    return replace(
        table,
        rows=hide.texts(table.rows.drop(columns=S.HOST, errors="ignore")),
        evaluations=hide.texts(table.evaluations.drop(columns=S.HOST, errors="ignore")),
        study=StudyCard.model_validate(hide.values(table.study.model_dump())),
        hide=hide.values,
    )


@dataclass(frozen=True)
class Hider:
    """Leaves whereabouts out of texts.

    Attributes:
        places: absolute paths that are known, and may hold blanks.
        hosts: names of machines.
    """

    places: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """One text without servers in URLs, absolute paths, IP addresses and hosts."""
        for place in self.places:
            text = text.replace(place, _last_part(place))
        text = _URL.sub(lambda found: _last_part(found.group().split("://", 1)[1]), text)
        text = _PATH.sub(lambda found: _last_part(found.group()), text)
        text = _IP.sub(HIDDEN, text)
        for host in self.hosts:
            text = re.sub(rf"(?<![\w-]){re.escape(host)}(?![\w-])", HIDDEN, text)
        return text

    def values(self, value: Any) -> Any:  # noqa: ANN401  plain values, of the shape that they had
        """Plain values; settings that name a server become None."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                key: None if key in _SERVERS and isinstance(inner, str) else self.values(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.values(inner) for inner in value]
        return value

    def texts(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A table with its texts changed."""
        frame = frame.copy()
        for column in frame.columns:
            if pd.api.types.is_numeric_dtype(frame[column]):
                continue
            texts = [value for value in frame[column].dropna().unique() if isinstance(value, str)]
            changes = {text: told for text in texts if (told := self.text(text)) != text}
            if changes:
                frame[column] = frame[column].replace(changes)
        return frame


def _last_part(path: str) -> str:
    parts = PurePosixPath(path.removeprefix("~")).parts
    parts = parts[1:] if parts[:1] == ("/",) else parts
    if parts[:1] and parts[0] in _HOMES:
        parts = parts[2:]
    return parts[-1] if parts else HIDDEN


def _places(table: ResultsTable) -> tuple[str, ...]:
    """Absolute paths that the study's own records name, longest first."""
    found = {str(table.folder.path), str(Path.home())}

    def collect(value: object) -> None:
        if isinstance(value, str) and value.startswith("/"):
            found.add(value.rstrip("/"))
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(inner)

    collect(table.study.model_dump())
    return tuple(sorted(found - {"", "/"}, key=len, reverse=True))


def _hosts(table: ResultsTable) -> tuple[str, ...]:
    names = {platform.node()}
    for frame in (table.rows, table.evaluations):
        if S.HOST in frame:
            names |= set(frame[S.HOST].dropna().astype(str))
    return tuple(sorted(names - {"", "localhost"}))
