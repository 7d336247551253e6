"""YAML as a person means it: ``1e-3`` is a number, and a key given twice is a mistake. What no person writes is refused.

A text of 1 kB can stand for more values than fit into memory, nest deeper than Python can follow, or hold a number that
cannot be printed; see ``MOST_VALUES``, ``DEEPEST`` and ``LONGEST_NUMBER``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from taskct_core.contracts.files import HALF_A_LETTER, is_unicode
from taskct_core.errors import DataError

MOST_VALUES = 200_000  # with those that aliases repeat
DEEPEST = 50  # levels
LONGEST_NUMBER = 100  # characters


class _Loader(yaml.SafeLoader):
    """PyYAML follows YAML 1.1, which reads ``1e-3`` as text and keeps the last of equal keys."""

    _depth = 0

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count_values(node, {})
        return node

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise _refused(f"values are nested deeper than {DEEPEST} levels", self.peek_event().start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen and key != "<<":
                raise _refused(f"the key '{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        """As PyYAML's, but what cannot be read as its kind (a 13th month) is an error with its line."""
        if isinstance(node, yaml.ScalarNode) and not is_unicode(node.value):
            raise _refused(f"a text {HALF_A_LETTER}", node.start_mark)
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and len(node.value) > LONGEST_NUMBER:
            raise _refused(f"a number has more than {LONGEST_NUMBER} characters", node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError, KeyError, AttributeError, TypeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise _refused(f"{node.value!r} cannot be read as {kind} ({error})", node.start_mark) from None


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Any:  # noqa: ANN401  whatever YAML holds: who asks knows what to check
    """Return the plain values that a YAML text stands for.

    Raises:
        yaml.YAMLError: telling the line and column.
    """
    return yaml.load(text, Loader=_Loader)  # a SafeLoader: makes no objects


def read_yaml(path: Path, next_step: str) -> Any:  # noqa: ANN401  as parse_yaml
    """Read a YAML file of a study's folder.

    Raises:
        DataError: if it cannot be read or is no YAML, with the user's ``next_step``.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        received = " ".join(str(error).split())
        raise DataError(f"{path.name} must be valid YAML", f"{path}: {received}", next_step) from None


def _refused(problem: str, mark: yaml.Mark) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, mark)


def _count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """How many values a node stands for; ``counts`` holds those known, 0 for the nodes around this one."""
    known = counts.get(id(node))
    if known == 0:
        raise _refused("an alias stands for a value that holds it", node.start_mark)
    if known is not None:
        return known
    counts[id(node)] = 0
    inner = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    total = 1 + sum(_count_values(part, counts) for part in inner)
    if total > MOST_VALUES:
        raise _refused(f"aliases make more than {MOST_VALUES:,} values of it", node.start_mark)
    counts[id(node)] = total
    return total
