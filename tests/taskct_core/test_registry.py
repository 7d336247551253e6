"""Names in a configuration become objects, or one message that tells what would have been valid."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import pytest

from taskct_core.errors import ConfigError, DataError, TaskctError
from taskct_core.modes import MODES, Mode, Phase
from taskct_core.registry import BUILT_IN_ONLY, Trust, build_module, did_you_mean, known_name, load
from taskct_core.training.config import TrialConfig

FAMILY = {"ordered": "collections:OrderedDict", "fraction": "fractions:Fraction", "gone": "collections:Gone"}


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_known_names_and_own_names_pass() -> None:
    assert known_name("ordered", FAMILY, "thing") == "ordered"
    assert known_name("my.package:Thing", FAMILY, "thing") == "my.package:Thing"


@pytest.mark.parametrize(
    ("name", "meant"), [("unett", "unet"), ("red", "red_cnn"), ("", None), ("transformer", None)]
)
def test_a_name_is_answered_with_the_one_that_may_be_meant(name: str, meant: str | None) -> None:
    assert did_you_mean(name, ["dncnn", "unet", "red_cnn"]) == (f"; did you mean {meant!r}?" if meant else "")


def test_an_unknown_name_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(
        ValueError, match=r"unknown thing 'ordred'; valid: fraction, gone, ordered, or your own"
    ):
        known_name("ordred", FAMILY, "thing")
    with pytest.raises(ConfigError, match=r"'ordred'.*fraction, gone, ordered"):
        load("ordred", FAMILY, "thing")


def test_load_imports_built_ins_and_own_names() -> None:
    assert load("ordered", FAMILY, "thing") is OrderedDict
    assert load("fractions:Fraction", FAMILY, "thing") is Fraction


@pytest.mark.parametrize(
    "name", ["no_such_module:Thing", "collections:Thing", "gone", ":Thing", "collections:", "..x:y"]
)
def test_what_cannot_be_imported_is_a_config_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"a thing must be.*PYTHONPATH"):
        load(name, FAMILY, "thing")


@pytest.mark.parametrize(
    ("source", "part"), [("def broken(:\n", "invalid syntax"), ("1 / 0\n", "division by zero")]
)
def test_a_module_that_fails_to_import_is_named(own_module: Path, source: str, part: str) -> None:
    name = f"failing_{part.split()[0]}"
    (own_module / f"{name}.py").write_text(source)
    with pytest.raises(ConfigError, match=f"{name}:Thing.*{part}"):
        load(f"{name}:Thing", FAMILY, "thing")


@pytest.fixture(params=["Scale", "scale"])
def own_scale(own_module: Path, request: pytest.FixtureRequest) -> str:
    """A class of modules, and a function that makes one."""
    (own_module / "own_scale.py").write_text(
        "from torch import nn\n\n\n"
        "class Scale(nn.Module):\n"
        "    def __init__(self, factor, offset=0.0, *, channels=1):\n"
        "        super().__init__()\n"
        "        if factor < 0:\n"
        "            raise ValueError('factor must not be negative')\n"
        "        self.given = factor, offset, channels\n\n\n"
        "def scale(factor, offset=0.0, *, channels=1):\n"
        "    return Scale(factor, offset, channels=channels)\n"
    )
    return f"own_scale:{request.param}"


def test_build_passes_parameters_and_what_fits_of_the_offered(own_scale: str) -> None:
    module = build_module(own_scale, {}, "thing", {"factor": 2.0}, channels=3, geometry="unused")
    assert module.given == (2.0, 0.0, 3)


def test_build_names_the_valid_parameters(own_scale: str) -> None:
    with pytest.raises(ConfigError, match=r"must be of: factor, offset; received faktor = 2"):
        build_module(own_scale, {}, "thing", {"faktor": 2}, channels=3)


def test_a_parameter_may_be_called_args(own_module: Path) -> None:
    (own_module / "own_named.py").write_text(
        "from torch import nn\n\n\nclass Model(nn.Module):\n"
        "    def __init__(self, args, *rest):\n        super().__init__()\n        self.given = args\n"
    )
    assert build_module("own_named:Model", {}, "thing", {"args": {"lr": 1}}).given == {"lr": 1}
    with pytest.raises(ConfigError, match="must be of: args; received rest"):
        build_module("own_named:Model", {}, "thing", {"args": None, "rest": 1})


@pytest.mark.parametrize("parameters", [{"factor": -1}, {}, {"factor": "x"}])
def test_build_reports_rejected_values(own_scale: str, parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must accept its parameters"):
        build_module(own_scale, {}, "thing", parameters)


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("subprocess:Popen", "class 'subprocess.Popen'"),
        ("pathlib:Path", "class 'pathlib"),
        ("os:sep", "is '/'"),
        ("os:getpid", "makes a int"),
        ("builtins:getattr", "function getattr"),
    ],
)
def test_what_is_no_module_is_refused_and_a_class_not_even_called(name: str, received: str) -> None:
    with pytest.raises(ConfigError, match=f"must be a torch.nn.Module; received.*{received}"):
        build_module(name, {}, "thing", {})


def test_a_file_may_name_built_ins_and_what_the_user_trusts() -> None:
    own = "my.package:Thing"
    for trust in (Trust(frozenset({own})), Trust(everything=True)):
        trust.require(own, FAMILY, "thing", "card.json")
    BUILT_IN_ONLY.require("ordered", FAMILY, "thing", "card.json")
    for trust in (BUILT_IN_ONLY, Trust(frozenset({"my.package:Other", "my.package"}))):
        with pytest.raises(ConfigError, match=r"must be built in.*'my.package:Thing' in card.json.*--trust"):
            trust.require(own, FAMILY, "thing", "card.json")


@pytest.mark.parametrize("kind", [TaskctError, ConfigError, DataError])
def test_errors_survive_the_way_from_a_worker(kind: type[TaskctError]) -> None:
    error = kind("a rule", "a value", "A next step.")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.rule, copy.received, copy.next_step) == ("a rule", "a value", "A next step.")
    assert str(copy) == str(error) == "a rule; received a value. A next step."


# --- names that configurations check ----------------------------------------------------------------


def test_a_mode_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration, training and figures all go by ``MODES``."""
    with pytest.raises(ConfigError, match="unknown training mode 'reversed'; valid: end_to_end, "):
        TrialConfig.parse({"mode": "reversed"})
    reversed_fine_tune = Mode((Phase("mixed", task_network_learns=True), Phase("image")))
    monkeypatch.setitem(MODES, "reversed", reversed_fine_tune)
    assert TrialConfig.parse({"mode": "reversed"}).mode == "reversed"
    with pytest.raises(ConfigError, match="reversed has two phases"):
        TrialConfig.parse({"mode": "reversed", "epochs": 1})


@pytest.mark.parametrize(
    ("mode", "mixes", "uses_task_loss", "own_network"),
    [
        ("reconstruction_only", False, False, False),
        ("task_adaptive", True, True, False),
        ("joint", True, True, True),
        ("sequential", False, True, True),
        ("end_to_end", False, True, True),
        ("fine_tune", True, True, False),
    ],
)
def test_modes_say_what_they_do(mode: str, mixes: bool, uses_task_loss: bool, own_network: bool) -> None:
    found = MODES[mode]
    assert (found.mixes, found.uses_task_loss, found.trains_task_network) == (
        mixes,
        uses_task_loss,
        own_network,
    )
