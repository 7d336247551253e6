"""The configurations that are installed with taskct, and copies of them."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml

from study.config import ExperimentConfig
from taskct_core.contracts.files import check_file_writable, write_text
from taskct_core.contracts.yaml_loader import parse_yaml
from taskct_core.errors import ConfigError

DEFAULT = "experiment"
_QUICKSTART = "quickstart"


def templates() -> dict[str, Traversable]:
    """The configurations by name, the commented one first."""
    folder = files("study") / "configs"
    found = {
        file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")
    }
    found[_QUICKSTART] = files("study") / f"{_QUICKSTART}.yaml"
    return {name: found[name] for name in sorted(found, key=lambda name: (name != DEFAULT, name))}


def write_template(name: str, template: str, folder: Path) -> Path:
    """Write ``folder/name.yaml``, a copy of a template under the experiment's own name.

    Raises:
        ConfigError: if there is no such template, the file is there already, or the name cannot be an experiment's.
    """
    known = templates()
    if template not in known:
        raise ConfigError(
            f"a template must be one of {', '.join(known)}", repr(template), "Choose one of them."
        )
    line = yaml.safe_dump({"name": name}).strip()
    text = re.sub(r"(?m)^name: \S+", lambda _: line, known[template].read_text(encoding="utf-8"), count=1)
    ExperimentConfig.parse(parse_yaml(text))
    path = folder / f"{name}.yaml"
    if path.exists():
        raise ConfigError("an existing file is kept as it is", str(path), "Choose another name, or move it.")
    check_file_writable(path)
    write_text(path, text)
    return path
