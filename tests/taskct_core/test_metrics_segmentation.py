"""Counts, Dice policies and detection against MONAI, torchmetrics and cases counted by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from torchmetrics.functional.classification import binary_f1_score

from taskct_core.metrics import summarise
from taskct_core.metrics.segmentation import segmentation_counts
from taskct_core.metrics.slices import evaluate, evaluate_images
from taskct_core.metrics.summary import dice
from taskct_core.schema import (
    COMPONENT_COUNTS,
    COUNTS,
    IMAGE_QUALITY_METRICS,
    METRICS,
    OWN_NETWORK_SUFFIX,
    PATIENT,
    SEGMENTATION_METRICS,
    SLICE_INDEX,
)
from taskct_core.task_networks import build_task_network
from taskct_core.task_networks.config import TaskNetworkConfig

Row = dict[str, Any]


def random_labels(seed: int, count: int = 6, side: int = 12) -> torch.Tensor:
    """Labels in which some slices have no tumour and one has nothing."""
    labels = torch.randint(0, 3, (count, side, side), generator=torch.Generator().manual_seed(seed))
    labels[1::2] = labels[1::2].clamp(max=1)
    labels[-1] = 0
    return labels


def rows_of(predicted: torch.Tensor, labels: torch.Tensor, patients: list[str] | None = None) -> list[Row]:
    counts = segmentation_counts(predicted, labels, knows_tumour=True)
    names = patients or ["a"] * len(labels)
    return [
        {PATIENT: name, SLICE_INDEX: index, **{column: values[index] for column, values in counts.items()}}
        for index, name in enumerate(names)
    ]


def test_summary_has_every_metric_column_that_slices_give_and_only_those() -> None:
    labels = random_labels(0)
    assert set(summarise(rows_of(labels, labels))) == set(METRICS) - set(IMAGE_QUALITY_METRICS)


def test_summary_of_nothing_is_undefined() -> None:
    assert all(math.isnan(value) for value in summarise([]).values())


@pytest.mark.parametrize(("structure", "least_label"), [("liver", 1), ("tumour", 2)])
def test_slice_dice_skipping_empty_truth_agrees_with_monai(structure: str, least_label: int) -> None:
    predicted, labels = random_labels(1), random_labels(2)
    metric = DiceMetric(include_background=True, ignore_empty=True)
    metric((predicted >= least_label).unsqueeze(1).float(), (labels >= least_label).unsqueeze(1).float())
    expected = metric.aggregate().item()
    assert summarise(rows_of(predicted, labels))[f"dice_{structure}_slice_monai"] == pytest.approx(expected)


def test_empty_policy_of_lits_agrees_with_monai_counting_empty_as_right() -> None:
    predicted, labels = random_labels(1), random_labels(2)
    metric = DiceMetric(include_background=True, ignore_empty=False)
    metric((predicted == 2).unsqueeze(1).float(), (labels == 2).unsqueeze(1).float())
    expected = metric.aggregate().item()
    assert summarise(rows_of(predicted, labels))["dice_tumour_slice_lits"] == pytest.approx(expected)


def test_patient_dice_agrees_with_torchmetrics_on_the_pooled_volume() -> None:
    predicted, labels = random_labels(3), random_labels(4)
    patients = ["a", "b", "a", "a", "b", "b"]
    expected = []
    for patient in ("a", "b"):
        of_patient = [name == patient for name in patients]
        expected.append(binary_f1_score(predicted[of_patient] == 2, labels[of_patient] == 2).item())
    summary = summarise(rows_of(predicted, labels, patients))
    assert summary["dice_tumour_patient_nnunet"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("lits", [1, 0, 0, 0.8]), ("nnunet", [None, 0, 0, 0.8]), ("monai", [None, None, 0, 0.8])],
)
def test_empty_policies_differ_as_declared(policy: str, expected: list[float | None]) -> None:
    """Both empty; only the truth; only the prediction; neither."""
    true, predicted, overlap = (np.array(v, dtype=float) for v in ([0, 0, 5, 5], [0, 5, 0, 5], [0, 0, 0, 4]))
    wanted = np.array([np.nan if value is None else value for value in expected])
    np.testing.assert_allclose(dice(true, predicted, overlap, policy), wanted)


def test_liver_includes_the_tumour() -> None:
    labels = random_labels(0)
    counts = segmentation_counts(labels.clamp(max=1), labels, knows_tumour=True)
    assert counts["liver_overlap_pixels"] == counts["liver_true_pixels"]
    assert counts["tumour_overlap_pixels"] == [0] * len(labels)


def test_components_are_counted_by_hand() -> None:
    truth, found = torch.zeros(1, 8, 8, dtype=torch.long), torch.zeros(1, 8, 8, dtype=torch.long)
    truth[0, 0, 0] = truth[0, 1, 1] = 2  # one component: diagonal neighbours touch
    truth[0, 4:6, 4:6] = 2
    truth[0, 7, 0] = 2
    found[0, 1, 1] = 2  # hits the first
    found[0, 4, 4] = found[0, 5, 5] = 2  # one component that hits the second
    found[0, 0, 6] = found[0, 7, 7] = 2  # two false ones
    counts = segmentation_counts(found, truth, knows_tumour=True)
    assert [counts[name] for name in COMPONENT_COUNTS] == [[3], [2], [2]]
    summary = summarise(rows_of(found, truth))
    assert summary["tumour_recall"] == pytest.approx(2 / 3)
    assert summary["tumour_false_positives"] == 2


def test_mean_dice_is_of_the_structures_that_are_defined() -> None:
    labels = random_labels(5).clamp(max=1)
    summary = summarise(rows_of(labels, labels))
    assert math.isnan(summary["dice_tumour_slice_nnunet"])
    assert summary["dice_mean_slice_nnunet"] == summary["dice_liver_slice_nnunet"] == 1


def test_rows_have_every_count_and_the_batchs_identity(
    make_batch: Callable[..., Row], network_config: TaskNetworkConfig
) -> None:
    network = build_task_network(network_config)
    rows = evaluate_images(network, [make_batch(count=3), make_batch(count=1)], "fbp")
    assert [row[SLICE_INDEX] for row in rows] == [0, 1, 2, 0]
    assert [row[PATIENT] for row in rows] == ["patient-0", "patient-0", "patient-1", "patient-0"]
    assert {*COUNTS, *COMPONENT_COUNTS, "psnr_lodopab", "ssim_liver"} <= set(rows[0])
    assert network.training  # as it was before


def test_a_liver_only_network_has_no_tumour_scores(make_batch: Callable[..., Row]) -> None:
    config = TaskNetworkConfig(classes="liver", architecture_parameters={"width": 4})
    summary = summarise(evaluate_images(build_task_network(config), [make_batch()], "full_dose"))
    assert math.isnan(summary["dice_tumour_patient_lits"]) and math.isnan(summary["tumour_recall"])
    assert summary["dice_mean_patient_nnunet"] == summary["dice_liver_patient_nnunet"]
    assert not math.isnan(summary["dice_liver_patient_nnunet"])


def test_each_networks_columns_carry_its_suffix(
    make_batch: Callable[..., Row], network_config: TaskNetworkConfig
) -> None:
    networks = {
        suffix: build_task_network(network_config.model_copy(update={"seed": seed}))
        for seed, suffix in enumerate(("", OWN_NETWORK_SUFFIX))
    }
    batches = [make_batch()]
    both = summarise(evaluate(batches, lambda batch: batch["fbp"], networks))
    second = summarise(evaluate(batches, lambda batch: batch["fbp"], {"": networks[OWN_NETWORK_SUFFIX]}))
    for name in SEGMENTATION_METRICS:
        np.testing.assert_equal(both[name + OWN_NETWORK_SUFFIX], second[name])
    assert both["dice_liver_slice_lits"] != second["dice_liver_slice_lits"]
