"""``taskct init`` writes configurations that are valid as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from study.cli.templates import DEFAULT, templates, write_template
from study.config import ExperimentConfig, load_experiment
from study.search.space import SearchSpace
from taskct_core.errors import ConfigError


@pytest.mark.parametrize("template", templates())
def test_a_template_is_a_valid_experiment_of_the_users_name(template: str, tmp_path: Path) -> None:
    experiment = load_experiment(write_template("my-study.1", template, tmp_path))
    assert experiment.name == "my-study.1"
    assert SearchSpace.parse(experiment.study.space)


def test_the_commented_template_has_every_section_and_explains_it() -> None:
    text = templates()[DEFAULT].read_text(encoding="utf-8")
    sections = [name for name in ("data", *ExperimentConfig.model_fields) if name in text]
    for section in ("data", "simulation", "task_network", "trial", "study", "execution"):
        assert section in sections
        assert re.search(rf"^# .+\n{section}:$", text, flags=re.MULTILINE), section


@pytest.mark.parametrize("name", ["../outside", "", "a b", "x/y"])
def test_a_name_that_no_experiment_can_have_leaves_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(ConfigError, match="name"):
        write_template(name, DEFAULT, tmp_path / "here")
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_number_for_a_name_stays_a_name(tmp_path: Path) -> None:
    assert load_experiment(write_template("2026", DEFAULT, tmp_path)).name == "2026"


def test_nothing_is_written_over_and_unknown_templates_are_refused(tmp_path: Path) -> None:
    path = write_template("mine", DEFAULT, tmp_path)
    path.write_text("my work")
    with pytest.raises(ConfigError, match="existing file"):
        write_template("mine", DEFAULT, tmp_path)
    assert path.read_text() == "my work"
    with pytest.raises(ConfigError, match="one of experiment, lits"):
        write_template("other", "nonsense", tmp_path)


def test_nothing_needs_the_kernels_locks_to_be_imported(tmp_path: Path) -> None:
    """Windows has no fcntl: the command line answers there, and a driver is judged by its heartbeat."""
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path; import study.cli.app\n"
        "from study.search.lock import study_lock, read_driver\n"
        "with study_lock(Path(sys.argv[1])): print(read_driver(Path(sys.argv[1])).is_alive)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
