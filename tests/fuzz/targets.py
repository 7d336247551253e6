"""What is fuzzed: every kind of file that taskct reads, each read as a command reads it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import samples
from harness import Target
from mutations import Kind, Mutated

import analysis
from analysis.panels import read_panel, read_slices
from study.config import ExperimentConfig, load_experiment, recorded
from study.data.batches import Share
from study.data.dataset import find_damages, load_card
from study.data.feed import TableFeed
from study.data.shards import from_table, is_whole_shard, read_batches, read_shard
from study.experiment.preflight import check_space
from study.experiment.rebuild import rebuild_study
from study.monitor.status import study_status
from study.results import export_results
from study.search.conductor import Conductor
from study.search.config import StudyConfig
from study.search.control import read_control
from study.search.judgement import Judge
from study.search.lock import read_driver
from study.search.space import SearchSpace
from study.search.storage.opening import create_study, open_study
from study.search.storage.records import read_records
from study.search.storage.warm_start import warm_start
from study.search.trial_state import Rules
from study.trials import epoch_log
from study.trials.trial_config import read_trial_config
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import TaskctError
from taskct_core.registry import BUILT_IN_ONLY
from taskct_core.task_networks import load_task_network
from taskct_core.volumes import list_patients, read_volume


def make_targets(room: Path) -> list[Target]:
    """All targets, their files made below ``room``."""
    dataset = samples.dataset(room / "dataset")
    searched = samples.searched(room / "searched")
    reported = samples.reported(room / "reported")
    trial = {name: content for name, content in searched.items() if name.startswith("trials/0000/")}
    return [
        *(
            Target(name, {"e.yaml": content}, {"e.yaml": "yaml"}, _read_experiment, _put_stands)
            for name, content in samples.experiments().items()
        ),
        Target("search space", {"e.yaml": samples.SPACE}, {"e.yaml": "yaml"}, _read_space),
        Target("dataset.json", dataset, {"dataset.json": "json"}, _read_dataset),
        Target("shard", dataset, _kinds(dataset, "train/"), _read_shards, _equal_columns),
        Target("journal", searched, {"journal.log": "lines"}, _read_storage, _equal_if_harmless),
        Target("storage.json", searched, {"storage.json": "json", "study.json": "json"}, _read_storage),
        Target("rebuilt study", searched, {"study.json": "json"} | _kinds(trial), _rebuild),
        Target("epoch log", trial, {"trials/0000/metrics.jsonl": "lines"}, _read_log, _equal_if_harmless),
        Target("trial folder", searched, _kinds(trial), _export, _others_equal),
        Target("references", searched, _kinds(searched, "references"), _export, _others_equal),
        Target("control.json", {"control.json": _CONTROL}, {"control.json": "json"}, read_control),
        Target("warm-start.json", {"warm-start.json": _PAST}, {"warm-start.json": "json"}, _read_past),
        Target("driver.lock", {"driver.lock": _LOCK}, {"driver.lock": "json"}, read_driver),
        Target("result tables", reported, _kinds(reported, "results", "samples"), _summarise, _equal_tables),
        Target("study.json", reported, {"study.json": "json"}, _summarise),
        Target("panels", reported, _kinds(reported, "panels/"), _read_panels),
        _network(samples.task_network(room / "network")),
        *(_volumes(kind, samples.volumes(room / kind, kind)) for kind in ("nii", "nii.gz", "dicom")),
    ]


_LOCK = b'{"host": "a", "pid": 1, "token": "t", "since": 1.0, "heartbeat": 2.0, "boot": "b", "started": 3.0}'
_CONTROL = b'{"concurrent": 2, "pruner": {"name": "asha", "grace_epochs": 2}, "paused": [1, 3]}'
_PAST = b'{"known": [{"parameters": {"alpha": 0.5}, "values": [0.8, 30.0], "constraints": {}}], "dropped": 1}'
_KINDS: dict[str, Kind] = {".yaml": "yaml", ".json": "json", ".jsonl": "lines", ".log": "lines"}


def _kinds(files: dict[str, bytes], *starts: str) -> dict[str, Kind]:
    """Those of the files that are mutated, by how their names start, and of what kind each is."""
    return {name: _KINDS.get(Path(name).suffix, "binary") for name in files if name.startswith(starts or "")}


def _equal_if_harmless(found: Any, whole: Any, mutated: Mutated) -> str | None:
    return "another result" if mutated.is_harmless and found != whole else None


# --- configurations -------------------------------------------------------------------------------


def _read_experiment(folder: Path) -> dict[str, Any]:
    experiment = load_experiment(folder / "e.yaml")
    check_space(experiment)
    values = recorded(experiment)
    assert recorded(ExperimentConfig.parse(values)) == values
    return values


def _put_stands(found: dict[str, Any], whole: Any, mutated: Mutated) -> str | None:
    """A value that was accepted must be what stands in the file, not what it was taken for."""
    if mutated.put is None:
        return None
    path, put = mutated.put
    value: Any = found
    for key in path:
        if not isinstance(value, dict | list):
            return None
        value = value.get(key) if isinstance(value, dict) else value[key] if key < len(value) else None
    if isinstance(put, bool) != isinstance(value, bool) or (
        isinstance(put, int | float) and isinstance(value, int | float) and not math.isclose(put, value)
    ):
        return f"{put!r} was taken for {value!r}"
    return None


def _read_space(folder: Path) -> list[dict[str, Any]]:
    experiment = load_experiment(folder / "e.yaml")
    space = check_space(experiment)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [space.suggest(study.ask()) for _ in range(3)]
    for values in drawn:
        again = space.values_of(space.parameters_of(values))
        for name, value in values.items():
            same = math.isclose(value, again[name]) if isinstance(value, float) else value == again[name]
            assert same, f"{name}: {value!r} -> {again[name]!r}"
    return drawn


def _read_past(folder: Path) -> object:
    space = {"alpha": {"kind": "uniform", "low": 0.0, "high": 1.0}}
    config = StudyConfig.parse({"warm_start": str(folder / "other"), "space": space})
    return warm_start(folder, config, SearchSpace.parse(space), {}).trials(SearchSpace.parse(space))


# --- datasets -------------------------------------------------------------------------------------


def _read_dataset(folder: Path) -> object:
    card = load_card(folder)
    text, size = card.scanner_text, card.size_bytes
    return find_damages(folder, card), text, size, card.scan(BUILT_IN_ONLY)


def _read_shards(folder: Path) -> dict[str, Any]:
    path = folder / "train" / "p-train-00000.parquet"
    table = read_shard(path)
    feed = TableFeed([table])
    batches = list(feed.ordered(2, share=Share()))
    assert sum(len(batch["patient"]) for batch in batches) == table.num_rows
    assert is_whole_shard(path, "simulation") <= bool(list(read_batches(path, 2)))
    return from_table(table)


def _equal_columns(found: dict[str, Any], whole: dict[str, Any], mutated: Mutated) -> str | None:
    """Pages have checksums: a column of the same name is the same."""
    changed = [name for name in found.keys() & whole.keys() if not np.array_equal(found[name], whole[name])]
    return f"other values of {', '.join(changed)}" if changed else None


# --- searches -------------------------------------------------------------------------------------


def _read_storage(folder: Path) -> list[Any]:
    """As `study status`, then as a driver, then as `status` again."""
    with suppress(TaskctError):
        study_status(folder)
    study = create_study(folder, None, ["maximize", "maximize"])
    config = StudyConfig()
    rules = Rules(Judge(config.objectives, config.constraints), trials=3)
    conductor = Conductor(study, StudyFolder(folder), _space_of(folder), rules)
    conductor.remaining()
    study_status(folder)
    return [asdict(record) for record in read_records(open_study(folder))]


def _space_of(folder: Path) -> SearchSpace:
    return SearchSpace.parse({"alpha": {"kind": "uniform", "low": 0, "high": 1}})


def _rebuild(folder: Path) -> object:
    for name in (StudyFolder.journal, StudyFolder.storage):
        (folder / name).unlink(missing_ok=True)
    return rebuild_study(folder)


def _read_log(folder: Path) -> object:
    rows = epoch_log.read(folder / "trials" / "0000")
    config = StudyConfig()
    if rows:
        epoch_log.kept_row(rows)
    outcome = Judge(config.objectives, config.constraints).outcome(rows, pruned=None, error=None)
    return rows, asdict(outcome)


def _export(folder: Path) -> Any:
    """The rows of every trial and reference, and the slices'."""
    told: list[TaskctError] = []
    records = read_records(open_study(folder))
    results = export_results(folder, "fuzzed", records, told.append)
    for number in range(3):
        try:
            read_trial_config(StudyFolder(folder).trial(number))
        except TaskctError as error:
            told.append(error)
    slices = _table(StudyFolder(folder).samples)
    if told and not all(error.next_step for error in told):
        raise AssertionError("an error that says nothing")
    return results, slices


