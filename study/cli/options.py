"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="The experiment's YAML file; `taskct init NAME` writes one."),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Import plug-ins that only a folder's files name (a task network's card, a trial's configuration): "
        "they run code of whoever made the folder.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key of the YAML, e.g. `--set simulation.photons_per_ray=1024`. May be repeated.",
    ),
]


def say_loading() -> None:
    """Put something on the screen at once: what a command imports takes seconds."""
    print("Loading ...", flush=True)
