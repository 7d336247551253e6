"""Exported models compute what the network computes: as safetensors, in ONNX Runtime, in MONAI's bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import taskct_core
from taskct_core.apply.card import ReconstructorCard
from taskct_core.apply.model_export import ONNX_TOLERANCE, export_model, run_onnx
from taskct_core.apply.reconstructor import Reconstructor
from taskct_core.geometry import ParallelBeam
from taskct_core.reconstructors import build_reconstructor, count_parameters, inputs_of
from taskct_core.training.config import TrialConfig

GEOMETRY = ParallelBeam(
    image_shape=(32, 32), pixel_spacing_mm=4.0, num_bins=47, bin_spacing_mm=4.0, num_angles=16
)
SMALL = {"unet": {"width": 4}, "dncnn": {"width": 4, "depth": 3}, "red_cnn": {"width": 4}, "msd": {}}


def network(architecture: str, parameters: dict[str, int]) -> Reconstructor:
    torch.manual_seed(0)
    module = build_reconstructor(architecture, parameters, GEOMETRY).eval().requires_grad_(False)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    card = ReconstructorCard.of(
        TrialConfig(architecture=architecture, architecture_parameters=parameters),
        parameters=count_parameters(module),
        inputs=inputs_of(module),
        geometry=GEOMETRY.to_dict(),
        data_hash="ab" * 32,
        scores={"test": {"psnr_lodopab": 31.25}},
    )
    return Reconstructor(module, GEOMETRY, card)


@pytest.mark.parametrize("architecture", SMALL)
def test_onnx_computes_the_same_for_other_batches(architecture: str, tmp_path: Path) -> None:
    made = network(architecture, SMALL[architecture])
    exported = export_model(made, tmp_path, "a model")
    assert exported.without_onnx is None
    images = torch.rand(3, 1, 32, 32)
    found = run_onnx(tmp_path / "reconstructor.onnx", images.numpy())
    assert np.abs(found - made(images).numpy()).max() <= ONNX_TOLERANCE
    assert np.abs(found - images.numpy()).max() > 1e-3  # the network does something


def test_the_folder_is_loaded_again_and_its_card_tells_what_it_is(tmp_path: Path) -> None:
    made = network("dncnn", SMALL["dncnn"])
    export_model(made, tmp_path, "a model")
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(taskct_core.load_reconstructor(tmp_path)(images), made(images))
    text = (tmp_path / "README.md").read_text()
    for words in (
        "ab" * 32,
        "31.25",
        "32 x 32 pixels of 4 mm",
        "Not a medical device",
        "81.35858",
        "Licence",
    ):
        assert words in text


def test_monai_verifies_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from monai.bundle import verify_net_in_out

    export_model(network("dncnn", SMALL["dncnn"]), tmp_path, "a model")
    bundle = tmp_path / "monai_bundle"
    monkeypatch.chdir(bundle)
    configs = bundle / "configs"
    verify_net_in_out(
        "network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
    )
    metadata = json.loads((configs / "metadata.json").read_text())
    needed = ("version", "monai_version", "pytorch_version", "numpy_version", "task", "authors", "copyright")
    assert all(
        metadata[name] for name in (*needed, "changelog", "description", "network_data_format", "schema")
    )


def test_a_network_with_the_projector_inside_has_no_onnx_and_says_why(tmp_path: Path) -> None:
    parameters = {"width": 4, "iterations": 1, "memory": 2}
    made = export_model(network("learned_gradient", parameters), tmp_path, "a model")
    assert made.without_onnx is not None and "projector" in made.without_onnx
    assert taskct_core.load_reconstructor(tmp_path).card.inputs == ("fbp", "sinogram")
    assert not (tmp_path / "reconstructor.onnx").exists()
