"""What a folder's files name runs nothing, unless its user named it too or gave --trust.

Every file of a folder that can name code is made to name some; the code would leave a file behind.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from study.cli import main
from study.config import ExperimentConfig, load_experiment, recorded, trust_of
from study.trials.inputs import TrialInputs, Worker
from study.trials.task import trusted_task
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder, TaskNetworkFolder, TrialFolder
from taskct_core.errors import ConfigError
from taskct_core.geometry import ParallelBeam
from taskct_core.registry import Trust
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.storage import save_task_network

ATTACK = "attack_of_a_folder"


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Which parts of the attacker's module have run: it is importable, as ``subprocess`` always is."""
    place = tmp_path / "traces"
    place.mkdir()
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / f"{ATTACK}.py").write_text(
        "from pathlib import Path\n"
        "from torch import nn\n"
        f"place = Path({str(place)!r})\n"
        "(place / 'imported').touch()\n\n\n"
        "class Network(nn.Conv2d):\n"
        "    def __init__(self, num_classes=3):\n"
        "        (place / 'built').touch()\n"
        "        super().__init__(1, num_classes, 1)\n\n\n"
        "def score(rows):\n"
        "    (place / 'scored').touch()\n"
        "    return 1.0\n\n\n"
        "score.study_direction = 'maximize'\n"
    )
    monkeypatch.syspath_prepend(str(modules))
    return lambda: sorted(path.name for path in place.iterdir())


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """A study's folder with one trained trial, which ``taskct evaluate --trial 0`` can score."""
    root = shutil.copytree(trained, tmp_path / "runs" / "small")
    card = root / "study" / StudyFolder.card
    card.write_text(card.read_text().replace(str(trained), str(root)))
    return root / "study"


@pytest.fixture(scope="module")
def trained(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its experiment's folder, as it was made."""
    root = shutil.copytree(small.workspace.root, tmp_path_factory.mktemp("trained") / "small")
    folder = root / "study"
    card = small.card
    inputs = TrialInputs(
        feeds={split: small.feed(split) for split in schema.SPLITS},
        geometry=ParallelBeam.from_dict(card.geometry),
        task_network=str(root / "task_network"),
        data_hash=card.data_hash,
    )
    run_trial(small.experiment.trial, folder / "trials" / "0000", inputs, Worker(), lambda row: None)
    record = {
        "objectives": [schema.PRIMARY_DICE],
        "dataset": {"patients": card.patients},
        "folders": {"dataset": str(root / "data"), "task_network": str(root / "task_network")},
    }
    (folder / StudyFolder.card).write_text(json.dumps(record))
    (folder / StudyFolder.results).touch()
    return root


def _name_in_card(study: Path, name: str) -> None:
    path = study.parent / "task_network" / TaskNetworkFolder.card
    card = json.loads(path.read_text())
    card["network"] |= {"architecture": name, "architecture_parameters": {}}
    path.write_text(json.dumps(card))


def _name_in_trial(field: str, text: str = "{}") -> Callable[[Path, str], None]:
    def spoil(study: Path, name: str) -> None:
        path = study / "trials" / "0000" / TrialFolder.config
        values = yaml.safe_load(path.read_text()) | {field: text.format(name)}
        path.write_text(yaml.safe_dump(values | {"architecture_parameters": {}}))

    return spoil


def _name_in_study(study: Path, name: str) -> None:
    path = study / StudyFolder.card
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"objectives": [name.replace("Network", "score")]}))


EVALUATED: dict[str, Callable[[Path, str], None]] = {
    "task network's card": _name_in_card,
    "trial's architecture": _name_in_trial("architecture"),
    "trial's task loss": _name_in_trial("task_loss"),
    "trial's image loss": _name_in_trial("image_loss"),
    "trial's mix of image losses": _name_in_trial("image_loss", "0.5*l1 + 0.5*{}"),
    "study's objective": _name_in_study,
}


