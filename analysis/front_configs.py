"""Runnable configurations: the study's experiment with one trial's values, as YAML for ``taskct train``."""

from __future__ import annotations

import yaml

from analysis.results_table import ResultsTable
from taskct_core.contracts.files import is_remote
from taskct_core.contracts.folders import DatasetFolder, TaskNetworkFolder
from taskct_core.contracts.yaml_loader import read_yaml
from taskct_core.errors import DataError


def runnable_config(table: ResultsTable, trial: int) -> str | None:
    """The YAML that trains a trial again on the study's data, None where its configuration is not stored, or damaged.

    It goes to a folder of its own, ``<output>/<study>-trial-0003``, and takes dataset and task network
    from where the study's experiment keeps them: by absolute paths, so that it runs from any folder, unless paths are
    hidden.
    """
    stored = table.folder.trial(trial).config
    if trial < 0 or not stored.is_file():
        return None
    try:
        values = read_yaml(stored, "Restore it from a copy.")
    except DataError:
        return None
    if not isinstance(values, dict):
        return None
    experiment = dict(table.study.config)
    name, output = experiment.get("name") or table.name, experiment.get("output")
    if output is not None:
        experiment["dataset"] = experiment.get("dataset") or f"{output}/{name}/data"
        experiment["pretrained"] = experiment.get("pretrained") or f"{output}/{name}/task_network"
    if table.hide is None:
        experiment |= _absolute_paths(table)
    experiment |= {"name": f"{name}-trial-{trial:04d}", "trial": values}
    experiment.pop("trust", None)  # whoever runs it decides that anew
    heading = f"# Trial {trial} of study {name}. Run: taskct train trial-{trial:04d}.yaml\n"
    if table.hide is not None:
        experiment = table.hide(experiment)
        heading += (
            "# Absolute paths are shortened to their last part: put them back, or run it where they begin.\n"
        )
    return heading + yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True)


def _absolute_paths(table: ResultsTable) -> dict[str, str]:
    """Where the experiment's folders are: beside the study, else where they were when it ran."""
    place = table.folder.path.absolute()
    found: dict[str, str] = {}
    if is_remote(place) or place.parent == place:
        return found
    recorded = table.study.folders
    for key, folder, card in (
        ("dataset", place.parent / "data", DatasetFolder.card),
        ("pretrained", place.parent / "task_network", TaskNetworkFolder.card),
    ):
        known = recorded.get("task_network" if key == "pretrained" else key)
        if (folder / card).is_file():
            found[key] = str(folder)
        elif known is not None:
            found[key] = known
    if found:
        found["output"] = str(place.parent.parent)
    return found
