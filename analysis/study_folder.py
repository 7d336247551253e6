"""Reads the files of a study folder, local or at any fsspec URL. Reads only; writes nothing.

Reads (all contracts in ``taskct_core.schema``): ``results.parquet``, ``samples.parquet``,
``evaluations.parquet``, ``study.json``, ``panels/`` and ``trials/<number>/config.yaml``. Only ``results.parquet`` must exist.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taskct_core.errors import DataError
from taskct_core.schema import RESULTS_FILE, RESULTS_FORMAT_VERSION, TRIALS_FOLDER

FORMAT_KEY = b"taskct_format"


class StudyFolder:
    """The files of one study; every read that fails names the file and what to do."""

    def __init__(self, location: str | Path) -> None:
        text = str(location)
        if text.endswith(RESULTS_FILE):
            text = text.removesuffix(RESULTS_FILE).rstrip("/") or "."
        self.location = text
        self.files, self.root = _open(text)
        if not self.has(RESULTS_FILE):
            raise DataError(
                f"a study folder must hold {RESULTS_FILE}",
                f"{text}" + ("" if self.files.exists(self.root) else " (no such folder)"),
                "Name the folder `taskct study run` wrote; the file appears with its first evaluated epoch.",
            )

    @property
    def local_path(self) -> Path | None:
        """The folder on this machine, None where it lies elsewhere."""
        return Path(self.root) if "file" in _protocols(self.files) else None

    def has(self, name: str) -> bool:
        return bool(self.files.exists(self._path(name)))

    def names(self, folder: str) -> list[str]:
        """The file names in a subfolder, sorted; empty where there is no such subfolder."""
        if not self.has(folder):
            return []
        return sorted(path.rsplit("/", 1)[-1] for path in self.files.ls(self._path(folder), detail=False))

    def open(self, name: str) -> IO[bytes]:
        return self.files.open(self._path(name), "rb")

    def table(self, name: str, *, any_format: bool = False) -> pd.DataFrame:
        """Read a Parquet table of this schema version, or of any.

        Raises:
            DataError: if the file is no Parquet or was written with another schema version.
        """
        try:
            with self.open(name) as stream:
                table = pq.read_table(stream)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"{name} must be a readable Parquet file",
                f"{self._path(name)}: {error}",
                "If the study is writing it now, try again; otherwise export the results again.",
            ) from None
        if not any_format:
            _check_format(name, (table.schema.metadata or {}).get(FORMAT_KEY))
        return table.to_pandas()

    def json(self, name: str) -> Any:
        with self.open(name) as stream:
            try:
                return json.load(stream)
            except ValueError as error:
                raise DataError(
                    f"{name} must be valid JSON", f"{self._path(name)}: {error}", "Export the study again."
                ) from None

    def arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read an ``.npz`` file; objects in it are refused, for they could run code."""
        with self.open(name) as stream:
            try:
                with np.load(stream, allow_pickle=False) as file:
                    return {key: file[key] for key in file.files}
            except (ValueError, OSError, EOFError, KeyError) as error:
                raise DataError(
                    f"{name} must be a readable NumPy archive",
                    f"{self._path(name)}: {error}",
                    "Export it again.",
                ) from None

    def trial_config(self, trial: int) -> str | None:
        """A trial's own values as YAML, None where the folder does not hold them."""
        name = f"{TRIALS_FOLDER}/{trial:04d}/config.yaml"
        if trial < 0 or not self.has(name):
            return None
        with self.open(name) as stream:
            return stream.read().decode("utf-8", errors="replace")

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"


def _open(location: str) -> tuple[Any, str]:
    # Listings that fsspec remembers would hide what a running study has written since.
    files, root = fsspec.core.url_to_fs(location, use_listings_cache=False)
    return files, root


def require_folder(location: str | Path) -> None:
    """Raise DataError unless the folder exists, with or without results in it."""
    files, root = _open(str(location))
    if not files.isdir(root):
        raise DataError("a study folder must exist", f"{location} (no such folder)", "Check the path.")


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _check_format(name: str, version: bytes | None) -> None:
    if version == str(RESULTS_FORMAT_VERSION).encode():
        return
    found = "no version at all" if version is None else f"version {version.decode(errors='replace')}"
    raise DataError(
        f"{name} must have results format version {RESULTS_FORMAT_VERSION}",
        found,
        "Export the study again with this version of taskct (re-run `taskct study run`, which continues it), "
        "or read it with the version that wrote it.",
    )
