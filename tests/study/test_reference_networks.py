"""Networks made elsewhere: TorchScript, ONNX and importable ones, each with its own normalisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from outside_networks import Window

from study.config import StudyConfig
from study.data.batches import Share
from study.experiment.reference_networks import located, reference_problems
from study.scoring.references import missing_references, write_references
from taskct_core import schema
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.rows import EpochRow, read_rows
from taskct_core.errors import ConfigError, TaskctError
from taskct_core.metrics.slices import evaluate
from taskct_core.reconstructors.config import ReferenceNetworkConfig
from taskct_core.reconstructors.imported import load_reference_network

LOW, HIGH = -160.0, 240.0  # HU
MU_MAX, MU_WATER, MU_AIR = 81.35858, 20.0, 0.02  # 1/m


def torchscript(folder: Path) -> dict[str, Any]:
    torch.jit.script(Window()).save(folder / "window.pt")
    return {"network": str(folder / "window.pt")}


def onnx_file(folder: Path, batch: int | str = "batch") -> dict[str, Any]:
    shape = [batch, 1, "height", "width"]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "window")]
    limits = [
        helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        for name, value in (("low", 0.0), ("high", 1.0))
    ]
    clip = helper.make_node("Clip", ["image", "low", "high"], ["window"])
    graph = helper.make_graph([clip], "window", values[:1], values[1:], limits)
    path = folder / f"window-{batch}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return {"network": str(path)}


def onnx_of_one_image(folder: Path) -> dict[str, Any]:
    return onnx_file(folder, batch=1)


def importable(folder: Path) -> dict[str, Any]:
    torch.save(Window().state_dict(), folder / "window-weights.pt")
    return {
        "network": "outside_networks:Window",
        "parameters": {"ceiling": 7.0},  # the weights have another
        "weights": str(folder / "window-weights.pt"),
        "arguments": {"floor": 0.0},
    }


KINDS = [torchscript, onnx_file, onnx_of_one_image, importable]


def config_of(kind: Callable[[Path], dict[str, Any]], folder: Path) -> ReferenceNetworkConfig:
    return ReferenceNetworkConfig.parse({"name": "window", "hu_range": [LOW, HIGH], **kind(folder)})


def clipped(image: torch.Tensor) -> torch.Tensor:
    """Normalised attenuation limited to the window, by the definition of Hounsfield units."""
    low, high = (MU_WATER + hu * (MU_WATER - MU_AIR) / 1000 for hu in (LOW, HIGH))
    return image.clamp(low / MU_MAX, high / MU_MAX)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_sees_and_gives_images_in_its_own_normalisation(
    kind: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    network = load_reference_network(config_of(kind, tmp_path))
    image = torch.rand(3, 1, 16, 24) * 0.6
    assert torch.allclose(network(image), clipped(image), atol=1e-6)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_network_of_another_library_is_made_from_its_parameters(tmp_path: Path) -> None:
    from monai.networks.nets import BasicUNet

    parameters: dict[str, Any] = {"spatial_dims": 2, "features": [4] * 6, "out_channels": 1}
    theirs = BasicUNet(**parameters).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    config = ReferenceNetworkConfig(
        name="theirs",
        network="monai.networks.nets:BasicUNet",
        parameters=parameters,
        weights=str(tmp_path / "weights.pt"),
        hu_range=(-1024, 3072),
    )
    image = torch.rand(2, 1, 32, 32) * 0.5
    hu = (image * MU_MAX - MU_WATER) / (MU_WATER - MU_AIR) * 1000
    with torch.no_grad():
        expected_hu = theirs((hu + 1024) / 4096) * 4096 - 1024
    expected = (expected_hu * (MU_WATER - MU_AIR) / 1000 + MU_WATER) / MU_MAX
    assert torch.allclose(load_reference_network(config)(image), expected, atol=1e-5)


def rows_of(folder: Path) -> dict[tuple[str, str], EpochRow]:
    rows = read_rows(StudyFolder(folder).references)
    return {(str(row[schema.METHOD]), str(row[schema.SPLIT])): row for row in rows}


def test_it_is_scored_as_every_reference_and_again_when_it_changes(small: Any, tmp_path: Path) -> None:
    folder, files = tmp_path / "study", tmp_path / "files"
    files.mkdir()
    config = config_of(torchscript, files)
    inputs = dataclasses.replace(small.trial_inputs(shown=True, slices=2), references=(config,))
    write_references(folder, inputs)
    rows = rows_of(folder)
    batches = list(inputs.feeds["test"].ordered(16, share=Share()))
    expected = evaluate(batches, lambda batch: clipped(batch["fbp"]), {})
    assert rows["window", "test"]["psnr_lodopab"] == pytest.approx(
        float(np.mean([row["psnr_lodopab"] for row in expected])), rel=1e-5
    )
    assert rows["window", "test"][schema.PARAMETERS] == 1
    assert "0 and 1 are -160 and 240 HU" in rows["window", "test"][schema.REFERENCE_SETTINGS]
    assert StudyFolder(folder).panel("window").is_file()
    assert len({row[schema.TRIAL] for row in rows.values()}) == 3

    scored: list[EpochRow] = []
    write_references(folder, inputs, scored.append)
    assert not scored and not missing_references(folder, False, (config,))
    torch.jit.script(Window(0.5)).save(config.network)  # the file was replaced
    assert missing_references(folder, False, (config,)) == ["window"]
    write_references(folder, inputs, scored.append)
    assert {row[schema.METHOD] for row in scored} == {"window"}
    assert rows_of(folder)["window", "test"]["psnr_lodopab"] != rows["window", "test"]["psnr_lodopab"]
    write_references(folder, small.trial_inputs(slices=2))  # it is no longer named
    assert {method for method, _ in rows_of(folder)} == {"full_dose", "fbp"}


def damaged(folder: Path, ending: str) -> str:
    path = folder / f"damaged{ending}"
    path.write_bytes(b"no network")
    return str(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network": "absent.pt"}, "existing file"),
        ({"network": "absent.onnx"}, "existing file"),
        ({"network": "no_such_module:Net"}, "no_such_module"),
        ({"network": "outside_networks:Halving"}, "same shape.*returned"),
        ({"network": "outside_networks:Window", "arguments": {"sigma": 1}}, "same shape.*sigma"),
        ({"network": "outside_networks:Window", "weights": "absent.pt"}, "existing file"),
    ],
)
def test_one_that_cannot_run_is_told_before_anything_is_trained(
    values: dict[str, Any], message: str, small: Any
) -> None:
    inputs = dataclasses.replace(
        small.trial_inputs(slices=2), references=located([ReferenceNetworkConfig(name="theirs", **values)])
    )
    (problem,) = reference_problems(inputs)
    assert problem.startswith("reference theirs: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(problem)


@pytest.mark.parametrize("ending", [".pt", ".onnx"])
def test_a_damaged_file_is_refused(ending: str, tmp_path: Path) -> None:
    with pytest.raises(TaskctError, match="damaged"):
        load_reference_network(ReferenceNetworkConfig(name="x", network=damaged(tmp_path, ending)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "fbp"}, "there already"),
        ({"name": "../up"}, "pattern"),
        ({"network": "net.h5"}, r"\.onnx"),
        ({"parameters": {"width": 3}}, "go with package.module"),
        ({"hu_range": [240, -160]}, "low < high"),
        ({"network": "net.onnx", "arguments": {"sigma": 1}}, "leave arguments out"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        StudyConfig.parse({"references": [{"name": "theirs", "network": "net.pt", **values}]})
    with pytest.raises(ConfigError, match="differ"):
        StudyConfig.parse({"references": [{"name": "theirs", "network": "net.pt"}] * 2})
