"""``taskct study ...``: searching, and looking at how a search stands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import ConfigArgument, SetOption, TrustOption, say_loading
from taskct_core.contracts.files import open_folder
from taskct_core.errors import ConfigError

app = typer.Typer(
    help="Search alpha, losses and architectures: run, submit, status, set, pause, resume, retry, rebuild.",
    no_args_is_help=True,
)

StudyFolder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        parser=open_folder,
        help="The study's folder, OUTPUT/NAME/study (or OUTPUT/NAME); a path or URL.",
    ),
]


@app.command()
def run(
    config: ConfigArgument,
    overrides: SetOption = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Stop after so long (study.timeout); the same command continues."
        ),
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Run the experiment's search, or continue it: OUTPUT/NAME/study.

    Kill it whenever you like: the same command continues it, finished trials are kept, and half-finished ones
    go on after their last epoch. A larger `study.trials` extends a finished study. What must not change within
    a study (data, task network, search space, objectives) is refused with the difference shown.
    """
    say_loading()
    from study.config import load_experiment

    limits = [] if timeout is None else [f"study.timeout={timeout}"]
    experiment = load_experiment(config, [*(overrides or []), *limits], trust=trust)
    from study.cli import stages  # takes seconds, which a mistake in the configuration need not wait for

    folder = stages.run_search(experiment)
    typer.echo(f"Next: taskct report {folder}")


@app.command()
def submit(
    config: ConfigArgument,
    address: Annotated[
        str,
        typer.Option(
            envvar="RAY_API_SERVER_ADDRESS", help="Of the cluster's dashboard, e.g. http://127.0.0.1:8265."
        ),
    ] = "http://127.0.0.1:8265",
    working_dir: Annotated[
        Path | None,
        typer.Option(help="Folder that travels along, such as one with plug-ins; holds CONFIG."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Show the job's output until it ends.")] = True,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Submit to Slurm instead; sbatch gets the options after `--`.")
    ] = False,
    sbatch_options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- SBATCH_OPTIONS]", help="With --slurm: --nodes=2 --time=4:00:00 ..."),
    ] = None,
    overrides: SetOption = None,
    trust: TrustOption = False,
) -> None:
    """Run the whole experiment as a job of a running Ray cluster, or of Slurm (docs/cluster.md).

    As `ray job submit` does, with `taskct run CONFIG` on the cluster's side. Ctrl-C leaves the job running.
    A Slurm job starts Ray on its nodes, stops in order before its time limit, and submits itself again.
    Submitted again, the experiment continues where it stopped.
    """
    from study.cli import submitting

    settings = [*(overrides or []), *(["trust=true"] if trust else [])]
    if slurm:
        submitting.submit_to_slurm(config, settings, sbatch_options or [])
        return
    if sbatch_options:
        raise ConfigError("options after `--` are sbatch's", " ".join(sbatch_options), "Add --slurm.")
    submitting.submit_experiment(config, settings, address, working_dir, wait)


@app.command()
def status(folder: StudyFolder) -> None:
    """Show how a study stands: trials by state, the front so far, whether a driver is alive.

    Works from another shell while the study runs, and for one whose driver is dead.
    """
    from study.cli import study_actions

    study_actions.show_status(study_actions.find_study(folder))


@app.command()
def retry(folder: StudyFolder) -> None:
    """Queue a study's failed trials again; the next `taskct study run` runs them."""
    from study.cli import study_actions

    study_actions.retry_failed_trials(study_actions.find_study(folder))


Trials = Annotated[list[int], typer.Argument(metavar="N...", help="Numbers of the trials.")]


@app.command("set")
def set_(
    folder: StudyFolder,
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY=VALUE...",
            help="concurrent=3, pruner=asha, pruner.grace_epochs=2; null: as configured.",
        ),
    ],
) -> None:
    """Change how many trials run at a time, or the pruner, of a study that runs or will run again.

    A running driver follows within seconds: trials beyond a lower number end first, and a new pruner judges from the
    epochs that all trials have reported.
    """
    from study.cli import study_actions

    study_actions.change_study(study_actions.find_study(folder), settings)


@app.command()
def pause(folder: StudyFolder, trials: Trials) -> None:
    """Stop trials after the epoch that they train; they keep their checkpoints and free their places."""
    from study.cli import study_actions

    study_actions.pause_trials(study_actions.find_study(folder), trials)


@app.command()
def resume(folder: StudyFolder, trials: Trials) -> None:
    """Let paused trials go on exactly where they stopped."""
    from study.cli import study_actions

    study_actions.resume_trials(study_actions.find_study(folder), trials)


@app.command()
def rebuild(folder: StudyFolder, trust: TrustOption = False) -> None:
    """Make a study's lost storage (journal.log, its database) again from its trials' folders.

    Finished trials are judged by their epoch logs as before. All others are continued by the next
    `taskct study run`: why they were pruned or failed is lost with the storage.
    """
    from study.cli import study_actions

    study_actions.rebuild_storage(study_actions.find_study(folder), trust)
