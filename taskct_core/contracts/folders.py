"""The folders that stages hand to each other, and the name of every file in them.

    folder = StudyFolder.at("runs/quickstart/study")     # or "s3://bucket/runs/quickstart/study"
    folder.trial(3).epoch_log                            # its path
    StudyFolder.results                                  # the name alone: "results.parquet"

A folder's object holds its path and nothing else; the files are read and written with
:mod:`taskct_core.contracts.files` and by whoever knows their format.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self, overload

from taskct_core.contracts.files import open_folder


class Entry:
    """A file or subfolder of fixed name: of a folder's object its path, of the class its name."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, folder: None, owner: type[Folder]) -> str: ...
    @overload
    def __get__(self, folder: Folder, owner: type[Folder]) -> Path: ...
    def __get__(self, folder: Folder | None, owner: type[Folder]) -> str | Path:
        return self._name if folder is None else folder.path / self._name


@dataclass(frozen=True)
class Folder:
    """A folder on this machine, or a remote one; see :mod:`taskct_core.contracts.files`."""

    path: Path

    lock = Entry("driver.lock")  # who makes what is in the folder just now; see study.search.lock

    @classmethod
    def at(cls, location: str | Path | Folder) -> Self:
        """The folder at a path or URL, there or not.

        Raises:
            ConfigError: if the URL's protocol is unknown or its package is not installed.
        """
        return cls(location.path if isinstance(location, Folder) else open_folder(location))

    def resolved(self) -> Self:
        """The same folder by its absolute path, which holds in other processes."""
        return type(self)(self.path.resolve())

    def __str__(self) -> str:
        return str(self.path)


class ReconstructorFolder(Folder):
    """A reconstructor that can be used alone; a trial's folder is one, and so is a finished study's."""

    card = Entry("reconstructor.json")  # ReconstructorCard
    weights = Entry("reconstructor.safetensors")


class StudyFolder(Folder):
    """``taskct study run`` writes it, whatever looks at a study reads it.

    >>> StudyFolder.at("/runs/whole/study").trial(3).epoch_log.as_posix()
    '/runs/whole/study/trials/0003/metrics.jsonl'
    """

    card = Entry("study.json")  # StudyCard
    results = Entry("results.parquet")  # one flat row a trial, epoch and split
    samples = Entry("samples.parquet")  # one row a trial, split and slice, at the epoch that the trial keeps
    references = Entry("references.json")  # one row a reference and split
    reference_samples = Entry("references-samples.parquet")
    reference_progress = Entry("references-progress.json")  # how far they are, until they are whole
    evaluations = Entry(
        "evaluations.parquet"
    )  # of `taskct evaluate`: one row a method, split, data and judges
    evaluation_samples = Entry("evaluation-samples.parquet")
    # Curves over spatial frequency (taskct_core.image_quality), one row a method, split, curve and frequency: of trials
    # and references that measured them, and of `taskct evaluate`.
    image_quality = Entry("image-quality.parquet")
    reference_image_quality = Entry("references-image-quality.parquet")
    evaluation_image_quality = Entry("evaluation-image-quality.parquet")
    report = Entry("report.html")

    panels = Entry("panels")  # the slices that reports show
    panel_slices = Entry("panels/slices.json")  # list of {patient, slice_index, split}: which they are
    panel_truth = Entry("panels/truth.npz")  # label

    trials = Entry("trials")
    storage = Entry("storage.json")  # which Optuna study it is, and where
    journal = Entry("journal.log")  # Optuna's, where no database is named
    warm_start = Entry("warm-start.json")  # another study's trials that inform the sampler
    control = Entry("control.json")  # what commands changed of the study; see study.search.control
    tune_scratch = Entry(".tune")  # Ray Tune's notes of the current run, which nothing reads afterwards

    def trial(self, number: int) -> TrialFolder:
        """``trials/0003``."""
        return TrialFolder(self.trials / f"{number:04d}")

    def trials_on_disk(self) -> list[int]:
        """Numbers of the trials that left anything, in ascending order."""
        found = (
            [path for path in self.trials.iterdir() if path.name.isdecimal()] if self.trials.is_dir() else []
        )
        return sorted(int(path.name) for path in found if path.is_dir() and any(path.iterdir()))

    def panel(self, trial_or_method: int | str) -> Path:
        """What a trial or a reference makes of the slices shown: image, prediction."""
        name = f"trial-{trial_or_method:04d}" if isinstance(trial_or_method, int) else trial_or_method
        return self.panels / f"{name}.npz"

    def front_panel(self, trial: int) -> Path:
        """What a front trial makes of them at each of its alphas: alpha, image, prediction."""
        return self.panels / f"trial-{trial:04d}-front.npz"


class TrialFolder(Folder):
    """One trial's; ``study.trials`` writes it."""

    config = Entry("config.yaml")  # TrialConfig
    epoch_log = Entry("metrics.jsonl")  # one row an epoch, on the validation split
    checkpoint = Entry("checkpoint.pt")  # all that is needed to go on after the last finished epoch
    final = Entry("final.json")  # rows of the finished trial: validation and, where there is one, test split
    samples = Entry("samples.parquet")  # one row a slice of those splits
    image_quality = Entry("image-quality.parquet")  # curves over spatial frequency on the last split scored
    panel = Entry("panel.npz")  # reconstruction and prediction of the slices that reports show
    front_panel = Entry("front.npz")  # of a front trial, for each of its alphas
    ray_train = Entry("ray_train")  # Ray Train's own
    runs = Entry("runs")  # of a trial that is repeated: a folder like this one for each run

    def run(self, name: str) -> TrialFolder:
        """``runs/fold-0-seed-1``."""
        return TrialFolder(self.runs / name)


class DatasetFolder(Folder):
    """``taskct simulate`` writes it: ``dataset.json`` last, so that a folder without it is unfinished."""

    card = Entry("dataset.json")  # DatasetCard, which lists the shards


class TaskNetworkFolder(Folder):
    """``taskct pretrain`` writes it: ``card.json`` last."""

    card = Entry("card.json")  # TaskNetworkCard
    weights = Entry("weights.safetensors")
    script = Entry("network.torchscript.pt")  # only of a network that was imported as TorchScript
