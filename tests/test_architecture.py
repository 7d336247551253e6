"""docs/architecture.md says who may import whom; the code obeys it, and the picture there is of the code."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


draw_imports = _load(ROOT / "docs" / "draw_imports.py")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    return [name.rstrip("/") for name in re.findall(r"`([^`]+)`", cell)]


GRAPH = draw_imports.imports()
PACKAGES = {named(cells[0])[0]: named(cells[-1]) for cells in rows("## Packages")}
FLOORS = [[f"study/{name}" for name in named(cells[0])] for cells in rows("### Inside `study/`")]


def test_the_tables_list_all_that_there_is() -> None:
    assert sorted(PACKAGES) == sorted(draw_imports.PACKAGES)
    floors = {draw_imports.floor_of(name) for name in draw_imports.modules()} - set(draw_imports.PACKAGES)
    assert sorted(floor for row in FLOORS for floor in row) == sorted(floors)


@pytest.mark.parametrize("package", draw_imports.PACKAGES)
def test_a_package_imports_what_its_row_allows(package: str) -> None:
    allowed = (package, *PACKAGES[package])
    forbidden = [
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if module.split(".")[0] == package
        and not any(f"{target}.".startswith(f"{name}.") for name in allowed)
    ]
    assert not forbidden


def test_a_floor_of_study_imports_only_those_below() -> None:
    height = {floor: -number for number, row in enumerate(FLOORS) for floor in row}
    upward = [
        f"{module} imports {target}"
        for module, targets in GRAPH.items()
        for target in targets
        if (below := height.get(draw_imports.floor_of(target))) is not None
        and (own := height.get(draw_imports.floor_of(module))) is not None
        and draw_imports.floor_of(module) != draw_imports.floor_of(target)
        and own <= below
    ]
    assert not upward


def test_no_modules_import_each_other() -> None:
    graph = draw_imports.imports(at_import_only=True)
    while leaves := {module for module, targets in graph.items() if not targets & graph.keys()}:
        graph = {module: targets for module, targets in graph.items() if module not in leaves}
    assert not graph


def test_an_import_that_goes_up_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("search", "cli"):
        (tmp_path / "study" / folder).mkdir(parents=True)
        (tmp_path / "study" / folder / "__init__.py").touch()
    (tmp_path / "study" / "cli" / "app.py").touch()
    (tmp_path / "study" / "search" / "lock.py").write_text("def f():\n    from study.cli import app\n")
    monkeypatch.setattr(draw_imports, "ROOT", tmp_path)
    assert draw_imports.imports()["study.search.lock"] == {"study.cli.app"}
    assert draw_imports.imports(at_import_only=True)["study.search.lock"] == set()
    assert draw_imports.between_floors(draw_imports.imports()) == {"study/search": {"study/cli"}}


def test_the_picture_is_drawn_from_the_code() -> None:
    assert "```mermaid" in PAGE
    assert draw_imports.drawn(PAGE) == PAGE, "run: python docs/draw_imports.py"


PLAN = "\n".join(
    (ROOT / name).read_text(encoding="utf-8") for name in ("docs/architecture.md", "CONTRIBUTING.md")
)
NOT_OURS = {"NAME", "Path", "TMPDIR", "TorchTrainer", "Tuner", "UPath"}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w./]+(?:\.py|\.md|/))`", PLAN))))
def test_a_file_that_the_plan_names_is_there(name: str) -> None:
    name = name.replace("NAME", "unet")
    assert (ROOT / name).exists() or list(ROOT.glob(f"*/**/{name}"))


def test_what_the_plan_names_is_defined() -> None:
    named_objects = set(re.findall(r"`([A-Z]\w+)`", PLAN)) - NOT_OURS
    named_objects |= {"trial_points", "non_dominated", "attempt", "run_study"} & set(re.findall(r"\w+", PLAN))
    source = "\n".join(path.read_text(encoding="utf-8") for path in draw_imports.modules().values())
    defined = set(re.findall(r"^(?:(?:def|class) )?(\w+)\b(?:.* = |.*[:(])", source, flags=re.MULTILINE))
    assert len(named_objects) > 20 and not named_objects - defined
