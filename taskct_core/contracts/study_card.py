"""``study.json``: what a study is, for whoever reads its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from taskct_core.contracts.files import read_json, write_json
from taskct_core.errors import DataError, first_line
from taskct_core.redaction import all_redacted
from taskct_core.schema import Direction


class StudyCard(BaseModel):
    """``study.json``; files of older versions lack some of it.

    Attributes:
        name: of the study.
        objectives: columns that the search optimises.
        directions: objective -> which way is better.
        config: the experiment as its YAML file has it, with defaults.
        dataset: ``dataset.json`` without its list of shards.
        task_network: ``card.json`` of the frozen task network.
        folders: where ``dataset`` and ``task_network`` lie.
        provenance: versions and commit that the study was started with.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = ""
    objectives: list[str] = []
    directions: dict[str, Direction] = {}
    config: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    task_network: dict[str, Any] = {}
    folders: dict[str, str] = {}
    provenance: dict[str, Any] = {}

    @classmethod
    def read(cls, path: Path) -> StudyCard:
        """Read a ``study.json``.

        Raises:
            DataError: if it is no JSON object of this form.
        """
        values = read_json(path, "Export the study again.")
        if isinstance(values, dict):  # null stands for what was not known
            values = {name: value for name, value in values.items() if value is not None}
        try:
            return cls.model_validate(all_redacted(values))
        except ValidationError as error:
            received = type(values).__name__ if not isinstance(values, dict) else f"{path}: {_problem(error)}"
            raise DataError(f"{path.name} must hold an object", received, "Export the study again.") from None

    def write(self, path: Path) -> None:
        """Write it whole, without the passwords of URLs."""
        write_json(path, all_redacted(self.model_dump(mode="json")))

    @property
    def planned_trials(self) -> int | None:
        """How many trials the study shall have; None where not recorded."""
        planned = (self.config.get("study") or {}).get("trials")
        return None if planned is None else int(planned)

    @property
    def repeats_trials(self) -> bool:
        """Whether a trial is run on several folds or seeds, and reports after each run; False where not recorded."""
        repeats = (self.config.get("study") or {}).get("repeats") or {}
        return repeats.get("folds") is not None or (repeats.get("seeds") or 1) > 1

    @property
    def photons_per_ray(self) -> float | None:
        """That the data were simulated with; None where not recorded as one number."""
        records = (self.dataset.get("dose"), self.dataset.get("simulation"), self.config.get("simulation"))
        for record in records:
            photons = (record or {}).get("photons_per_ray")
            if isinstance(photons, int | float):
                return float(photons)
        return None


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else first_line(error)
