"""What the documentation shows is true: its commands parse, its configurations are valid, the site is made."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

from study.cli.app import app
from study.config import ExperimentConfig
from study.search.pruners import PRUNERS
from study.search.samplers import SAMPLERS
from study.search.space import SearchSpace

ROOT = Path(__file__).parents[1]
PAGES = {
    path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]
}
COMMAND = typer.main.get_command(app)
PLACEHOLDERS = {"N": "1", "A": "0.5", "METRIC": "psnr_lodopab"}


def blocks(text: str, *languages: str) -> list[str]:
    return [
        body for language, body in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if language in languages
    ]


def commands() -> Iterator[tuple[str, str]]:
    """Every `taskct ...` of a page: lines of shell blocks, and code within a sentence."""
    for name, text in PAGES.items():
        lines = "\n".join(blocks(text, "bash", "")).replace("\\\n", " ").splitlines()
        for line in lines:
            if match := re.match(r"(?:\w+=\S+ )*(?:\S+/)?taskct (.*)", line.strip()):
                yield name, re.sub(r"\s+#.*", "", match[1])
        sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        yield from ((name, found) for found in re.findall(r"`taskct ([^`]+)`", sentences))


def parse(words: list[str]) -> None:
    """Parse a command as the program does, without running it.

    Raises:
        ClickException: if a command, an option or a value is unknown, or more is given than is taken.
    """
    command: Any = COMMAND
    context = None
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name, list(words), parent=context)
        _, command, words = command.resolve_command(context, context._protected_args + context.args)
    command.make_context(command.name, words, parent=context)


def test_every_command_exists_with_its_options() -> None:
    found = sorted(set(commands()))
    assert len(found) > 30
    wrong = []
    for page, text in found:
        words = [PLACEHOLDERS.get(word, word) for word in shlex.split(text)]
        try:
            parse(words)
        except Exception as error:  # a sentence may name a command without all that it needs
            if "Missing" not in type(error).__name__:
                wrong.append(f"{page}: taskct {text}: {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text", ["simulat x", "report", "report a --wach", "study status a b", "run x --set"]
)
def test_a_wrong_command_would_be_found(text: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing|unexpected|requires"):
        parse(text.split())


def test_every_configuration_is_valid() -> None:
    sections = 0
    found = [(name, yaml.safe_load(body)) for name, text in PAGES.items() for body in blocks(text, "yaml")]
    for page, values in found:
        if set(values) <= set(ExperimentConfig.model_fields):
            experiment = ExperimentConfig.parse(values)
            assert SearchSpace.parse(experiment.study.space), page
            sections += 1
        elif set(values) == {"source"}:
            ExperimentConfig.parse({"data": values})
        else:
            assert SearchSpace.parse(values), page
    assert sections > 5


def test_every_sampler_and_pruner_is_described() -> None:
    for name in [*SAMPLERS, *PRUNERS]:
        assert f"`{name}`" in PAGES["study.md"] or name == "none"


def test_the_python_compiles() -> None:
    for name, text in PAGES.items():
        for block in blocks(text, "python"):
            compile(block, name, "exec")


def test_the_reference_has_every_key_with_its_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    page = importlib.import_module("reference_pages").configuration_page()

    def rows_are_there(model: type[BaseModel]) -> int:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name} has no text below it"
            rows = re.findall(rf"^\| `{name}` \|.*\|$", page, re.MULTILINE)
            assert any(" ".join(field.description.split()) in row for row in rows), name
        inner = [field.annotation for field in model.model_fields.values()]
        models = [item for item in inner if isinstance(item, type) and issubclass(item, BaseModel)]
        return len(model.model_fields) + sum(map(rows_are_there, models))

    assert rows_are_there(ExperimentConfig) == len(re.findall(r"^\| `", page, re.MULTILINE)) > 100
    assert "`tpe`" in page and "number ≥ 0 and < 1 | `0.99`" in page
    assert 'or `package.module:Name` | `"unet"`' in page


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for name in {*PAGES} - {"README.md"}:
        assert f": {name}\n" in navigation