def _run(arguments: list[object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails writes."""
    monkeypatch.setattr("sys.argv", ["taskct", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    error = capsys.readouterr().err
    assert caught.value.code == 2 and "Traceback" not in error, error
    return " ".join(error.split())


@pytest.mark.parametrize("spoil", EVALUATED.values(), ids=EVALUATED)
def test_evaluate_imports_nothing_that_a_folder_names(
    spoil: Callable[[Path, str], None],
    study: Path,
    traces: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(study, f"{ATTACK}:Network")
    error = _run(["evaluate", study, "--trial", 0], monkeypatch, capsys)
    assert traces() == []
    assert ATTACK in error and "--trust" in error and str(study.parent) in error


def test_evaluate_with_trust_uses_what_the_folder_names(
    study: Path,
    traces: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _name_in_study(study, f"{ATTACK}:score")
    monkeypatch.setattr("sys.argv", ["taskct", "evaluate", str(study), "--trial", "0", "--trust"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code, capsys.readouterr().err
    assert traces() == ["imported", "scored"]


@pytest.mark.parametrize("command", [["study", "run"], ["train"]])
def test_a_downloaded_task_network_imports_nothing(
    command: list[str],
    study: Path,
    small: Any,
    traces: Callable[[], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Refused before Ray is started."""
    _name_in_card(study, f"{ATTACK}:Network")
    values = json.loads(small.experiment.model_dump_json())
    root = study.parent
    values |= {"output": str(tmp_path / "out"), "dataset": str(root / "data")}
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump(values | {"pretrained": str(root / "task_network")}))
    assert "--trust" in _run([*command, config], monkeypatch, capsys)
    assert traces() == []


class _Script(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.convolution(image)


def test_a_torchscript_program_counts_as_code(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its operations may write files; and no hash protects from whoever wrote the card beside it."""
    torch.jit.save(torch.jit.script(_Script()), tmp_path / "net.pt")
    values = {"architecture": "torchscript", "architecture_parameters": {"path": str(tmp_path / "net.pt")}}
    config = ExperimentConfig.parse({"task_network": values}).task_network
    save_task_network(build_task_network(config), study.parent / "task_network", data_hash="", scores={})
    loaded: list[object] = []
    load = torch.jit.load
    monkeypatch.setattr(torch.jit, "load", lambda *args, **named: loaded.append(args) or load(*args, **named))
    assert "'torchscript'" in _run(["evaluate", study, "--trial", 0], monkeypatch, capsys)
    assert not loaded


# --- what the user's own configuration names, a folder may name too ---------------------------------

OWN = "my_networks:Net"


@pytest.mark.parametrize(
    "values",
    [
        {"trial": {"architecture": OWN}},
        {"trial": {"image_loss": f"0.5*l1 + 0.5*{OWN}"}},
        {"trial": {"task_loss": OWN}},
        {"task_network": {"architecture": OWN}},
        {"study": {"objectives": [OWN, schema.PRIMARY_DICE]}},
        {"study": {"space": {"architecture": {"kind": "choice", "values": {OWN: {}, "unet": {}}}}}},
        {"study": {"space": {"image_loss": {"kind": "choice", "values": ["mse", f"mse+2*{OWN}"]}}}},
    ],
)
def test_the_users_own_configuration_is_trusted(values: dict[str, Any]) -> None:
    trust = trust_of(ExperimentConfig.parse(values))
    assert OWN in trust.plugins and not trust.everything
    assert OWN not in trust_of(ExperimentConfig()).plugins


def test_a_space_written_in_python_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"SPACE = {{'task_loss': {{'kind': 'choice', 'values': ['dice', {OWN!r}]}}}}\n"
    (tmp_path / "my_space.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert OWN in trust_of(ExperimentConfig.parse({"study": {"space": "my_space:SPACE"}})).plugins


def test_trust_is_not_recorded_with_the_study(tmp_path: Path) -> None:
    """Otherwise whoever runs an exported configuration would trust what they never looked at."""
    (tmp_path / "experiment.yaml").write_text("name: x\n")
    experiment = load_experiment(tmp_path / "experiment.yaml", trust=True)
    assert trust_of(experiment) == Trust(trust_of(ExperimentConfig()).plugins, everything=True)
    assert "trust" not in recorded(experiment)


@pytest.mark.parametrize("field", ["architecture", "image_loss", "task_loss"])
def test_names_in_a_studys_storage_are_limited_too(field: str, small: Any, tmp_path: Path) -> None:
    """A driver adopts the trials that it finds RUNNING, whoever proposed them."""
    base = small.experiment.trial
    proposal = {"trial": 0, "folder": str(tmp_path), "values": {field: f"{ATTACK}:Network"}}
    inputs = TrialInputs(
        feeds={},
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
        trust=trust_of(small.experiment),
    )
    with pytest.raises(ConfigError, match="study's storage"):
        trusted_task(base, proposal, inputs)
    named = replace(inputs, trust=Trust(frozenset({f"{ATTACK}:Network"})))
    assert getattr(trusted_task(base, proposal, named).config, field) == f"{ATTACK}:Network"
