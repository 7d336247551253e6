"""``taskct shards ...``: a dataset for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from taskct_core.contracts.files import check_writable, open_folder

app = typer.Typer(help="A dataset's shards for other programs: export, scan.", no_args_is_help=True)


DatasetArgument = Annotated[
    Path, typer.Argument(metavar="DATASET", parser=open_folder, help="OUTPUT/NAME/data; a path or URL.")
]


@app.command()
def export(
    dataset: DatasetArgument,
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


@app.command()
def scan(
    dataset: DatasetArgument,
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="A .nii or .nii.gz file, not there yet.")],
    patient: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of dataset.json. Default: the first of the test split."),
    ] = None,
) -> None:
    """Write a simulated patient's low-dose images as a scan in HU: one to try `taskct reconstruct` on.

    The slices are written 5 mm apart, since a dataset does not keep how far apart they were.
    """
    from study.data.dataset import load_card
    from study.data.scan_export import export_scan
    from study.monitor.progress import console

    name = export_scan(load_card(dataset), dataset, output, patient)
    console.print(f"Scan of {name}: {output}", markup=False)
