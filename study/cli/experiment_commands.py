"""Commands that run the stages of one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from study.cli.options import ConfigArgument, SetOption, TrustOption, say_loading

if TYPE_CHECKING:
    from study.config import ExperimentConfig

QUICKSTART_CONFIG = Path(__file__).parent.parent / "quickstart.yaml"


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the experiment; the file is NAME.yaml.")],
    template: Annotated[
        str,
        typer.Option(
            help="experiment (every section with comments), lits, lodopab, phantom_small, seed_table, quickstart."
        ),
    ] = "experiment",
) -> None:
    """Write NAME.yaml in this folder: an experiment's configuration, ready to be changed and run."""
    from study.cli.templates import write_template

    path = write_template(name, template, Path())
    typer.echo(f"Wrote {path}. Next: change it, then taskct run {path}")


def quickstart(
    output: Annotated[
        str, typer.Option(metavar="DIR", help="Where the experiment's folder is made; a path or URL.")
    ] = "runs",
    overrides: SetOption = None,
) -> None:
    """Run the whole experiment on built-in phantoms: a report in a few minutes on two cores.

    Every stage is the real one: random abdominal phantoms are projected with the LoDoPaB-CT dose model,
    Ray Data writes and reads Parquet shards, a liver and tumour segmentation network is trained and frozen,
    Ray Train trains reconstructors, Ray Tune with Optuna searches alpha and the losses.

    Run it again and it continues, or says where the report is.
    """
    experiment = _load(QUICKSTART_CONFIG, [*(overrides or []), f"output={output}"])
    from study.cli import stages

    stages.run_all(experiment)


def run(config: ConfigArgument, overrides: SetOption = None, trust: TrustOption = False) -> None:
    """Run all stages of an experiment: simulate, pretrain, study, report.

    Stages that are done are not repeated, and an interrupted one continues.
    """
    experiment = _load(config, overrides, trust)
    from study.cli import stages

    stages.run_all(experiment)


def simulate(
    config: ConfigArgument,
    changed_source: Annotated[
        Literal["keep", "anew"] | None,
        typer.Option(
            help="If the source is not what the dataset was made from: keep the dataset, also in later runs, or "
            "make it anew where it differs. Default: say what has changed, and stop."
        ),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Make low-dose samples from CT volumes: OUTPUT/NAME/data with Parquet shards and dataset.json.

    Volumes come from NIfTI files of any layout, LiTS's among them, DICOM series, or the built-in phantom
    (`data.source.kind: lits | nifti | dicom | phantom`); look at them with `taskct inspect` first.
    The split is made by patient. The result depends on the configuration and its seed alone, not on the number of
    cores.

    Run it again to check the dataset: what is missing or damaged is made again, what is whole is kept.
    """
    experiment = _load(config, overrides)
    from study.cli import stages

    stages.simulate_dataset(experiment, changed_source)


def pretrain(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Train the task network on full-dose slices: OUTPUT/NAME/task_network, frozen from then on.

    It learns on the dataset's training patients, stops early on its validation patients, and is stored as
    safetensors with a card of its architecture, window, scores and hashes.
    """
    experiment = _load(config, overrides)
    from study.cli import stages

    stages.pretrain_task_network(experiment)


def train(config: ConfigArgument, overrides: SetOption = None, trust: TrustOption = False) -> None:
    """Train one configuration (the YAML's `trial` section): OUTPUT/NAME/trial.

    For a first look, or to train again what a study found, e.g. `--set trial.alpha=0.9`.
    """
    experiment = _load(config, overrides, trust)
    from study.cli import stages

    stages.train_one(experiment)


def _load(config: Path, overrides: list[str] | None, trust: bool = False) -> ExperimentConfig:
    say_loading()
    from study.config import load_experiment

    return load_experiment(config, overrides, trust=trust)
