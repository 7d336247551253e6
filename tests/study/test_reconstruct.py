"""`taskct reconstruct`: the trials of a study, applied to a scan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

import taskct_core
from analysis.selection import Choice
from study.cli.study_actions import apply_network
from study.data.batches import Share
from study.results import export_results
from study.scoring.reconstructors import chosen_trial, publish_recommended, trial_reconstructor
from study.search.storage.records import TrialRecord
from study.trials.inputs import Worker
from study.trials.panels import choose_panel
from study.trials.trial import run_trial
from taskct_core import schema
from taskct_core.apply.card import ScanRecord, read_card
from taskct_core.apply.reconstructor import Reconstructor
from taskct_core.contracts.folders import StudyFolder
from taskct_core.contracts.study_card import StudyCard
from taskct_core.errors import ConfigError

ALPHAS = (0.0, 0.9)


@pytest.fixture(scope="module")
def study(small: Any, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """Two trials that were trained without Ray, and the study's tables."""
    folder = StudyFolder(tmp_path_factory.mktemp("runs") / "small" / "study")
    inputs = small.trial_inputs(shown=True, scan=ScanRecord.of(small.card.simulation, small.card.dose))
    records = []
    for number, alpha in enumerate(ALPHAS):
        config = small.experiment.trial.model_copy(update={"alpha": alpha, "epochs": 1})
        run_trial(config, folder.trial(number), inputs, Worker(), lambda row: None, trial=number)
        records.append(
            TrialRecord(number, schema.COMPLETE, {"alpha": alpha}, {}, 1, None, 0, None, None, True)
        )
    StudyCard(
        name="small",
        objectives=[schema.PRIMARY_DICE, schema.PRIMARY_PSNR],
        directions={schema.PRIMARY_DICE: "maximize", schema.PRIMARY_PSNR: "maximize"},
        dataset=small.card.model_dump(mode="json", exclude={"shards"}),
        folders={"dataset": str(small.workspace.dataset), "task_network": str(small.workspace.task_network)},
    ).write(folder.card)
    export_results(folder, "small", records)
    return folder


def _halved(images: np.ndarray) -> np.ndarray:
    return images.repeat(2, axis=1).repeat(2, axis=2)


def scan_file(small: Any, path: Path) -> Path:
    """The FBP of a patient's test slices as a NIfTI file in HU, on pixels half as large as the network's."""
    (batch,) = small.feed("test").ordered(16, share=Share())
    hu = _halved(Reconstructor.to_hu(batch["fbp"][:, 0]).numpy()).round().astype(np.int16)
    pixel = small.card.geometry["pixel_spacing_mm"] / 2
    affine = np.diag([-pixel, -pixel, 3.0, 1.0])
    nib.save(nib.Nifti1Image(hu.transpose(2, 1, 0), affine), path)
    return path


def test_a_trial_leaves_what_makes_its_images_again(small: Any, study: StudyFolder) -> None:
    network = taskct_core.load_reconstructor(study.trial(1).path)
    assert network.card.alpha == 0.9 and network.card.data_hash == small.card.data_hash
    assert network.card.noise_hu and 1 < network.card.noise_hu < 500
    assert set(network.card.scores) == {"validation", "test"}
    with np.load(study.trial(1).panel) as panel:
        shown = torch.from_numpy(panel["image"].astype(np.float32))
    feeds = {split: small.feed(split) for split in schema.SPLITS}
    made = network(choose_panel(feeds)["fbp"])
    assert torch.allclose(made.reshape(shown.shape), shown, atol=2e-3)  # panels are stored in half precision


def test_a_study_of_an_older_version_is_read_from_its_checkpoints(study: StudyFolder, tmp_path: Path) -> None:
    old = StudyFolder(tmp_path / "old")
    shutil.copytree(study.path, old.path)
    for file in old.path.rglob("reconstructor.*"):
        file.unlink()
    image = torch.rand(2, 1, 64, 64)
    now, then = trial_reconstructor(study, 0), trial_reconstructor(old, 0)
    assert torch.equal(now(image), then(image)) and then.card.scores == now.card.scores


def test_the_trial_is_the_one_that_is_meant(study: StudyFolder) -> None:
    assert chosen_trial(study, Choice(trial=1)) == 1
    assert chosen_trial(study, Choice(alpha=0.7)) == 1 and chosen_trial(study, Choice(alpha=0.2)) == 0
    best = max(
        (0, 1), key=lambda trial: read_card(study.trial(trial).path).scores["validation"]["psnr_lodopab"] or 0
    )
    assert chosen_trial(study, Choice(best="psnr_lodopab")) == best
    assert chosen_trial(study, Choice()) in (0, 1)
    for wrong, words in (
        (Choice(trial=7), "Complete ones: 0, 1"),
        (Choice(best="psnr"), "Choose one of psnr_lodopab"),
        (Choice(trial=1, alpha=0.5), "--trial and --alpha"),
    ):
        with pytest.raises(ConfigError, match=words):
            chosen_trial(study, wrong)


def test_a_study_publishes_the_network_that_it_recommends(study: StudyFolder) -> None:
    trial = publish_recommended(study)
    network = taskct_core.load_reconstructor(study.path.parent)  # the experiment's folder does, too
    assert network.card == read_card(study.trial(chosen_trial(study, Choice())).path)
    assert trial == chosen_trial(study, Choice())


def test_a_study_that_was_interrupted_before_its_first_epoch_publishes_none(tmp_path: Path) -> None:
    assert publish_recommended(StudyFolder(tmp_path)) is None


def test_the_command_denoises_a_volume_and_tells_what_it_used(
    small: Any, study: StudyFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = scan_file(small, tmp_path / "scan.nii.gz")
    output, masks = tmp_path / "made.nii.gz", tmp_path / "masks.nii.gz"
    apply_network(study.path.parent, source, output, (None, 0.9, None), masks, "cpu", False)
    printed = capsys.readouterr().out
    assert "trial 1" in printed and "alpha 0.9" in printed
    assert "pixels of 6.25 mm" in printed and "pixels are 3.12 mm" in printed
    before, made = map(nib.Nifti1Image.from_filename, (source, output))
    np.testing.assert_array_equal(before.affine, made.affine)
    (batch,) = small.feed("test").ordered(16, share=Share())
    expected = Reconstructor.to_hu(trial_reconstructor(study, 1)(batch["fbp"]))[:, 0].numpy()
    body = _halved(expected) > -300
    found, given = (image.get_fdata().transpose(2, 1, 0)[body] for image in (made, before))
    assert np.corrcoef(found, _halved(expected)[body])[0, 1] > 0.9  # the field lies between the scan's pixels
    assert np.abs(found - given).mean() > 1
    assert set(np.unique(nib.Nifti1Image.from_filename(masks).get_fdata())) <= {0, 1, 2}
    with pytest.raises(ConfigError, match="existing output"):
        apply_network(study.path, source, output, (None, None, None), None, "cpu", False)
