"""A configuration run on every fold and seed: its runs, its scores, and what a restart goes on with."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from study.results import export_results
from study.scoring.references import write_references
from study.search.config import StudyConfig, points_of
from study.search.storage.records import TrialRecord
from study.trials import epoch_log
from study.trials.inputs import TrialInputs, Worker
from study.trials.panels import choose_panel, join_panels
from study.trials.record import save_samples
from study.trials.repeats import Repeats, means_over_patients, repeat_trial
from study.trials.trial import run_trial
from study.trials.trial_config import read_trial_config
from taskct_core import schema
from taskct_core.contracts.files import read_json
from taskct_core.contracts.folders import StudyFolder, TrialFolder
from taskct_core.contracts.rows import epoch_row, read_rows, write_rows
from taskct_core.contracts.study_card import StudyCard
from taskct_core.contracts.tables import read_frame
from taskct_core.geometry import ParallelBeam
from taskct_core.training.config import TrialConfig

CONFIG = TrialConfig(epochs=1, batch_size=4, architecture_parameters={"width": 4}, seed=5)


@pytest.fixture(scope="module")
def repeats(small) -> Repeats:
    """Two folds, each tested on what the other validates on, and two seeds; the second judge is the first once more."""
    feeds = {split: small.feed(split) for split in schema.SPLITS}
    first = TrialInputs(
        feeds=feeds,
        panel=choose_panel(feeds, 1),
        geometry=ParallelBeam.from_dict(small.card.geometry),
        task_network=str(small.workspace.task_network),
        data_hash=small.card.data_hash,
        audit=str(small.workspace.task_network),
    )
    feeds = {**first.feeds, "validation": first.feeds["test"], "test": first.feeds["validation"]}
    other = replace(first, feeds=feeds, panel=choose_panel(feeds, 2))
    return Repeats({0: first, 1: other}, seeds=2)


def _train(config: TrialConfig, folder: TrialFolder, inputs: TrialInputs) -> None:
    run_trial(config, folder, inputs, Worker(), lambda row: None)


@pytest.fixture(scope="module")
def study(repeats: Repeats, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study of one repeated trial that was killed in its third run and started again."""
    study = StudyFolder(tmp_path_factory.mktemp("repeated"))
    begun: list[str] = []

    def train_until_killed(config: TrialConfig, folder: TrialFolder, inputs: TrialInputs) -> None:
        begun.append(folder.path.name)
        if len(begun) == 3:
            raise KeyboardInterrupt
        _train(config, folder, inputs)

    with pytest.raises(KeyboardInterrupt):
        repeat_trial(CONFIG, study.trial(0), repeats, train_until_killed, lambda row: None, trial=0)
    repeat_trial(CONFIG, study.trial(0), repeats, train_until_killed, lambda row: None, trial=0)
    assert begun == [
        "fold-0-seed-5",
        "fold-1-seed-5",
        "fold-0-seed-6",
        "fold-0-seed-6",
        "fold-1-seed-6",
    ]
    return study


def test_each_run_has_its_seed_and_a_row_tells_of_those_so_far(study: StudyFolder) -> None:
    trial = study.trial(0)
    assert [row[schema.EPOCH] for row in epoch_log.read(trial)] == [1, 2, 3, 4]
    seeds = [read_trial_config(run).seed for run in sorted((trial.runs).iterdir())]
    assert seeds == [5, 6, 5, 6]
    first = next(row for row in read_rows(trial.run("fold-0-seed-5").final) if row["split"] == "validation")
    logged = epoch_log.read(trial)[0]
    assert logged[schema.PRIMARY_PSNR] == pytest.approx(first[schema.PRIMARY_PSNR])


def test_scores_are_means_over_patients_of_means_over_runs(study: StudyFolder) -> None:
    samples = pd.read_parquet(study.trial(0).samples)
    whole = next(
        row for row in read_rows(study.trial(0).final) if row["split"] == "test" and schema.RUN not in row
    )
    test = samples[samples["split"] == "test"]
    expected = test.groupby(["patient", "seed"])["psnr_lodopab"].mean().groupby("patient").mean().mean()
    assert whole["psnr_lodopab"] == pytest.approx(expected)
    assert len(test.groupby(["fold", "seed"])) == 4


