"""What docs/study.md shows can be run."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from study.config import ExperimentConfig, StudyConfig
from study.search.pruners import PRUNERS
from study.search.samplers import SAMPLERS
from study.search.space import SearchSpace

TEXT = (Path(__file__).parents[2] / "docs" / "study.md").read_text(encoding="utf-8")


def test_the_yaml_is_valid() -> None:
    study, architecture, repeats = (
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    )
    assert SearchSpace.parse(StudyConfig.parse(study["study"]).space)
    assert SearchSpace.parse(architecture)
    assert ExperimentConfig.parse(repeats).study.repeats.seeds == 3


def test_every_sampler_and_pruner_is_described() -> None:
    for name in [*SAMPLERS, *PRUNERS]:
        assert f"`{name}`" in TEXT or name == "none"


def test_the_python_compiles() -> None:
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        compile(block, "docs/study.md", "exec")
