"""A reconstructor in the formats that others read: safetensors with a card, ONNX, a MONAI bundle."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from taskct_core.apply.card import ReconstructorCard, save_reconstructor
from taskct_core.apply.reconstructor import Reconstructor
from taskct_core.contracts.files import write_json, write_text, write_whole
from taskct_core.contracts.folders import ReconstructorFolder
from taskct_core.errors import first_line

ONNX_TOLERANCE = 1e-5  # in normalised attenuation, 4095 HU to the unit
_RECIPE = ("mode", "image_loss", "task_loss", "epochs", "learning_rate", "seed")
_ONNX, _BUNDLE, _README = "reconstructor.onnx", "monai_bundle", "README.md"
_BUNDLE_SCHEMA = (
    "https://raw.githubusercontent.com/Project-MONAI/MONAI-extra-test-data/0.8.1/meta_schema_20240725.json"
)


@dataclass(frozen=True)
class ExportedModel:
    """What was written.

    Attributes:
        files: the card, the weights, and what else there is.
        without_onnx: why there is no ONNX file; None where there is one.
    """

    files: list[Path]
    without_onnx: str | None


def export_model(network: Reconstructor, folder: Path, name: str) -> ExportedModel:
    """Write a folder that :func:`taskct_core.load_reconstructor` reads, with a card for people, ONNX and a MONAI bundle.

    Args:
        network: on the CPU.
        folder: made if needed.
        name: of the model, for people.
    """
    card = save_reconstructor(network.network, network.card, folder)
    write_text(folder / _README, model_card(card, name))
    files = [folder / ReconstructorFolder.card, folder / ReconstructorFolder.weights, folder / _README]
    reason = _write_onnx(network, folder / _ONNX)
    if reason is None:
        files.append(folder / _ONNX)
    if card.inputs == ("fbp",):
        files += _write_bundle(network, card, folder / _BUNDLE, name)
    return ExportedModel(files, reason)


def model_card(card: ReconstructorCard, name: str) -> str:
    """The card for people, as Markdown."""
    geometry = card.geometry
    rows, columns = geometry["image_shape"]
    scores = "\n".join(
        f"| {split} | {metric} | {'undefined' if value is None else f'{value:.4g}'} |"
        for split, metrics in card.scores.items()
        for metric, value in metrics.items()
    )
    noise = "unknown" if card.noise_hu is None else f"{card.noise_hu:.3g} HU"
    recipe = ", ".join(f"{key} {value}" for key, value in card.training.items() if key in _RECIPE)
    return f"""# {name}

A reconstructor of low-dose CT, trained with taskct.

**Intended use.** {card.intended_use}

**Licence.** {card.licence}

| what | value |
|---|---|
| architecture | {card.architecture} {json.dumps(card.architecture_parameters)}, {card.parameters:,} parameters |
| called with | {", ".join(card.inputs)}: float32 (batch, 1, height, width), normalised attenuation |
| returns | float32 (batch, 1, height, width), normalised attenuation |
| normalisation | (HU * (mu_water - mu_air) / 1000 + mu_water) / mu_max; {", ".join(f"{key} {value:.7g}/m" for key, value in card.normalisation.items())} |
| image | {rows} x {columns} pixels of {geometry["pixel_spacing_mm"]:.4g} mm, field of view {card.scan.field_of_view} |
| scan | {geometry["kind"]}, {geometry["num_angles"]} angles, {geometry["num_bins"]} bins of {geometry["bin_spacing_mm"]:.4g} mm |
| dose | {", ".join(f"{key} {value}" for key, value in card.scan.dose.items()) or "not recorded"} |
| noise of its training FBPs | {noise} in soft tissue |
| trained | alpha {card.alpha:g}; {recipe or "not recorded"} |
| training data | hash {card.data_hash} |
| task network | hash {card.task_network_hash or "unknown"} |
| weights | SHA-256 {card.weights_sha256} |

## Scores

| split | metric | value |
|---|---|---|
{scores}

## Use

```python
import taskct_core

network = taskct_core.load_reconstructor("this/folder")
scan = taskct_core.open_scan("low_dose.nii.gz")
hu = network.denoise(scan.hu, scan.spacing_mm)
```
"""


def _write_onnx(network: Reconstructor, path: Path) -> str | None:
    """Write ONNX and see that it computes the same; returns why there is none."""
    if network.card.inputs != ("fbp",):
        return "its projector is no ONNX operator"
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        return f"it needs {' and '.join(missing)}: pip install 'taskct[onnx]'"
    example = torch.rand(2, 1, *network.geometry.image_shape, generator=torch.Generator().manual_seed(0))

    def write(temporary: Path) -> None:
        torch.onnx.export(
            network.network,
            (example,),
            str(temporary),
            input_names=["fbp"],
            output_names=["image"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        difference = _largest_difference(network, temporary, example)
        if difference > ONNX_TOLERANCE:
            raise ValueError(f"its ONNX differs by {difference:.2g}, more than {ONNX_TOLERANCE:g}")

    try:
        with _quiet():
            write_whole(path, write)
    except Exception as error:  # of the exporter: operators, shapes, versions
        return first_line(error)
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own deprecations, and of operators that no network here uses."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _largest_difference(network: Reconstructor, path: Path, example: torch.Tensor) -> float:
    with torch.inference_mode():
        expected = network.network(example).numpy()
    return float(np.abs(run_onnx(path, example.numpy()) - expected).max())


def run_onnx(path: Path, fbp: np.ndarray) -> np.ndarray:
    """Run an exported file on ``(batch, 1, height, width)``, by ONNX Runtime or else ONNX's own interpreter."""
    session: Any
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    else:
        import onnx
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(onnx.load_from_string(path.read_bytes()))
    return np.asarray(session.run(None, {"fbp": fbp})[0])


def _write_bundle(network: Reconstructor, card: ReconstructorCard, folder: Path, name: str) -> list[Path]:
    """A MONAI bundle, whose network is this folder's; it needs taskct installed."""
    save_reconstructor(network.network, card, folder / "models")
    metadata, inference = folder / "configs" / "metadata.json", folder / "configs" / "inference.json"
    write_json(metadata, _bundle_metadata(card, name))
    write_json(
        inference,
        {
            "bundle_root": ".",
            "device": "$__import__('torch').device('cuda' if __import__('torch').cuda.is_available() else 'cpu')",
            "network_def": {
                "_target_": "taskct_core.load_reconstructor",
                "folder": "$@bundle_root + '/models'",
            },
            "network": "$@network_def.to(@device)",
        },
    )
    write_text(folder / "docs" / _README, model_card(card, name))
    return [metadata, inference]


def _bundle_metadata(card: ReconstructorCard, name: str) -> dict[str, Any]:
    rows, columns = card.geometry["image_shape"]
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "CT",
        "num_channels": 1,
        "spatial_shape": [rows, columns],
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {"0": "attenuation / mu_max"},
    }
    return {
        "schema": _BUNDLE_SCHEMA,
        "version": version("taskct"),
        "changelog": {version("taskct"): "exported by taskct"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"taskct": version("taskct"), "safetensors": version("safetensors")},
        "supported_apps": {},
        "name": name,
        "task": "Reconstruction of low-dose CT images",
        "description": f"{card.architecture} reconstructor of low-dose CT, trained with taskct",
        "authors": "whoever ran the study",
        "copyright": card.licence,
        "intended_use": card.intended_use,
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": image}},
    }
