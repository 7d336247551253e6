"""What happens to a file: bits that flip, blocks that are lost, zeroed or written twice, lines that are doubled or
joined, values of another type or size, keys that are gone, nesting and aliases without end.

Each mutation is a function of the file's bytes and of random numbers. ``HARMLESS`` ones leave the meaning of a log of
lines as it was: what is read from it must not change.
"""

from __future__ import annotations

import copy
import functools
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import yaml

Kind = Literal["yaml", "json", "lines", "binary"]
Bytes = Callable[[bytes, random.Random], bytes]
HEADER = 1500  # bytes, in which a binary format keeps what matters


@dataclass(frozen=True)
class Mutated:
    """What became of a file.

    Attributes:
        content: its bytes.
        mutation: what was done, by name.
        is_harmless: whether the same must be read from it as before.
        put: the keys to a value that stands in the place of another, and that value.
    """

    content: bytes
    mutation: str
    is_harmless: bool = False
    put: tuple[tuple[str | int, ...], Any] | None = None


def mutate(content: bytes, kind: Kind, draw: random.Random) -> Mutated:
    """One mutation of a file, of those that suit its kind."""
    if kind != "binary" and draw.random() < 0.6:
        try:
            return _swapped_value(content, kind, draw)
        except (ValueError, yaml.YAMLError):  # not this file's
            pass
    mutation = draw.choice(MUTATIONS[kind])
    return Mutated(mutation(content, draw), mutation.__name__, mutation in HARMLESS)


def flipped_bits(content: bytes, draw: random.Random) -> bytes:
    raw = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        raw[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
    return bytes(raw)


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def zeroed_block(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    block = content[start : start + draw.choice((1, 16, 512, 4096))]
    return content[:start] + bytes(len(block)) + content[start + len(block) :]


def doubled_block(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start : start + draw.randint(1, 400)] + content[start:]


def lost_block(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 60) :]


def random_header_bytes(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(min(len(content), HEADER))
    noise = draw.randbytes(draw.randint(1, 8))
    return content[:start] + noise + content[start + len(noise) :]


def extreme_header_bytes(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(min(len(content), HEADER))
    number = draw.choice((b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f"))
    return content[:start] + number + content[start + 4 :]


def emptied(content: bytes, draw: random.Random) -> bytes:
    return b""


def not_text(content: bytes, draw: random.Random) -> bytes:
    return b"\xff\xfe" + content


def doubled_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = draw.randrange(len(lines))
    return b"".join([*lines[: place + 1], *lines[place:]])


def lost_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    return b"".join(lines)


def swapped_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def joined_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    place = draw.randrange(max(1, len(lines) - 2))
    return b"\n".join(
        [*lines[:place], lines[place] + b"".join(lines[place + 1 : place + 2]), *lines[place + 2 :]]
    )


def blank_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    place = draw.randrange(len(lines) + 1)
    return b"".join([*lines[:place], draw.choice((b"\n", b"\r\n", b"  \n")), *lines[place:]])


def zeros_at_the_end(content: bytes, draw: random.Random) -> bytes:
    return content + bytes(draw.choice((1, 100, 4096)))


HARMLESS = (joined_lines, blank_line, zeros_at_the_end)
_ANY = [flipped_bits, cut, zeroed_block, doubled_block, lost_block, emptied]
_TEXT: list[Bytes] = [*_ANY, not_text, doubled_line, lost_line, swapped_lines]
MUTATIONS: dict[Kind, list[Bytes]] = {
    "binary": [*_ANY, random_header_bytes, extreme_header_bytes],
    "yaml": _TEXT,
    "json": _TEXT,
    "lines": [*_TEXT, *HARMLESS],
}

# --- values ---------------------------------------------------------------------------------------

_LONG, _DEEP, _ALIAS = "@long@", "@deep@", "@alias@"
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2.5, 10**30, -(10**30), 1e308, 1e-300, float("nan"), float("inf")),
    *("", "text", "1", "-", "inf", "2026-13-45", "../..", "a" * 3000, "no.such:Thing", "\0", "\ud800"),
    *([], {}, [[]], [1, "a", None], {"a": 1}, {"": {}}),
    *(_LONG, _DEEP, _ALIAS),
]
_EXPANDED: dict[Kind, dict[str, str]] = {
    "json": {_LONG: "9" * 5000, _DEEP: "[" * 3000 + "]" * 3000, _ALIAS: "[" * 100_000},
    "yaml": {_LONG: "9" * 5000, _DEEP: "[" * 2000 + "]" * 2000, _ALIAS: "&a [*a, *a]"},
}


def _swapped_value(content: bytes, kind: Kind, draw: random.Random) -> Mutated:
    """One value of a text is another's, or gone, or its key is another."""
    if kind == "lines":
        lines = content.split(b"\n")
        place = draw.randrange(max(1, len(lines) - 1))
        line = _swapped_value(lines[place], "json", draw)
        return Mutated(b"\n".join([*lines[:place], line.content, *lines[place + 1 :]]), line.mutation)
    values = copy.deepcopy(_parsed(content, kind))
    path = draw.choice(list(_paths(values)))
    if not path:
        raise ValueError("one value alone")
    place = functools.reduce(lambda inner, key: inner[key], path[:-1], values)
    what, put = draw.choice(("value", "value", "value", "value", "gone", "key")), None
    if what == "value":
        odd = draw.choice(ODD_VALUES)
        place[path[-1]] = copy.deepcopy(odd)
        put = None if odd in (_LONG, _DEEP, _ALIAS) else (path, odd)
    elif what == "gone":
        del place[path[-1]]
    elif isinstance(place, dict):
        place[draw.choice(("", "no_such_key", str(path[-1]).upper()))] = place.pop(path[-1])
    return Mutated(_dumped(values, kind), f"swapped {what} at {'.'.join(map(str, path))}", put=put)


@functools.lru_cache(maxsize=200)
def _parsed(content: bytes, kind: Kind) -> Any:
    text = content.decode()
    return json.loads(text) if kind == "json" else yaml.load(text, Loader=yaml.CSafeLoader)


def _dumped(values: Any, kind: Kind) -> bytes:
    text = json.dumps(values) if kind == "json" else yaml.safe_dump(values, sort_keys=False)
    for name, expanded in _EXPANDED[kind].items():
        for quoted in (f'"{name}"', f"'{name}'"):
            text = text.replace(quoted, expanded)
    return text.encode(errors="surrogatepass")


def _paths(values: Any, path: tuple[Any, ...] = ()) -> Any:
    yield path
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, inner in items:
        yield from _paths(inner, (*path, key))