def test_results_keep_every_run_and_the_analysis_keeps_them_apart(study: StudyFolder, small) -> None:
    from analysis import load
    from analysis.figures.history import compute_learning_curves
    from analysis.sample_scores import align

    record = TrialRecord(0, schema.COMPLETE, {}, {}, 4, None, 0, None, None, True)
    damages: list[object] = []
    frame = export_results(study, "repeated", [record], damages.append)
    assert not damages
    assert set(frame[schema.CONFIG_PREFIX + "seed"]) == {5}
    runs = frame[frame[schema.RUN].notna()]
    assert len(runs) == 8  # four runs, each with validation and test
    assert set(zip(runs[schema.FOLD], runs[schema.SEED], strict=True)) == {(0, 5), (0, 6), (1, 5), (1, 6)}
    table = load(study.path)
    assert (len(table.runs), table.seeds_of(0), table.folds) == (8, 2, 2)
    assert len(table.scores("test")) == 1
    assert compute_learning_curves(table, schema.PRIMARY_DICE).step == "run"
    for repeats, step in (
        ({"folds": "all"}, "run"),
        ({"seeds": 2}, "run"),
        ({"folds": None, "seeds": 1}, "epoch"),
    ):
        card = StudyCard(config={"study": {"repeats": repeats}})
        running = replace(table, runs=table.runs[:0], study=card)
        assert compute_learning_curves(running, schema.PRIMARY_DICE).step == step
    aligned = align(table, [0], "test")
    assert aligned.trials == [0, 0]
    assert set(aligned.patients) == {*small.card.patients["test"], *small.card.patients["validation"]}


def test_the_images_of_a_trial_are_those_of_its_folds_in_turn(study: StudyFolder, repeats: Repeats) -> None:
    record = TrialRecord(0, schema.COMPLETE, {}, {}, 4, None, 0, None, None, True)
    export_results(study, "repeated", [record])
    runs = [np.load(study.trial(0).run(f"fold-{fold}-seed-5").panel) for fold in (0, 1)]
    shown = np.load(study.panel(0))
    for name in ("image", "prediction"):
        np.testing.assert_array_equal(shown[name], np.concatenate([run[name] for run in runs]))
    assert len(shown["image"]) == 3


def test_references_show_the_slices_of_every_fold(repeats: Repeats, tmp_path: Path) -> None:
    study = StudyFolder(tmp_path)
    scored = [epoch_row({schema.METHOD: name, schema.TRIAL: -2}) for name in ("fbp", "tv", "sirt")]
    write_rows(study.references, scored)  # so that full dose is all that is left
    save_samples(study.reference_samples, scored)
    write_references(study, repeats)
    slices = read_json(study.panel_slices, "")
    expected = [name for inputs in repeats.folds.values() for name in inputs.panel[schema.PATIENT]]
    assert [one[schema.PATIENT] for one in slices] == expected
    full_dose = np.load(study.panel("full_dose"))["image"]
    panels = [inputs.panel[schema.FULL_DOSE].squeeze(1).numpy() for inputs in repeats.folds.values()]
    np.testing.assert_array_equal(full_dose, np.concatenate(panels).astype(np.float16))


def test_a_run_without_images_leaves_the_trial_without_and_fails_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", image=np.zeros((1, 4, 4)), prediction=np.zeros((1, 4, 4)))
    (tmp_path / "broken.npz").write_bytes(b"not an archive")
    for other in ("none.npz", "broken.npz"):
        join_panels([tmp_path / "one.npz", tmp_path / other], tmp_path / "joined.npz")
        assert not (tmp_path / "joined.npz").exists()


def test_a_second_judge_stands_beside_the_first(study: StudyFolder) -> None:
    whole = next(row for row in read_rows(study.trial(0).final) if row["split"] == "test")
    suffix = schema.AUDIT_NETWORK_SUFFIX
    assert whole[schema.PRIMARY_DICE + suffix] == pytest.approx(
        whole[schema.PRIMARY_DICE]
    )  # the same network here
    assert whole[schema.AUDIT_NETWORK_HASH] == whole[schema.TASK_NETWORK_HASH]


def test_a_finished_trial_reports_again_and_trains_nothing(study: StudyFolder, repeats: Repeats) -> None:
    def refuse(config: TrialConfig, folder: TrialFolder, inputs: TrialInputs) -> None:
        raise AssertionError(folder)

    reported: list[int] = []
    repeat_trial(CONFIG, study.trial(0), repeats, refuse, lambda row: reported.append(row[schema.EPOCH]))
    assert reported == [1, 2, 3, 4]


def test_a_trial_has_the_curves_of_all_its_runs(study: StudyFolder, repeats: Repeats, tmp_path: Path) -> None:
    shutil.copytree(study.trial(0).path, tmp_path / "trial")
    trial = TrialFolder(tmp_path / "trial")
    for number, run in enumerate(sorted(trial.runs.iterdir())):
        row = {schema.TRIAL: 0, schema.CURVE: "nps", schema.FREQUENCY: 0.1, schema.VALUE: float(number)}
        save_samples(TrialFolder(run).image_quality, [row])
    repeat_trial(CONFIG, trial, repeats, _train, lambda row: None, trial=7)
    curves = read_frame(trial.image_quality)
    assert set(curves[schema.VALUE]) == {0.0, 1.0, 2.0, 3.0} and set(curves[schema.TRIAL]) == {7}
    assert set(zip(curves[schema.FOLD], curves[schema.SEED], strict=True)) == {
        (0, 5),
        (0, 6),
        (1, 5),
        (1, 6),
    }


