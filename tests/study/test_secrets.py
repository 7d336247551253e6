"""Passwords stay out of every file, and provenance tells taskct's own commit alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from studies import run_here, study_config

from study.config import ExperimentConfig, recorded
from study.experiment.submit import submit
from study.provenance import source_of
from study.run import load_study
from study.search.storage import opening as storage
from taskct_core import schema
from taskct_core.contracts.files import open_folder
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, StudyError

SECRET = "s3cr3t"


def test_a_study_keeps_no_password_of_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite takes parameters that it does not know, so this is a real database behind a URL with a password."""
    url = f"sqlite:///file:{tmp_path / 'study.db'}?uri=true&password={SECRET}"
    folder = tmp_path / "study"
    run_here(study_config(trials=2, storage=url), folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files and not any(SECRET.encode() in path.read_bytes() for path in files)
    assert len(load_study(folder).trials) == 2  # this process was given it
    monkeypatch.setattr(storage, "_given", {})  # another one was not
    with pytest.raises(StudyError, match=r"must give it.*TASKCT_STORAGE") as caught:
        load_study(folder)
    assert SECRET not in str(caught.value)
    monkeypatch.setenv(storage.STORAGE_VARIABLE, url)
    assert len(load_study(folder).trials) == 2
    run_here(study_config(trials=3, storage=url), folder)  # goes on
    assert len(load_study(folder).trials) == 3


def test_a_folder_that_names_its_whole_url_still_opens(tmp_path: Path) -> None:
    """As folders of older versions do."""
    url = f"sqlite:///file:{tmp_path / 'study.db'}?uri=true&password={SECRET}"
    run_here(study_config(trials=2, storage=url), tmp_path / "study")
    card = StudyFolder(tmp_path / "study").storage
    card.write_text(json.dumps(json.loads(card.read_text()) | {"url": url}))
    run_here(study_config(trials=3, storage=url), tmp_path / "study")
    assert len(load_study(tmp_path / "study").trials) == 3


def test_a_recorded_experiment_has_no_password() -> None:
    url = f"postgresql://anna:{SECRET}@db/studies"
    experiment = ExperimentConfig.parse({"study": {"storage": url, "mlflow": f"http://a:{SECRET}@h:5000"}})
    values = recorded(experiment)
    assert SECRET not in json.dumps(values)
    assert values["study"]["storage"] == "postgresql://anna:***@db/studies"
    assert values["trial"] == json.loads(experiment.trial.model_dump_json())


@pytest.mark.parametrize("url", [f"s3://key:{SECRET}@bucket/runs", f"https://x/y?token={SECRET}"])
def test_a_folders_url_with_a_password_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"must hold no password.*environment") as caught:
        open_folder(url)
    assert SECRET not in str(caught.value)


def test_a_jobs_command_line_takes_no_password(tmp_path: Path) -> None:
    config = tmp_path / "experiment.yaml"
    config.write_text("output: s3://bucket/runs\n")
    with pytest.raises(ConfigError, match="everyone on the cluster sees it") as caught:
        submit(config, [f"study.storage=postgresql://a:{SECRET}@db/s"], "http://127.0.0.1:1")
    assert SECRET not in str(caught.value)


# --- provenance -------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    name = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *name, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository that holds what this package's does."""
    root = tmp_path / "taskct"
    (root / "study").mkdir(parents=True)
    (root / "study" / "provenance.py").write_text("\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    return root


def test_provenance_tells_the_commit_and_whether_there_are_changes(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert source_of(checkout) == {schema.GIT_COMMIT: commit, schema.GIT_CHANGED: "no changes"}
    (checkout / "study" / "provenance.py").write_text("changed\n")
    assert source_of(checkout) == {schema.GIT_COMMIT: commit, schema.GIT_CHANGED: "uncommitted changes"}


@pytest.mark.parametrize("tracked", [False, True])
def test_a_copy_inside_another_repository_tells_nothing_of_it(checkout: Path, tracked: bool) -> None:
    copy = checkout / "vendored" / "taskct"
    (copy / "study").mkdir(parents=True)
    (copy / "study" / "provenance.py").write_text("\n")
    if tracked:
        git(checkout, "add", ".")
        git(checkout, "commit", "-qm", "two")
    assert source_of(copy) == {schema.GIT_COMMIT: "", schema.GIT_CHANGED: ""}


def test_a_package_at_the_root_of_a_foreign_repository_tells_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "provenance.py").write_text("\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "another project's")
    assert source_of(tmp_path)[schema.GIT_COMMIT] == ""


def test_variables_of_git_do_not_lead_astray(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook of another repository."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "commit", "-q", "--allow-empty", "-m", "elsewhere")
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert source_of(checkout)[schema.GIT_COMMIT] == commit
