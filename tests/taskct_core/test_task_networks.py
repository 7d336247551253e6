"""Every task network passes this suite by being in ``TASK_NETWORKS``; then window, freezing and storage."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from taskct_core.contracts.folders import TaskNetworkFolder
from taskct_core.errors import ConfigError, DataError
from taskct_core.hounsfield import MU_MAX, hu_to_mu
from taskct_core.registry import Trust
from taskct_core.task_networks import (
    TASK_NETWORKS,
    build_task_network,
    load_task_network,
    load_task_network_card,
)
from taskct_core.task_networks.config import TaskNetworkConfig
from taskct_core.task_networks.network import TaskNetwork
from taskct_core.task_networks.storage import save_task_network
from taskct_core.task_networks.window import OUTER_SLOPE, HUWindow

QUICK: dict[str, dict[str, Any]] = {
    "unet": {"width": 4},
    "segresnet": {"width": 8, "depth": 3},
    "dynunet": {"width": 4, "depth": 3},
}


@pytest.fixture(scope="module")
def script_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody else's network, as TorchScript."""
    path = tmp_path_factory.mktemp("script") / "network.pt"
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)
    )
    torch.jit.script(network).save(str(path))
    return path


@pytest.fixture(params=TASK_NETWORKS)
def config(request: pytest.FixtureRequest, script_path: Path) -> TaskNetworkConfig:
    parameters = QUICK.get(request.param, {})
    if request.param == "torchscript":
        parameters = {"path": str(script_path)}
    return TaskNetworkConfig(architecture=request.param, architecture_parameters=parameters)


@pytest.mark.parametrize("side", [63, 64])
def test_gives_logits_of_every_class_at_odd_and_even_sizes(config: TaskNetworkConfig, side: int) -> None:
    network = build_task_network(config)
    assert network(torch.rand(2, 1, side, side)).shape == (2, 3, side, side)
    assert network.predict(torch.rand(2, 1, side, side)).shape == (2, side, side)


def test_frozen_means_frozen_while_gradients_reach_the_image(config: TaskNetworkConfig) -> None:
    network = build_task_network(config).freeze()
    before = network.weights_hash()
    network.train()  # as a parent module's train() would
    assert not any(module.training for module in network.modules())
    image = (torch.rand(2, 1, 32, 32) * 0.3).requires_grad_()
    network(image).square().mean().backward()
    assert image.grad is not None and image.grad.isfinite().all() and (image.grad != 0).any()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.weights_hash() == before


def test_a_few_steps_lower_the_loss(config: TaskNetworkConfig, make_batch: Callable[..., Any]) -> None:
    batch = make_batch(count=2)
    network = build_task_network(config).unfreeze()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(network(batch["full_dose"]), batch["labels"])
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_comes_back_from_its_folder_frozen_and_equal(config: TaskNetworkConfig, tmp_path: Path) -> None:
    network = build_task_network(config)
    saved = save_task_network(network, tmp_path, data_hash="d", scores={"a": 0.5, "b": float("nan")})
    loaded, card = load_task_network(tmp_path, Trust(frozenset({config.architecture})))
    assert card == saved == load_task_network_card(tmp_path)
    assert card.network == config and card.scores == {"a": 0.5, "b": None}
    assert loaded.frozen and loaded.weights_hash() == network.weights_hash() == card.content_hash
    image = torch.rand(1, 1, 32, 32)
    assert torch.equal(loaded(image), network.eval()(image))


def test_a_seed_determines_the_weights_and_leaves_the_global_state_alone(
    network_config: TaskNetworkConfig,
) -> None:
    state = torch.get_rng_state()
    hashes = [
        build_task_network(network_config.model_copy(update={"seed": seed})).weights_hash()
        for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_hash_covers_buffers_too() -> None:
    network = TaskNetwork(_UserNetwork(), TaskNetworkConfig())
    before = network.weights_hash()
    dict(network.network.named_buffers())["normalise.running_mean"] += 1e-3
    assert network.weights_hash() != before


def test_liver_only_counts_tumours_as_liver(network_config: TaskNetworkConfig) -> None:
    network = build_task_network(network_config.model_copy(update={"classes": "liver"}))
    labels = torch.tensor([[[0, 1, 2]]])
    assert network.targets(labels).tolist() == [[[[0, 1, 1]]]]
    assert network(torch.rand(1, 1, 32, 32)).shape[1] == 2


# --- window -----------------------------------------------------------------------------------------


def normalised(hu: float) -> torch.Tensor:
    return torch.tensor([[[[hu_to_mu(hu) / MU_MAX]]]], dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("hu", "expected"), [(-200, 0.0), (25, 0.5), (250, 1.0)])
def test_the_window_is_linear_inside(hu: float, expected: float) -> None:
    assert HUWindow(-200, 250)(normalised(hu)).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("hu", "expected"), [(-1000, -800 / 450), (700, 1 + 1.0)])
def test_beyond_its_edges_the_window_is_nearly_flat(hu: float, expected: float) -> None:
    edge = min(max(expected, 0), 1)
    value = HUWindow(-200, 250)(normalised(hu)).item()
    assert value == pytest.approx(edge + OUTER_SLOPE * (expected - edge), abs=1e-9)