def test_what_a_patient_has_no_value_of_counts_in_no_mean() -> None:
    counts = dict.fromkeys((*schema.COUNTS, *schema.COMPONENT_COUNTS), 0)
    image = dict.fromkeys([name for name in schema.METRICS if name not in schema.SEGMENTATION_METRICS], 1.0)
    ill = counts | {"tumour_true_pixels": 4, "tumour_predicted_pixels": 4, "tumour_overlap_pixels": 2}
    rows = [
        {**image, **counts, "patient": "healthy", "fold": 0, "seed": 0},
        {**image, **ill, "patient": "ill", "fold": 1, "seed": 0},
        {**image, **ill, "tumour_overlap_pixels": 4, "patient": "ill", "fold": 1, "seed": 1},
    ]
    scores = means_over_patients(rows)
    assert scores["dice_tumour_patient_nnunet"] == pytest.approx(0.75)
    assert math.isnan(scores["dice_liver_patient_nnunet"])


def test_intervals_are_about_the_scores_that_a_repeated_trial_s_row_has() -> None:
    """Of patients with different numbers of slices, of whom one alone has a tumour."""
    from analysis.sample_scores import AlignedSamples, can_resample, metric_statistic
    from analysis.statistics import as_observed

    image = [name for name in schema.METRICS if name not in schema.SEGMENTATION_METRICS]
    counts = dict.fromkeys((*schema.COUNTS, *schema.COMPONENT_COUNTS), 0)
    rows = []
    for number, (patient, tumour) in enumerate((("ill", 5), ("well", 0), ("well", 0), ("well", 0))):
        liver = {
            "liver_true_pixels": 90,
            "liver_predicted_pixels": 80,
            "liver_overlap_pixels": 50 + 9 * number,
        }
        found = {
            "tumour_true_pixels": tumour,
            "tumour_predicted_pixels": 4,
            "tumour_overlap_pixels": tumour // 2,
        }
        values = dict.fromkeys(image, float(number))
        rows.append({**values, **counts, **liver, **found, "patient": patient, "fold": 0, "seed": 0})
    expected = means_over_patients(rows)
    columns = (schema.PRIMARY_PSNR, schema.PRIMARY_SSIM, *counts)
    scores = {name: np.array([[row[name]] for row in rows], dtype=float) for name in columns}
    samples = AlignedSamples("test", [0], [str(row["patient"]) for row in rows], scores, are_repeated=True)
    told = [name for name in expected if can_resample(samples, name)]
    assert {schema.PRIMARY_DICE, schema.PRIMARY_PSNR, "dice_tumour_patient_monai"} <= set(told)
    for name in told:
        found = metric_statistic(samples, name)(as_observed(samples.patients))[0]
        np.testing.assert_allclose(found, [expected[name]], err_msg=name)


def test_an_enqueued_point_with_lists_stands_for_every_combination() -> None:
    points = points_of([{"mode": "joint", "alpha": [0.5, 0.9], "seed": [0, 1]}, {"alpha": 0.0}])
    assert points == [
        {"mode": "joint", "alpha": 0.5, "seed": 0},
        {"mode": "joint", "alpha": 0.5, "seed": 1},
        {"mode": "joint", "alpha": 0.9, "seed": 0},
        {"mode": "joint", "alpha": 0.9, "seed": 1},
        {"alpha": 0.0},
    ]


def test_the_seed_tables_are_what_they_were(pytestconfig: pytest.Config) -> None:
    import yaml

    root = Path(str(pytestconfig.rootpath))
    for path, own in (("configs/seed_table.yaml", {}), ("benchmarks/real_ct/seed_table.yaml", {"own": 1})):
        study = StudyConfig.parse(yaml.safe_load((root / path).read_text(encoding="utf-8"))["study"])
        points = points_of(study.enqueue)
        assert len(points) == study.trials == 24
        assert len({tuple(sorted(point.items())) for point in points}) == 24
        kinds = {(point["mode"], point["alpha"]) for point in points}
        assert len(kinds) == 8
        assert np.bincount([point["seed"] for point in points]).tolist() == [8, 8, 8]
        assert all(("own_task_network" in point) == bool(own) for point in points)