def _table(path: Path) -> Any:
    from taskct_core.contracts.tables import read_table

    return read_table(path).to_pandas() if path.is_file() else None


def _others_equal(found: Any, whole: Any, mutated: Mutated) -> str | None:
    """What another trial's damage left of the trials that have none."""
    for (name, table), before in zip((("results", found[0]), ("slices", found[1])), whole, strict=True):
        if table is None:
            continue
        columns = [
            S.TRIAL,
            S.METHOD,
            S.SPLIT,
            S.EPOCH if name == "results" else S.SLICE_INDEX,
            S.PRIMARY_PSNR,
        ]
        now, then = (
            frame.reindex(columns=columns)[frame[S.TRIAL].isin([1, 2])].reset_index(drop=True)
            for frame in (table, before)
        )
        if not now.map(_shown).equals(then.map(_shown)):
            return f"other {name} of other trials"
    return None


def _shown(value: Any) -> str:
    """A number as the same text, whatever a column's type is."""
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


# --- reports --------------------------------------------------------------------------------------


def _summarise(folder: Path) -> Any:
    table = analysis.load(folder)
    analysis.summarise(table)
    analysis.trials_table(table)
    return table


def _equal_tables(found: Any, whole: Any, mutated: Mutated) -> str | None:
    """Pages have checksums: a column of the same name is the same."""
    for name in ("rows", "samples"):
        now, then = getattr(found, name), getattr(whole, name)
        shared = [column for column in then if column in now]
        if not now[shared].equals(then[shared]):
            return f"other {name}"
    return None


def _read_panels(folder: Path) -> object:
    table = analysis.load(folder)
    try:
        slices = read_slices(table)
        return [read_panel(table, key, slices) for key in ("full_dose", "fbp", "trial-0000")]
    except analysis.Unavailable as error:
        return str(error)


# --- networks and volumes -------------------------------------------------------------------------


def _network(files: dict[str, bytes]) -> Target:
    def read(folder: Path) -> str:
        network, _ = load_task_network(folder)
        return network.weights_hash()

    def problem(found: str, whole: str, mutated: Mutated) -> str | None:
        return None if found == whole else "other weights"

    return Target("task network", files, _kinds(files), read, problem)


def _volumes(kind: str, files: dict[str, bytes]) -> Target:
    def read(folder: Path) -> list[Any]:
        layout = "dicom" if kind == "dicom" else "lits"
        found = [read_volume(reference) for reference in list_patients(layout, folder)]
        for volume in found:
            assert np.isfinite(volume.hu).all() and volume.labels.max() <= 2
        return found

    return Target(kind, files, _kinds(files), read)
