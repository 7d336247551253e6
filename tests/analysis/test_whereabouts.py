"""A report tells no password ever, and no host, user or absolute path unless it is asked to."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from study_factory import Recipe, write_study

import analysis
from analysis.whereabouts import Hider
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.tables import with_format, write_table

PASSWORDS = ("s3cr3t-storage", "s3cr3t-mlflow")
WHEREABOUTS = ("gpu-node-17", "anna.bauer", "/srv/lab", "db.lab.example", "mlflow.lab.example", "10.20.30.40")
REASON = (
    "disk full: /home/anna.bauer/my runs/liver/study/trials/0003/metrics.jsonl on gpu-node-17 (10.20.30.40:6379), "
    "and /srv/lab/scratch/x.log; postgresql://anna.bauer:s3cr3t-storage@db.lab.example/studies"
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only. A study whose records tell all that they could, as those of older versions did."""
    folder = write_study(tmp_path_factory.mktemp("lab") / "liver" / "study", Recipe(trials=6, panels=False))
    path = folder / StudyFolder.card
    card = json.loads(path.read_text())
    config = card.get("config") or {}
    config |= {"output": "/home/anna.bauer/my runs", "name": "liver"}
    config["data"] = {"source": {"kind": "lits", "path": "/srv/lab/ct"}}
    config["execution"] = {"address": "ray://gpu-node-17:10001"}
    config["study"] = (config.get("study") or {}) | {
        "storage": f"postgresql://anna.bauer:{PASSWORDS[0]}@db.lab.example/studies",
        "mlflow": f"http://anna.bauer:{PASSWORDS[1]}@mlflow.lab.example:5000",
    }
    folders = {"dataset": "/home/anna.bauer/my runs/liver/data"}
    path.write_text(json.dumps(card | {"config": config, "folders": folders}))
    rows = pd.read_parquet(folder / StudyFolder.results)
    rows[S.HOST] = "gpu-node-17"
    first = rows[S.TRIAL] == rows.loc[rows[S.STATUS] == S.COMPLETE, S.TRIAL].max()
    rows.loc[first, S.STATUS] = S.FAIL
    rows.loc[first, S.FAILURE_REASON] = REASON
    table = pa.Table.from_pandas(rows, preserve_index=False)
    write_table(folder / StudyFolder.results, with_format(table, S.RESULTS_FORMAT_VERSION))
    return folder


@pytest.fixture(scope="module")
def page(study: Path) -> str:
    return analysis.write_report(study).read_text()


def told(page: str) -> str:
    """The page, and the files that it holds."""
    files = re.findall(r"data:application/yaml;base64,([\w+/=]+)", page)
    assert files
    return page + "".join(base64.b64decode(file).decode() for file in files)


def test_a_report_tells_no_secret_and_no_whereabouts(page: str) -> None:
    text = told(page)
    reason = "disk full: my runs/liver/study/trials/0003/metrics.jsonl on … (…), and x.log"
    assert json.dumps(reason)[:-1] in text  # the page's script shows it
    for secret in (*PASSWORDS, *WHEREABOUTS):
        assert secret not in text, text[max(0, text.index(secret) - 200) : text.index(secret) + 50]


def test_whereabouts_are_told_on_request_but_passwords_never(study: Path) -> None:
    text = told(analysis.write_report(study, whereabouts=True).read_text())
    for secret in PASSWORDS:
        assert secret not in text
    for place in WHEREABOUTS:
        assert place in text


def test_the_yaml_in_a_report_is_still_an_experiment(page: str) -> None:
    file = re.findall(r"data:application/yaml;base64,([\w+/=]+)", page)[0]
    values = yaml.safe_load(base64.b64decode(file))
    assert values["output"] == "my runs"
    assert values["dataset"].endswith("liver/data") and not values["dataset"].startswith("/")
    assert values["study"]["storage"] is values["study"]["mlflow"] is values["execution"]["address"] is None


def test_an_exported_configuration_keeps_its_paths_and_no_password(study: Path, tmp_path: Path) -> None:
    paths = analysis.export_front_configs(analysis.load(study), tmp_path / "front")
    text = "".join(path.read_text() for path in paths)
    assert paths and "/home/anna.bauer/my runs" in text
    assert not any(secret in text for secret in PASSWORDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/m, a/b, w/o and 3 / 4", "1/m, a/b, w/o and 3 / 4"),
        ("runs/quickstart", "runs/quickstart"),
        ("search_spaces.default:SPACE", "search_spaces.default:SPACE"),
        ("0.5*l1 + 0.5*mine:Loss", "0.5*l1 + 0.5*mine:Loss"),
        ("/home/anna", "…"),
        ("~/runs/x", "x"),
        ("s3://bucket/runs/x", "x"),
        ("max('/a/b', /c/d)", "max('b', d)"),
        ("2026-11-25T18:00:00+00:00, torch 2.13.0+cpu", "2026-11-25T18:00:00+00:00, torch 2.13.0+cpu"),
        ("node1 and node12", "… and node12"),
    ],
)
def test_what_is_hidden_in_a_text(text: str, expected: str) -> None:
    assert Hider(hosts=("node1",)).text(text) == expected
