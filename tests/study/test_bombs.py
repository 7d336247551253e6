"""Input that no person writes, and input that a person did not mean: one message at once, and never another meaning."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from study.config import ExperimentConfig, load_experiment
from study.search.space import SearchSpace
from taskct_core.contracts.files import read_json
from taskct_core.contracts.yaml_loader import MOST_VALUES, read_yaml
from taskct_core.errors import ConfigError, DataError
from taskct_core.training.config import TrialConfig

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMBS = {
    "aliases": (LAUGHS, "aliases make more than 200,000 values"),
    "aliases in mappings": (LAUGHS.replace("[", "{k: [").replace("]", "]}"), "aliases make more than"),
    "an alias of itself": ("a: &a [*a]\n", "stands for a value that holds it"),
    "nested lists": ("a: " + "[" * 2000 + "]" * 2000, "nested deeper than 50 levels"),
    "nested mappings": ("{a: " * 2000 + "1" + "}" * 2000, "nested deeper than 50 levels"),
    "nested blocks": ("".join(" " * depth + "a:\n" for depth in range(2000)), "nested deeper than 50 levels"),
    "a long number": (f"study: {{trials: {'9' * 5000}}}\n", "more than 100 characters"),
    "a long hexadecimal number": (f"study: {{trials: 0x{'f' * 5000}}}\n", "more than 100 characters"),
    "a long fraction": (f"trial: {{alpha: 0.{'3' * 5000}}}\n", "more than 100 characters"),
    "an impossible date": ("name: 2026-13-45\n", "cannot be read as timestamp"),
    "an impossible time": ("name: 2026-01-01 25:61:61\n", "cannot be read as timestamp"),
    "a number that is none": ("study: {trials: !!int ten}\n", "cannot be read as int"),
    "a truth that is none": ("trial: {alpha: !!bool maybe}\n", "cannot be read as bool"),
    "half a letter": ('study: {enqueue: [{image_loss: "\\ud800"}]}\n', "holds half a letter"),
    "half a letter in a key": ('trial: {"\\udfff": 1}\n', "holds half a letter"),
    "an object": ("name: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
}


@pytest.mark.parametrize(("text", "message"), BOMBS.values(), ids=BOMBS)
def test_a_yaml_bomb_is_refused_within_a_second(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError, match=message):
        load_experiment(path)
    assert time.process_time() - start < 1
    with pytest.raises(DataError, match=message):
        read_yaml(path, "Do something.")


def test_anchors_that_a_person_writes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text("trial: &trial {alpha: 0.5}\nstudy: {enqueue: [*trial, {<<: *trial, alpha: 0.7}]}\n")
    assert load_experiment(path).study.enqueue == [{"alpha": 0.5}, {"alpha": 0.7}]
    path.write_text("\n".join(f"- {number}" for number in range(MOST_VALUES // 40)))
    assert len(read_yaml(path, "")) == MOST_VALUES // 40


NO_JSON = ["[" * 100_000, f'{{"a": {"9" * 5000}}}', '{"a": 1', "", "\0\0\0"]
HALVES = [r'{"a": ["\ud800"]}', r'{"\uDFFF": 1}', r'"\udc00\ud83d"']


@pytest.mark.parametrize("text", [*NO_JSON, *HALVES])
def test_a_json_bomb_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"study.json must be valid JSON.*Do something\."):
        read_json(path, "Do something.")


@pytest.mark.parametrize("text", [r'"\ud83d\ude00"', r'"\\ud800"', r'{"\u00e4": "\n\u0000"}'])
def test_json_that_only_looks_like_half_a_letter_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(text)
    assert read_json(path, "") == json.loads(text)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"study": {"trials": True}}, "study.trials"),
        ({"trial": {"alpha": True}}, "trial.alpha"),
        ({"trial": {"alpha": False}}, "trial.alpha"),
        ({"trial": {"gradient_clip": True}}, "trial.gradient_clip"),
        ({"simulation": {"photons_per_ray": [True, 2]}}, "simulation.photons_per_ray"),
        ({"task_network": {"class_weights": [1, True, 1]}}, "task_network.class_weights"),
        ({"study": {"constraints": {"parameters": True}}}, "study.constraints"),
        ({"data": {"split": {"train": True, "validation": False, "test": False}}}, "data.split"),
        ({"execution": {"cpus_per_worker": True}}, "execution.cpus_per_worker"),
        ({"name": True}, "name"),
    ],
)
def test_yes_is_no_number(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: must not be yes, no, true or false"):
        ExperimentConfig.parse(values)


def test_yes_stays_yes_where_it_is_meant() -> None:
    experiment = ExperimentConfig.parse(
        {"execution": {"use_gpu": True}, "trial": {"architecture_parameters": {"memory": True}}}
    )
    assert experiment.execution.use_gpu and experiment.trial.architecture_parameters == {"memory": True}
    space = SearchSpace.parse({"alpha": {"kind": "choice", "values": [0, 1]}})
    assert space.dimensions["alpha"].contains(1)
    with pytest.raises(ConfigError, match="must not be yes"):
        SearchSpace.parse({"alpha": {"kind": "choice", "values": [False, True]}})


@pytest.mark.parametrize("kind", [["uniform"], {"a": 1}, None, 3, True, "unifrom"])
def test_a_kind_that_is_none_is_told(kind: Any) -> None:
    with pytest.raises(ConfigError, match="alpha must be a mapping whose kind is one of uniform"):
        SearchSpace.parse({"alpha": {"kind": kind, "low": 0, "high": 1}})


def test_an_objective_given_twice_is_told() -> None:
    with pytest.raises(ConfigError, match="objectives must differ; given twice: psnr_lodopab"):
        ExperimentConfig.parse({"study": {"objectives": ["psnr_lodopab", "ssim_fixed", "psnr_lodopab"]}})


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.1), (0.8, 0.2, 0.2), (70, 15, 15), (0, 0, 0)])
def test_shares_that_do_not_add_up_are_told(shares: tuple[float, float, float]) -> None:
    split = dict(zip(("train", "validation", "test"), shares, strict=True))
    with pytest.raises(ConfigError, match=f"must add up to 1, but add up to {sum(shares):g}"):
        ExperimentConfig.parse({"data": {"split": split}})
    thirds = dict.fromkeys(split, 1 / 3)
    assert ExperimentConfig.parse({"data": {"split": thirds}}).data.split == thirds


def test_a_number_too_long_to_print_is_told() -> None:
    with pytest.raises(ConfigError, match="epochs = a int too long to print"):
        TrialConfig.parse({"epochs": -(10**5000)})
