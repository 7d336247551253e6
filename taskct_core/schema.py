"""The on-disk contracts: every column name, unit and axis order; file names stand in ``contracts.folders``.

    CT volumes --simulate--> shards --train/search--> study folder --report--> report.html

Axes are ``height width`` for images and ``angle detector`` for sinograms. Images are
attenuation divided by mu_max, so they lie in [0, 1]; sinograms are line integrals divided
by mu_max (metres), as LoDoPaB-CT stores them. Labels are 0 background, 1 liver, 2 tumour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from taskct_core.hounsfield import LIVER_WINDOW_HU

# --- dataset folder -------------------------------------------------------------------------------

DATASET_FORMAT_VERSION = 1
SPLITS = ("train", "validation", "test")
SCORED_SPLITS = SPLITS[1:]  # nothing is trained on them

# One row of a shard is one sample. Tensors are Arrow's canonical fixed-shape tensors.
PATIENT: Final = "patient"  # string
SLICE_INDEX: Final = "slice_index"  # int32, position in the volume, inferior to superior
FULL_DOSE: Final = "full_dose"  # float32 (height, width), normalised attenuation in [0, 1]
FBP: Final = "fbp"  # float32 (height, width), filtered back-projection of the low-dose sinogram
SINOGRAM: Final = "sinogram"  # float32 (angle, detector), low-dose line integrals / mu_max; optional column
LABELS: Final = "labels"  # uint8 (height, width)
PHOTONS_PER_RAY: Final = "photons_per_ray"  # float32, mean count of an unattenuated ray of this slice
PIXEL_SPACING_MM: Final = "pixel_spacing_mm"  # float32, as projected

# What simulation.field_of_view means, as reports say it.
FIELD_OF_VIEW_POLICIES = {
    "scanner": "one field for all patients, lengths and dose in true mm",
    "crop": "the central 362/512, called 260 mm wide, as in LoDoPaB-CT; cuts an abdomen off",
    "resize": "method studies only: every slice is called 260 mm wide, so the dose differs between patients",
    "true_size": "the whole slice at its own width; pixels differ between patients",
}

# What fresh samples are drawn from (taskct_core.simulation.fresh); columns of train shards that were simulated with
# ``fresh``. The grid has half of the scanner's pixel spacing and the same centre.
BASE_HU = "base_hu"  # int16 (height, width), Hounsfield units
BASE_LABELS = "base_labels"  # uint8 (height, width)
BODY_HEIGHT_MM, BODY_WIDTH_MM = "body_height_mm", "body_width_mm"  # float32, of the field centred on the body
TUMOUR_PIXELS: Final = "tumour_pixels"  # int32, pixels of LABELS that are tumour
BASE_COLUMNS = (BASE_HU, BASE_LABELS, BODY_HEIGHT_MM, BODY_WIDTH_MM, TUMOUR_PIXELS)

BACKGROUND, LIVER, TUMOUR = 0, 1, 2
UNLABELLED = 255  # every pixel of a slice that nobody labelled: it trains the image loss and is never scored

# --- study folder ---------------------------------------------------------------------------------

RESULTS_FORMAT_VERSION = 1

# Identity and state of a result row
STUDY = "study"
TRIAL: Final = "trial"  # int; Optuna's trial number; negative for references
METHOD: Final = "method"  # one of taskct_core.modes.MODES, or of REFERENCES
SPLIT: Final = "split"
EPOCH: Final = "epoch"  # int, counted from 1; 0 for references
# float in [0, 1], of the rows that are points of a front trial (mode `front`) beside its own; else null. Readers of one
# row a trial, epoch and split leave them out.
ALPHA: Final = "alpha"
STATUS: Final = "status"
FAILURE_REASON: Final = "failure_reason"  # string, null unless status is FAIL
CONFIG_PREFIX = "config_"
RUNNING, COMPLETE, PRUNED, FAIL, REFERENCE = "RUNNING", "COMPLETE", "PRUNED", "FAIL", "REFERENCE"
STATUSES = (RUNNING, COMPLETE, PRUNED, FAIL, REFERENCE)

# Cost, and losses of the training epoch
SECONDS: Final = "seconds"  # since the trial started training, this epoch included
PARAMETERS: Final = "parameters"  # trainable parameters of the reconstructor
REFERENCE_SETTINGS: Final = "reference_settings"  # what tuning on validation slices chose for a reference
SECONDS_PER_SLICE: Final = "seconds_per_slice"  # to reconstruct one on the trial's device
PEAK_MEMORY_MB: Final = "peak_memory_mb"  # of the trial: memory of its GPU, or resident memory of its process
LOSS: Final = "loss"
LOSS_IMAGE: Final = "loss_image"
LOSS_TASK: Final = "loss_task"
# The trial's objective on the validation split, and its two losses; by it an epoch is kept.
VALIDATION_LOSS = "validation_loss"
VALIDATION_LOSS_IMAGE, VALIDATION_LOSS_TASK = "validation_loss_image", "validation_loss_task"
KEPT_EPOCH: Final = (
    "kept_epoch"  # int; the epoch so far whose weights the trial keeps, and its final rows are of
)
GRADIENT_NORM_IMAGE, GRADIENT_NORM_TASK = "gradient_norm_image", "gradient_norm_task"

# Provenance: rows that differ in any of COMPARABILITY must not be merged or compared silently.
DATA_HASH: Final = "data_hash"
CONFIG_HASH: Final = "config_hash"
TASK_NETWORK_HASH: Final = "task_network_hash"
AUDIT_NETWORK_HASH: Final = "task_network_hash_audit"  # of the network that audits the frozen one
FURTHER_JUDGES_HASH: Final = "task_network_hash_further"  # of those that judged beside it in training
METRIC_POLICY: Final = "metric_policy"
SEED: Final = "seed"
# Of a trial that is repeated over folds and seeds each run has rows of its own, beside those of the whole trial, where
# run and fold are null.
RUN: Final = "run"  # string, the name of its folder
FOLD: Final = "fold"  # int; null as well without folds
GIT_COMMIT, HOST, DEVICE, FINISHED_AT = "git_commit", "host", "device", "finished_at"
GIT_CHANGED = "git_changed"  # whether taskct's files had changes since that commit
VERSION_PREFIX = "version_"
COMPARABILITY = (DATA_HASH, METRIC_POLICY)

# --- methods --------------------------------------------------------------------------------------

REFERENCES = ("full_dose", "fbp", "tv", "sirt")

# --- metrics --------------------------------------------------------------------------------------

# Voxel counts in a samples row, from which every Dice policy follows exactly.
# Liver means label >= 1 (tumour included), as LiTS scores it; tumour means label 2.
LABEL_OF = {"liver": LIVER, "tumour": TUMOUR}
STRUCTURES = tuple(LABEL_OF)
COUNTS = tuple(f"{s}_{part}_pixels" for s in STRUCTURES for part in ("true", "predicted", "overlap"))
# 2-D tumour components (8-connected): of the truth; of those, hit by a predicted tumour pixel;
# predicted ones that hit no true tumour pixel.
COMPONENT_COUNTS = ("tumour_components_true", "tumour_components_hit", "tumour_components_false")
# Pixels on the boundaries of the two masks; of those, the ones that lie within the tolerance of the other boundary.
SURFACE_COUNTS = tuple(f"{s}_surface_{part}" for s in STRUCTURES for part in ("pixels", "within"))
SURFACE_TOLERANCE_MM = 3.0

# Tissues that the bias in HU is told of -> their range in the full-dose image; liver and tumour are the labels', of
# others no pixel is labelled. A pixel counts if all its neighbours are of the tissue, too.
TISSUES_HU: dict[str, tuple[float, float]] = {
    "liver": (-100.0, 300.0),
    "tumour": (-100.0, 300.0),
    "lung": (-950.0, -600.0),
    "fat": (-140.0, -60.0),
    "soft": (0.0, 100.0),
    "bone": (250.0, 3071.0),
}
ERROR_COUNTS = tuple(f"{tissue}_error_{part}" for tissue in TISSUES_HU for part in ("sum_hu", "pixels"))
# A segmentation column means the frozen task network's prediction. The same column for another network
# carries a suffix: the network that the trial itself trained (in the modes that do), or a
# second frozen network that took no part in the training (cross-task audit).
OWN_NETWORK_SUFFIX = "_own"
AUDIT_NETWORK_SUFFIX = "_audit"
NETWORK_SUFFIXES = ("", OWN_NETWORK_SUFFIX, AUDIT_NETWORK_SUFFIX)

IMAGE_METRIC_REGIONS = {
    "lodopab": "whole image, data range = max - min of that full-dose slice (LoDoPaB-CT)",
    "fixed": "whole image, data range = 1 (mu_max)",
    "window": "whole image clipped to the liver window [{:.0f}, {:.0f}] HU, data range = the window".format(
        *LIVER_WINDOW_HU
    ),
    "liver": "the pixels labelled liver or tumour, clipped to the liver window; NaN where there are none",
}
EMPTY_POLICIES = {
    "lits": "1 where truth and prediction are both empty, 0 where only one is",
    "nnunet": "skipped where truth and prediction are both empty, 0 where only one is",
    "monai": "skipped where the truth is empty, whatever was predicted",
}
DICE_SCOPES = {
    "slice": "mean over slices",
    "patient": "mean over patients of the Dice of the patient's pooled slices",
}
POLICY_TEXT = "taskct metric policy 1"


Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """How a metric column is read: its name in charts, its policy in words, and which way is better."""

    label: str
    policy: str
    direction: Direction = "maximize"
    unit: str = ""


def _image_metrics() -> dict[str, Metric]:
    return {
        f"{name}_{region}": Metric(f"{name.upper()} ({region})", policy, unit="dB" if name == "psnr" else "")
        for name in ("psnr", "ssim")
        for region, policy in IMAGE_METRIC_REGIONS.items()
    }


def _dice_metrics() -> dict[str, Metric]:
    wording = {
        "liver": "liver (label >= 1)",
        "tumour": "tumour (label 2)",
        "mean": "mean of liver and tumour, of those that the slices' truth has",
    }
    return {
        f"dice_{structure}_{scope}_{empty}": Metric(
            f"Dice {structure} ({scope}, {empty})",
            f"{wording[structure]}; {scope_text}; empty: {empty_text}",
        )
        for structure in ("liver", "tumour", "mean")
        for scope, scope_text in DICE_SCOPES.items()
        for empty, empty_text in EMPTY_POLICIES.items()
    }


def _boundary_metrics() -> dict[str, Metric]:
    """Scores of boundaries and volumes, of each structure."""
    tolerance = f"{SURFACE_TOLERANCE_MM:g} mm"
    metrics: dict[str, Metric] = {}
    for structure in STRUCTURES:
        metrics |= {
            f"surface_dice_{structure}": Metric(
                f"Surface Dice {structure} ({tolerance})",
                f"share of both outlines' pixels that lie within {tolerance} of the other outline, in the plane of the "
                "slices, a patient's slices pooled; mean over patients; skipped where truth and prediction are both "
                "empty, 0 where only one is",
            ),
            f"hd95_{structure}": Metric(
                f"HD95 {structure}",
                "95th percentile of the distances from an outline to the other, the larger of both directions, in the "
                "plane of the slice; mean over slices; skipped where truth and prediction are both empty, the diagonal "
                "of the slice where only one is",
                direction="minimize",
                unit="mm",
            ),
            f"volume_error_{structure}": Metric(
                f"Volume error {structure}",
                "absolute difference of predicted and true volume over the true one, a patient's slices pooled; mean "
                "over patients; skipped where the truth is empty",
                direction="minimize",
                unit="%",
            ),
        }
    return metrics


def _bias_metrics() -> dict[str, Metric]:
    ranges = {tissue: f"pixels of {low:g} to {high:g} HU" for tissue, (low, high) in TISSUES_HU.items()}
    ranges |= {structure: f"pixels labelled {structure}" for structure in STRUCTURES}
    return {
        f"bias_{tissue}": Metric(
            f"Bias {'soft tissue' if tissue == 'soft' else tissue}",
            f"size of the mean error against the full-dose image in {where} that no other tissue touches, all slices "
            "pooled",
            direction="minimize",
            unit="HU",
        )
        for tissue, where in ranges.items()
    }


# Measured on lesions and discs that are inserted into livers before the scan (taskct_core.image_quality), where the
# configuration asks for it; d' has its interval beside it, in <column>_low and <column>_high.
DPRIME, DPRIME_GABOR = "dprime_cho", "dprime_cho_gabor"
NOISE_HU, NOISE_FREQUENCY, TRANSFER_FREQUENCY = "noise_liver_hu", "nps_mean_frequency", "ttf_50"
CURVE, FREQUENCY, VALUE = "curve", "frequency_per_mm", "value"  # of tables of curves
_OBSERVER = "detectability d' of a channelised Hotelling observer with {} channels for a lesion inserted into livers at a known place"
IMAGE_QUALITY_METRICS = {
    DPRIME: Metric("d' of inserted lesions", _OBSERVER.format("Laguerre-Gauss")),
    DPRIME_GABOR: Metric("d' of inserted lesions (Gabor)", _OBSERVER.format("Gabor")),
    NOISE_HU: Metric(
        "Noise in the liver",
        "standard deviation of what differs between two scans of the same liver, over the root of two",
        direction="minimize",
        unit="HU",
    ),
    NOISE_FREQUENCY: Metric(
        "Mean noise frequency",
        "average frequency of the radial noise power spectrum (AAPM TG-233); lower means coarser, blotchier noise",
        unit="1/mm",
    ),
    TRANSFER_FREQUENCY: Metric(
        "Sharpness (TTF 50 %)",
        "frequency at which the task transfer function of an inserted disc falls below one half (AAPM TG-233); Nyquist's "
        "where it never does",
        unit="1/mm",
    ),
}

METRICS: dict[str, Metric] = {
    **_image_metrics(),
    **_dice_metrics(),
    **_boundary_metrics(),
    "tumour_f1": Metric(
        "Tumour F1 (lesion-wise)",
        "2 hits / (2 hits + misses + false ones) of 2-D tumour components (8-connected) of all slices; a true one is hit "
        "by at least one pixel; NaN where neither truth nor prediction has any",
    ),
    **_bias_metrics(),
    **IMAGE_QUALITY_METRICS,
    "tumour_recall": Metric(
        "Tumour recall", "share of true 2-D tumour components (8-connected) hit by at least one pixel"
    ),
    "tumour_false_positives": Metric(
        "Tumour false positives",
        "predicted 2-D tumour components (8-connected) a slice that hit no true tumour pixel",
        direction="minimize",
        unit="/slice",
    ),
}
SEGMENTATION_METRICS = tuple(
    name
    for name in METRICS
    if name.startswith(("dice_", "tumour_", "surface_dice_", "hd95_", "volume_error_"))
)

# Of a trial as a whole, in the rows of front trials and of studies that search by it.
HYPERVOLUME: Final = "hypervolume_of_trial"
TRIAL_METRICS = {
    HYPERVOLUME: Metric(
        "Hypervolume of the trial's front",
        "area that the trial's points dominate beyond plain FBP, in Dice (patient, nnunet) times PSNR (lodopab); "
        "a trial of one alpha has one point",
        unit="dB",
    ),
}
OBJECTIVES = METRICS | TRIAL_METRICS  # what a study may search by, beside objectives of one's own

# The columns that a chart or a study uses when it is told nothing else.
PRIMARY_DICE = "dice_mean_patient_nnunet"
PRIMARY_PSNR = "psnr_lodopab"
PRIMARY_SSIM = "ssim_lodopab"
