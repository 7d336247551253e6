"""Draws who imports whom, from the code, into docs/architecture.md: ``python docs/draw_imports.py``.

The table "Inside study/" there lists the floors from top to bottom; ``tests/test_architecture.py`` holds the code against
it and the picture against the code.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("taskct_core", "search_spaces", "analysis", "study")
Graph = dict[str, set[str]]
_PICTURE = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def modules() -> dict[str, Path]:
    """Every module of ours, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(at_import_only: bool = False) -> Graph:
    """Module -> modules of ours that it imports, anywhere in its text, or only those run when it is imported."""
    known = modules()
    graph: Graph = {name: set() for name in known}
    for name, path in known.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in _run_at_import(tree) if at_import_only else ast.walk(tree):
            graph[name] |= {target for target in _targets(node, known) if target != name}
    return graph


def _run_at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those in functions and in ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        is_typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if not is_typing and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
            yield from _run_at_import(node)


def _targets(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in known)
    elif isinstance(node, ast.ImportFrom) and node.module in known:
        for alias in node.names:  # a name, or a module of its own
            name = f"{node.module}.{alias.name}"
            yield name if name in known else node.module


def floor_of(module: str) -> str:
    """The row of a table that a module belongs to: ``study/search``, ``study/run.py``, or its package."""
    package, *below = module.split(".")
    if package != "study" or not below:
        return package
    folder = ROOT / "study" / below[0]
    return f"study/{below[0]}" if folder.is_dir() else f"study/{below[0]}.py"


def between_floors(graph: Graph) -> Graph:
    """Floor -> the other floors that its modules import. What ``study`` itself offers is no floor."""
    floors: Graph = defaultdict(set)
    for module, targets in graph.items():
        for target in targets:
            if module != "study" and floor_of(target) != floor_of(module):
                floors[floor_of(module)].add(floor_of(target))
    return floors


def picture(floors: Graph) -> str:
    """A Mermaid graph; an import that also follows from others is left out."""
    lines = [
        f'  {_identifier(floor)}["{floor}"] --> {_identifier(target)}["{target}"]'
        for floor in sorted(floors)
        for target in sorted(floors[floor])
        if not any(target in _reached(floors, between) for between in floors[floor] - {target})
    ]
    return "\n".join(["```mermaid", "graph TD", *lines, "```\n"])


def _reached(floors: Graph, start: str) -> set[str]:
    reached, waiting = set[str](), [start]
    while waiting:
        new = floors.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def _identifier(floor: str) -> str:
    return re.sub(r"\W", "_", floor)


def drawn(page: str) -> str:
    """The page with the picture of the code as it is now."""
    return _PICTURE.sub(lambda _: picture(between_floors(imports())), page, count=1)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
