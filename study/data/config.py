"""The configuration of a dataset: which volumes, how they are split, and how their slices are simulated."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Positive, StrictModel
from taskct_core.registry import name_of
from taskct_core.schema import SPLITS
from taskct_core.simulation.config import SimulationConfig

SplitName = Annotated[str, name_of("taskct_core.schema:SPLITS", "split")]
FOLDS = "folds"  # key of data.split
SPLIT_KEYS = (*SPLITS, FOLDS)
SplitKey = Annotated[str, name_of("study.data.config:SPLIT_KEYS", "split")]
FEWEST_FOLDS = {"slices": 2, "fold": 3}  # by what data.split.validation says
Axes = Annotated[str, Field(pattern=r"^[LRAPSI]{3}$")]  # where three axes grow to, e.g. LPS
SpacingMm = tuple[Positive, Positive, Positive]  # slice, row, column
SHARES_TOLERANCE = 1e-6
Structure = Literal["liver", "tumour"]


class SourceConfig(StrictModel):
    """Where volumes come from."""

    kind: Annotated[str, name_of("taskct_core.volumes:SOURCE_KINDS", "kind of source", own=True)] = "phantom"
    """What files hold the volumes; or `package.module:Name` of a reader of one's own."""
    path: str | None = None
    """Folder of the volumes; not for the phantom."""
    orientation: Axes | dict[str, Axes] | None = None
    """For files whose header tells wrong directions or none: where the stored voxel axes grow to, e.g. LPS;
    for all patients, or for patterns of their names: {"volume-28..47": LPS, "b*": RAS}."""
    spacing_mm: SpacingMm | dict[str, SpacingMm] | None = None
    """For files whose header tells the wrong spacing: slice, row, column; for all patients, or for patterns."""
    images: str = "imagesTr/*.nii.gz"
    """NIfTI only: the images below path; * is the patient's {name}."""
    labels: str | dict[Structure, str] | None = None
    """NIfTI only: an image's labels, e.g. "labelsTr/{name}.nii.gz", or one mask for each structure."""
    classes: dict[int, Structure] | None = None
    """Numbers in label files -> liver or tumour, others are background; None: 1 and 2, and no others."""
    unlabelled: bool = False
    """Take patients without labels, too: they train the image loss and are never scored."""
    trust_patient_id: bool = True
    """DICOM only: folders whose headers name the same patient stay in one split. False: the headers' IDs mean
    nothing."""
    parameters: dict[str, Any] = {}
    """Of a source of one's own."""
    patients: Count = 12
    """Phantom only: how many to make."""
    slices_per_patient: Count = 12
    """Phantom only: slices of each."""
    pixels: Annotated[int, Field(ge=32)] = 256
    """Phantom only: height and width."""
    lesions: Annotated[int, Field(ge=1)] | None = None
    """Phantom only: of each patient who has any, as far as the liver has room; None: 1 to 8, drawn."""
    lesion_diameter_mm: tuple[Positive, Positive] | None = None
    """Phantom only: of the smallest and the largest lesion; None: 5 and 50. Each patient's first has 32 mm or more
    where the largest may."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Phantom only: of the patients' anatomy."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind != "phantom" and ":" not in self.kind and self.path is None:
            raise ValueError(f"source.path must name the folder of {self.kind} volumes")
        if self.lesion_diameter_mm is not None and self.lesion_diameter_mm[0] > self.lesion_diameter_mm[1]:
            raise ValueError("lesion_diameter_mm must be (smallest, largest) with smallest <= largest")
        return self

    def keywords(self) -> dict[str, Any]:
        """What ``taskct_core.volumes.list_patients`` takes."""
        return self.model_dump(exclude={"trust_patient_id"})


class SliceConfig(StrictModel):
    """Which slices of a volume become samples."""

    only_with_liver: bool = True
    """Leave out slices without liver."""
    every: Count = 1
    """Keep each n-th slice."""


class SyntheticLesionConfig(StrictModel):
    """Lesions put into labelled livers, for training where patients with tumours are few."""

    splits: list[SplitName] = []
    """Splits whose patients get them; none: real tumours alone."""
    draws: Count = 1
    """How often a patient is used, each time with other lesions."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the lesions."""


class DataConfig(StrictModel):
    """Volumes, their split by patient, and which slices are simulated."""

    source: SourceConfig = SourceConfig()
    """Where volumes come from."""
    split: dict[SplitKey, int | float | list[str] | str] = {
        "train": 0.6,
        "validation": 0.2,
        "test": 0.2,
    }
    """Shares of the patients or the patients' names, for each split; or {folds: 3} for a cross-validation by
    patient, whose folds choose epochs on the next fold's patients, or with {folds: 3, validation: slices}
    on every fifth shard of their own training patients."""
    slices: SliceConfig = SliceConfig()
    """Which slices of a volume become samples."""
    synthetic_lesions: SyntheticLesionConfig = SyntheticLesionConfig()
    """Lesions put into labelled livers."""
    rows_per_shard: Count = 64
    """Samples in one Parquet file."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if FOLDS in self.split:
            _check_folds(self)
            return self
        missing = [name for name in SPLITS if name not in self.split]
        if missing:
            raise ValueError(f"split must name {', '.join(SPLITS)}; missing {', '.join(missing)}")
        if len({isinstance(value, list) for value in self.split.values()}) > 1 or any(
            isinstance(value, str) for value in self.split.values()
        ):
            raise ValueError("split must give shares for all or patient lists for all")
        shares = [value for value in self.split.values() if isinstance(value, int | float)]
        if shares and abs(sum(shares) - 1) > SHARES_TOLERANCE:
            raise ValueError(f"the shares of split must add up to 1, but add up to {sum(shares):g}")
        return self

    @property
    def folds(self) -> int | None:
        """How many folds the patients form; None: they stand in splits."""
        folds = self.split.get(FOLDS)
        return folds if isinstance(folds, int) else None

    @property
    def named_splits(self) -> dict[str, float | list[str]]:
        """Of patients who stand in splits: each one's share or names."""
        return {name: value for name, value in self.split.items() if not isinstance(value, str)}


def _check_folds(data: DataConfig) -> None:
    validation = data.split.get("validation", "fold")
    if (
        not isinstance(validation, str)
        or validation not in FEWEST_FOLDS
        or set(data.split) - {FOLDS, "validation"}
    ):
        raise ValueError(
            "split must be {folds: N}, or {folds: N, validation: slices}; nothing else stands beside folds"
        )
    if data.folds is None or data.folds < FEWEST_FOLDS[validation]:
        raise ValueError(
            f"split.folds must be a whole number >= {FEWEST_FOLDS[validation]} with validation: {validation}"
        )
    if data.synthetic_lesions.splits:
        raise ValueError(
            "synthetic_lesions would be in tested patients of folds: use simulation.fresh_draw.lesion_share"
        )


class DatasetSettings(StrictModel):
    """What a dataset is made from: the part of an experiment that its simulation reads."""

    data: DataConfig = DataConfig()
    """Which CT, and which patients train, choose and score."""
    simulation: SimulationConfig = SimulationConfig()
    """The low-dose scan."""
