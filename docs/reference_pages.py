"""The reference of every configuration key, from the models, and of every command, from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_PREFACE = """# Configuration

One YAML file is one experiment; every key of it is below, with what it is where the file leaves it out. A key that is not
here is refused. `--set trial.alpha=0.5` overrides one on the command line. None is
written `null`. `taskct init NAME` writes a file to start from.
"""


def configuration_page() -> str:
    """Every key of an experiment, a table for each section."""
    from study.config import ExperimentConfig

    schema = ExperimentConfig.model_json_schema()
    return "\n".join([_PREFACE, *_section(schema, schema["$defs"], ())])


def commands_page() -> str:
    """Every command with its arguments and options."""
    import typer
    from typer.cli import get_docs_for_click

    from study.cli.app import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="taskct", title="Commands")
    return text.replace("\b\n", "")


def _section(schema: Schema, models: Schema, path: tuple[str, ...]) -> Iterator[str]:
    """The keys of a section, then its sections."""
    sections = {
        name: models[field["$ref"].split("/")[-1]]
        for name, field in schema["properties"].items()
        if "$ref" in field
    }
    if path:
        yield f"\n{'#' * min(1 + len(path), 4)} {'.'.join(path)}\n\n{schema['description']}\n"
    yield "| key | what it takes | default | meaning |\n|---|---|---|---|"
    for name, field in schema["properties"].items():
        if name in sections:
            # Where both say the same, pydantic leaves the field's description out.
            meaning = field.get("description", sections[name]["description"])
            yield f"| `{name}` | [a section](#{''.join((*path, name))}) | | {_cell(meaning)} |"
        else:
            yield f"| `{name}` | {_takes(field)} | {_default(field)} | {_cell(field['description'])} |"
    for name, model in sections.items():
        yield from _section(model, models, (*path, name))


def _takes(field: Schema) -> str:
    """What may stand there, in words."""
    if "anyOf" in field:
        return " or ".join(_takes(choice) for choice in field["anyOf"] if choice.get("type") != "null")
    if "enum" in field:
        return "one of " + ", ".join(f"`{name}`" for name in field["enum"])
    if "examples" in field:
        return ", ".join(f"`{name}`" for name in field["examples"]) + ", or `package.module:Name`"
    kind = field.get("type")
    if kind == "array":
        return _list_of(field)
    if kind == "object":
        values = field.get("additionalProperties")
        return f"mapping to {_takes(values)}" if isinstance(values, dict) and values else "mapping"
    limits = " and ".join(f"{sign} {field[key]:g}" for key, sign in _LIMITS.items() if key in field)
    return f"{_KINDS.get(str(kind), 'any value')} {limits}".strip()


def _list_of(field: Schema) -> str:
    if "prefixItems" in field:
        items = [_takes(item) for item in field["prefixItems"]]
        return f"list of {len(items)}: {items[0] if len(set(items)) == 1 else ', '.join(items)}"
    return f"list of {_takes(field['items'])}"


def _default(field: Schema) -> str:
    return f"`{json.dumps(field['default'], ensure_ascii=False)}`" if "default" in field else "required"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