@pytest.mark.parametrize("hu", [-1000.0, -150.0, 60.0, 3000.0])
def test_the_window_has_a_gradient_everywhere(hu: float) -> None:
    image = normalised(hu)
    assert torch.autograd.gradcheck(HUWindow(-200, 250), image)
    HUWindow(-200, 250)(image).sum().backward()
    assert image.grad is not None and image.grad.item() > 0


# --- networks from elsewhere ------------------------------------------------------------------------


class _UserNetwork(nn.Module):
    def __init__(self, num_classes: int = 3, channels: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.normalise = nn.BatchNorm2d(num_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.normalise(self.convolution(image))


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that is importable as a user's would be."""
    (tmp_path / "users_networks.py").write_text(
        "from torch import nn\n\n\ndef small(num_classes, channels=1):\n"
        "    return nn.Conv2d(channels, num_classes, 3, padding=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "users_networks:small"


@pytest.mark.parametrize("kept_as", ["state_dict", "model_state_dict", "safetensors"])
def test_a_users_weights_load_into_their_architecture(user_module: str, kept_as: str, tmp_path: Path) -> None:
    trained = nn.Conv2d(1, 3, 3, padding=1)
    path = tmp_path / ("weights.safetensors" if kept_as == "safetensors" else "checkpoint.pt")
    if kept_as == "safetensors":
        safetensors.torch.save_file(trained.state_dict(), path)
    else:
        torch.save({kept_as: trained.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=0.001)}, path)
    config = TaskNetworkConfig(architecture=user_module, weights=str(path))
    assert config.is_imported
    network = build_task_network(config)
    assert torch.equal(network.network.weight, trained.weight)
    save_task_network(network, tmp_path / "saved", data_hash="", scores={})
    path.unlink()  # the folder stands on its own
    assert torch.equal(
        load_task_network(tmp_path / "saved", Trust(frozenset({user_module})))[0].network.weight,
        trained.weight,
    )


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_unreadable_weights_are_refused(user_module: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"task_network\.weights must"):
        build_task_network(TaskNetworkConfig(architecture=user_module, weights=str(path)))


def test_weights_of_another_architecture_are_refused(user_module: str, tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(DataError, match="must hold the state_dict of the architecture"):
        build_task_network(TaskNetworkConfig(architecture=user_module, weights=str(tmp_path / "weights.pt")))


def test_a_torchscript_file_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    config = TaskNetworkConfig(architecture="torchscript", architecture_parameters={"path": str(path)})
    with pytest.raises(DataError, match="must be an existing file"):
        build_task_network(config)
    path.write_text("no network")
    with pytest.raises(DataError, match=r"must be a file that torch.jit.save wrote"):
        build_task_network(config)


@pytest.mark.parametrize("parameters", [{"channels": 3}, {"num_classes": 2}])
def test_wrong_numbers_of_channels_or_classes_are_refused(parameters: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"must turn \(1, 1, 64, 64\) into \(1, 3, 64, 64\)"):
        TaskNetwork(_UserNetwork(**parameters), TaskNetworkConfig())


# --- damaged folders --------------------------------------------------------------------------------


@pytest.fixture
def folder(network_config: TaskNetworkConfig, tmp_path: Path) -> Path:
    save_task_network(build_task_network(network_config), tmp_path, data_hash="d", scores={})
    return tmp_path


def test_a_missing_card_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="taskct pretrain"):
        load_task_network(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format_version": 1}'])
def test_a_damaged_card_is_refused(folder: Path, content: str) -> None:
    (folder / TaskNetworkFolder.card).write_text(content)
    with pytest.raises(DataError, match="must describe a task network"):
        load_task_network(folder)


def test_missing_or_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / TaskNetworkFolder.weights
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="must be readable and fit its card"):
        load_task_network(folder)
    path.unlink()
    with pytest.raises(DataError, match="must be readable and fit its card"):
        load_task_network(folder)


def test_one_changed_bit_is_noticed(folder: Path) -> None:
    path = folder / TaskNetworkFolder.weights
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="must be those its card was written for"):
        load_task_network(folder)


def test_weights_of_another_size_are_refused(folder: Path) -> None:
    card = json.loads((folder / TaskNetworkFolder.card).read_text())
    card["network"]["architecture_parameters"]["width"] = 8
    (folder / TaskNetworkFolder.card).write_text(json.dumps(card))
    with pytest.raises(DataError, match="must be readable and fit its card"):
        load_task_network(folder)


def test_a_changed_torchscript_program_is_noticed(script_path: Path, tmp_path: Path) -> None:
    config = TaskNetworkConfig(architecture="torchscript", architecture_parameters={"path": str(script_path)})
    save_task_network(build_task_network(config), tmp_path, data_hash="", scores={})
    with (tmp_path / TaskNetworkFolder.script).open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="must be those its card was written for"):
        load_task_network(tmp_path, Trust(frozenset({"torchscript"})))


@pytest.mark.parametrize("architecture", ["torchscript", "subprocess:getoutput"])
def test_a_card_that_names_code_is_refused(folder: Path, architecture: str) -> None:
    card = json.loads((folder / TaskNetworkFolder.card).read_text())
    card["network"] |= {"architecture": architecture, "architecture_parameters": {"cmd": "true"}}
    (folder / TaskNetworkFolder.card).write_text(json.dumps(card))
    with pytest.raises(ConfigError, match=f"must be built in.*{architecture}.*--trust"):
        load_task_network(folder)
