"""Reading an experiment: YAML file, overrides, and the message for each way to get them wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.config import DataConfig, ExperimentConfig, SourceConfig, StudyConfig, load_experiment
from taskct_core.contracts.yaml_loader import parse_yaml
from taskct_core.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text("name: first\ntrial:\n  alpha: 0.25\n  epochs: 3\n")
    return path


def test_a_file_gives_its_values_and_defaults_elsewhere(file: Path) -> None:
    config = load_experiment(file)
    assert (config.name, config.trial.alpha, config.trial.epochs) == ("first", 0.25, 3)
    assert config.data.source.kind == "phantom"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_means_all_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    assert load_experiment(path).name == "experiment"


# --- overrides ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("trial.alpha=0.75", "trial.alpha", 0.75),  # over a value of the file
        ("simulation.photons_per_ray=1000", "simulation.photons_per_ray", 1000),  # a section not in it
        ("study.sampler.name=nsga2", "study.sampler.name", "nsga2"),  # two levels deep
        ("trial.learning_rate=1e-4", "trial.learning_rate", 1e-4),  # YAML 1.1 would read text
        ("simulation.photons_per_ray=[100, 200]", "simulation.photons_per_ray", (100, 200)),
        ("simulation.num_angles=null", "simulation.num_angles", None),
        ("simulation.store_sinogram=true", "simulation.store_sinogram", True),
        ("name='2024'", "name", "2024"),  # quoted: text, not a number
        ('output="a=b"', "output", "a=b"),
        ("output=s3://bucket/x=y", "output", "s3://bucket/x=y"),  # the first = separates
    ],
)
def test_an_override_sets_one_value(file: Path, override: str, path: str, value: Any) -> None:
    found: Any = load_experiment(file, [override])
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value and type(found) in (type(value), float)


def test_later_overrides_win_and_the_rest_stays(file: Path) -> None:
    config = load_experiment(file, ["trial.alpha=0.5", "trial.alpha=0.6", "trial.batch_size=2"])
    assert (config.trial.alpha, config.trial.batch_size, config.trial.epochs) == (0.6, 2, 3)


def test_numbers_inside_free_form_mappings_are_numbers(file: Path) -> None:
    config = load_experiment(file, ["study.space={learning_rate: {low: 1e-5, high: 1E-2}}"])
    assert config.study.space == {"learning_rate": {"low": 1e-5, "high": 1e-2}}
    config = load_experiment(file, ["trial.architecture_parameters.width=8"])
    assert config.trial.architecture_parameters == {"width": 8}


def test_an_override_opens_a_section_left_empty(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("trial:\n")
    assert load_experiment(path, ["trial.alpha=0.1"]).trial.alpha == 0.1


@pytest.mark.parametrize("override", ["trial.alpha", "=0.5", "", ".alpha=1", "trial.=1", "trial..alpha=1"])
def test_an_override_must_have_a_key_and_a_value(file: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=r"must read a\.b=value"):
        load_experiment(file, [override])


def test_an_override_below_a_plain_value(file: Path) -> None:
    with pytest.raises(ConfigError, match="'alpha' has no keys"):
        load_experiment(file, ["trial.alpha.x=1"])


def test_an_override_whose_value_is_no_yaml(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"must be YAML.*trial\.alpha=\["):
        load_experiment(file, ["trial.alpha=[1"])


def test_an_override_of_an_unknown_key_names_the_valid_ones(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"'trial\.alhpa' is not a known key.*alpha, .*batch_size"):
        load_experiment(file, ["trial.alhpa=0.5"])


# --- files that are wrong -------------------------------------------------------------------------


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(ConfigError, match="existing YAML file") as caught:
            load_experiment(path)
        assert str(path) in caught.value.received


@pytest.mark.parametrize(
    "raw", [b"trial: [1, 2", b"a: b: c", b"\xff\xfe\x00", b"\ttrial: 1", b"a: !!python/object:x.Y {}"]
)
def test_a_file_that_is_no_yaml(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"valid YAML.*bad\.yaml"):
        load_experiment(path)


@pytest.mark.parametrize("text", ["[]", "- a\n- b\n", "42", "just text", "false"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"YAML mapping.*list\.yaml"):
        load_experiment(path)


def test_a_key_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("trial:\n  alpha: 0.1\nname: x\ntrial:\n  alpha: 0.9\n")
    with pytest.raises(ConfigError, match=r"'trial' is given twice[\s\S]*line 4"):
        load_experiment(path)


def test_an_unknown_key_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text("data: {source: {kinds: lits}}\n")
    with pytest.raises(
        ConfigError, match=r"'data\.source\.kinds' is not a known key \(valid here: classes, images, kind, "
    ):
        load_experiment(path)


@pytest.mark.parametrize("text", ["1e-3", "+1E5", "-2.5e+3", ".5e1", "3.e2"])
def test_exponents_without_a_point_are_numbers(text: str) -> None:
    assert parse_yaml(text) == float(text)


@pytest.mark.parametrize("text", ["'1e-3'", "1e", "e5", "1e5x", "v1e3"])
def test_what_only_looks_like_a_number_stays_text(text: str) -> None:
    assert parse_yaml(text) == text.strip("'")


def test_anchors_and_merges_still_work() -> None:
    assert parse_yaml("a: &x {p: 1}\nb: {<<: *x, q: 2}\n")["b"] == {"p": 1, "q": 2}


# --- rules of the sections ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "values", "part"),
    [
        (SourceConfig, {"kind": "lits"}, "source.path must name the folder of lits volumes"),
        (SourceConfig, {"kind": "nrrd", "path": "x"}, "valid: dicom, lits, nifti, phantom, or your own"),
        (SourceConfig, {"patients": 0}, "patients"),
        (SourceConfig, {"orientation": "left"}, "orientation"),
        (DataConfig, {"split": {"train": 0.5, "validation": 0.5}}, "missing test"),
        (DataConfig, {"split": {"train": ["a"], "validation": 0.5, "test": 0.5}}, "for all"),
        (
            DataConfig,
            {"split": {"train": 1, "validation": 1, "tset": 1}},
            "unknown split 'tset'; valid: folds, test, train, validation",
        ),
        (StudyConfig, {"objectives": ["dice"]}, "unknown: ['dice']"),
        (StudyConfig, {"objectives": []}, "objectives"),
        (StudyConfig, {"trials": 0}, "trials"),
    ],
)
def test_rules_within_a_section(model: Any, values: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        model.parse(values)
    assert part in caught.value.rule


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"study": {"sampler": {"name": "tpo"}}}, "unknown sampler 'tpo'; valid: gp, grid, nsga2"),
        ({"study": {"pruner": {"name": "hyper"}}}, "unknown pruner 'hyper'; valid: asha, median, none"),
        ({"simulation": {"preset": "huge"}}, "unknown preset 'huge'; valid: lodopab, medium, small, tiny"),
        ({"simulation": {"fbp_filter": "ramp"}}, "unknown FBP filter 'ramp'; valid: cosine, hamming"),
        ({"data": {"synthetic_lesions": {"splits": ["dev"]}}}, "unknown split 'dev'; valid: test, train"),
        ({"data": {"split": {"dev": 1.0}}}, "unknown split 'dev'; valid: folds, test, train, validation"),
        ({"trial": {"mixing": "harmonic"}}, "unknown mixing 'harmonic'; valid: additive, convex, share"),
        ({"task_network": {"classes": "all"}}, "unknown set of classes 'all'; valid: liver, liver_tumour"),
    ],
)
def test_an_unknown_name_is_answered_with_the_valid_ones(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExperimentConfig.parse(values)


def test_a_shipped_experiment_streams() -> None:
    shipped = Path(__file__).parents[2] / "configs"
    paths = [load_experiment(path).execution.data_path for path in shipped.glob("*.yaml")]
    assert "stream" in paths


def test_an_unknown_objective_is_told_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'psnr_lodopab'"):
        ExperimentConfig.parse({"study": {"objectives": ["psnr_lodpab"]}})


def test_a_space_of_the_wrong_kind_is_told_without_pydantics_names() -> None:
    with pytest.raises(ConfigError) as caught:
        ExperimentConfig.parse({"study": {"space": 3}, "data": {"source": {"labels": 3}}})
    assert "study.space:" in caught.value.rule and "data.source.labels:" in caught.value.rule
    assert not any(word in caught.value.rule for word in ("dict[", ".str", ".list", "function-"))
