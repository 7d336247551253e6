"""``taskct shards ...``: a dataset for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taskct_core.contracts.files import check_writable, open_folder

app = typer.Typer(help="A dataset's shards for other programs: export.", no_args_is_help=True)


@app.command()
def export(
    dataset: Annotated[
        Path,
        typer.Argument(metavar="DATASET", parser=open_folder, help="OUTPUT/NAME/data; a path or URL."),
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="Folder to write into; made if needed.")],
) -> None:
    """Write plain Parquet, images as lists of rows, for readers that know no tensor columns.

    Hugging Face's reads it: load_dataset("parquet", data_files={"train": "OUTPUT/train/*.parquet"}).
    """
    check_writable(output.absolute())
    from study.data.dataset import load_card
    from study.data.shard_export import export_shards
    from study.monitor.progress import console, progress

    card = load_card(dataset)
    with progress("Exporting shards", sum(map(len, card.shards.values()))) as advance:
        for path in export_shards(card, dataset, output):
            advance(1, path.name)
    console.print(f"Shards: {output}", markup=False)


@app.callback()
def _commands() -> None:
    """Keeps ``export`` a command of its own while it is the only one."""
