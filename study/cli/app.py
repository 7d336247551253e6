"""The ``taskct`` program: its commands, and how errors reach the user."""

from __future__ import annotations

import errno
import importlib.metadata
import io
import sys
from typing import Annotated

import typer
from rich.console import Console

from study.cli import (
    experiment_commands,
    inspect_command,
    reconstruct_command,
    report_commands,
    shard_commands,
    study_commands,
)
from taskct_core.errors import ResourceError, TaskctError

_BAD_INPUT = 2
_STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)

app = typer.Typer(
    name="taskct",
    help="Study how much segmentation quality (Dice) a low-dose CT reconstruction gains, and how much PSNR and "
    "SSIM it gives up, when a frozen task network's loss joins its training.\n\n"
    "New here? Run `taskct quickstart`: it makes phantoms, simulates low-dose scans, pre-trains the task "
    "network, searches over alpha and writes a report, in a few minutes on two cores.\n\n"
    "With your own data, one YAML file describes one experiment (`taskct init NAME` writes one), and its "
    "stages are run one by one, each continuing where it was interrupted: simulate, pretrain, study run, report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"taskct {importlib.metadata.version('taskct')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("quickstart")(experiment_commands.quickstart)
app.command("init")(experiment_commands.init)
app.command("run")(experiment_commands.run)
app.command("inspect")(inspect_command.inspect)
app.command("simulate")(experiment_commands.simulate)
app.command("pretrain")(experiment_commands.pretrain)
app.command("train")(experiment_commands.train)
app.add_typer(study_commands.app, name="study")
app.add_typer(shard_commands.app, name="shards")
app.command("status")(study_commands.status)
app.command("evaluate")(report_commands.evaluate)
app.command("reconstruct")(reconstruct_command.reconstruct)
app.command("export-model")(reconstruct_command.export_model)
app.command("report")(report_commands.report)
app.command("compare")(report_commands.compare)
app.command("export")(report_commands.export)


def run() -> int:
    """Run a command; a ``TaskctError`` becomes a message, never a traceback.

    Returns:
        The exit code. Typer turns Ctrl-C into 130 without a word; :func:`study.cli.main` has that.
    """
    _say_what_can_be_said()
    try:
        app()
    except TaskctError as error:
        _show(error)
        return _BAD_INPUT
    except OSError as error:
        if error.errno not in _STORAGE_ERRORS:
            raise
        _show(
            ResourceError(
                "an output must be writable and have space left",
                f"{error.filename or 'the output'}: {error.strerror}",
                "Free space or name another output, and run the same command again.",
            )
        )
        return _BAD_INPUT
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _say_what_can_be_said() -> None:
    """A character that the output's encoding lacks, such as ``→`` in ASCII, is replaced and ends no run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _show(error: TaskctError) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    console.print(f"Error: {error.rule}{'' if error.rule.endswith('?') else '.'}", style="bold red")
    console.print(f"  received: {error.received}")
    console.print(f"  next: {error.next_step}")
