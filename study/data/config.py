"""The configuration of a dataset: which volumes, how they are split, and how their slices are simulated."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from taskct_core.config import Count, Positive, StrictModel
from taskct_core.registry import name_of
from taskct_core.schema import SPLITS
from taskct_core.simulation.config import SimulationConfig

SplitName = Annotated[str, name_of("taskct_core.schema:SPLITS", "split")]
Axes = Annotated[str, Field(pattern=r"^[LRAPSI]{3}$")]  # where three axes grow to, e.g. LPS
SpacingMm = tuple[Positive, Positive, Positive]  # slice, row, column
SHARES_TOLERANCE = 1e-6
Structure = Literal["liver", "tumour"]


class SourceConfig(StrictModel):
    """Where volumes come from."""

    # phantom, lits, nifti, dicom, or "package.module:Name" of one's own.
    kind: Annotated[str, name_of("taskct_core.volumes:SOURCE_KINDS", "kind of source", own=True)] = "phantom"
    path: str | None = None  # folder of the volumes; not for the phantom
    # For files whose header tells wrong directions or none: where the stored voxel axes grow to, e.g. LPS; for all
    # patients, or for patterns of their names: {"volume-28..47": LPS, "b*": RAS}.
    orientation: Axes | dict[str, Axes] | None = None
    # For files whose header tells the wrong spacing: slice, row, column; for all patients, or for patterns.
    spacing_mm: SpacingMm | dict[str, SpacingMm] | None = None
    images: str = "imagesTr/*.nii.gz"  # nifti only: the images below path; * is the patient's {name}
    # nifti only: an image's labels, e.g. "labelsTr/{name}.nii.gz", or one mask for each structure.
    labels: str | dict[Structure, str] | None = None
    # Numbers in label files -> liver or tumour, others are background; None: 1 and 2, and no others.
    classes: dict[int, Structure] | None = None
    unlabelled: bool = (
        False  # take patients without labels, too: they train the image loss and are never scored
    )
    # dicom: folders whose headers name the same patient stay in one split. False: the headers' IDs mean nothing.
    trust_patient_id: bool = True
    parameters: dict[str, Any] = {}  # of a source of one's own
    patients: Count = 12  # phantom only: how many to make
    slices_per_patient: Count = 12  # phantom only
    pixels: Annotated[int, Field(ge=32)] = 256  # phantom only: height and width
    seed: Annotated[int, Field(ge=0)] = 0  # phantom only

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind != "phantom" and ":" not in self.kind and self.path is None:
            raise ValueError(f"source.path must name the folder of {self.kind} volumes")
        return self

    def keywords(self) -> dict[str, Any]:
        """What ``taskct_core.volumes.list_patients`` takes."""
        return self.model_dump(exclude={"trust_patient_id"})


class SliceConfig(StrictModel):
    """Which slices of a volume become samples."""

    only_with_liver: bool = True
    every: Count = 1  # keep each n-th of them


class SyntheticLesionConfig(StrictModel):
    """Lesions put into labelled livers, for training where patients with tumours are few."""

    # Splits whose patients get them; none: real tumours alone.
    splits: list[SplitName] = []
    draws: Count = 1  # how often a patient is used, each time with other lesions
    seed: Annotated[int, Field(ge=0)] = 0


class DataConfig(StrictModel):
    """Volumes, their split by patient, and which slices are simulated."""

    source: SourceConfig = SourceConfig()
    # Either shares of the patients or the patients' names, for each split.
    split: dict[SplitName, float | list[str]] = {
        "train": 0.6,
        "validation": 0.2,
        "test": 0.2,
    }
    slices: SliceConfig = SliceConfig()
    synthetic_lesions: SyntheticLesionConfig = SyntheticLesionConfig()
    rows_per_shard: Count = 64

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = [name for name in SPLITS if name not in self.split]
        if missing:
            raise ValueError(f"split must name {', '.join(SPLITS)}; missing {', '.join(missing)}")
        if len({isinstance(value, list) for value in self.split.values()}) > 1:
            raise ValueError("split must give shares for all or patient lists for all")
        shares = [value for value in self.split.values() if not isinstance(value, list)]
        if shares and abs(sum(shares) - 1) > SHARES_TOLERANCE:
            raise ValueError(f"the shares of split must add up to 1, but add up to {sum(shares):g}")
        return self


class DatasetSettings(StrictModel):
    """What a dataset is made from: the part of an experiment that its simulation reads."""

    data: DataConfig = DataConfig()
    simulation: SimulationConfig = SimulationConfig()
