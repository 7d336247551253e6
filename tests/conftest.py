"""A small real experiment that tests of several packages share: phantoms simulated, a task network trained."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test is timed: a busy machine stands still for longer than any deadline.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_ONE_RAY = "files that share a Ray session"
# What takes the longest, longest first: it begins first, so that no process is alone with it at the end.
_LONGEST = (
    _ONE_RAY,
    "tests/study/test_hosts.py",
    "tests/end_to_end/test_pipeline.py",
    "tests/study/test_submit.py",
    "tests/study/test_slurm.py",
    "tests/study/test_kills.py",
    "tests/end_to_end/test_installed.py",
    "tests/analysis/test_report.py",
    "tests/study/test_damage.py",
    "tests/analysis/test_report_in_browser.py",
    "tests/taskct_core/test_computing.py",
)

_MARK_OF_SLOW = re.compile(r"mark\.(slow|ray|browser|real_ct)\b")

SETTINGS: dict[str, Any] = {
    "name": "small",
    "data": {
        "source": {"kind": "phantom", "patients": 5, "slices_per_patient": 4, "pixels": 64, "seed": 3},
        "split": {"train": 0.6, "validation": 0.2, "test": 0.2},
        "rows_per_shard": 3,
    },
    "simulation": {"preset": "tiny", "num_angles": 32, "photons_per_ray": 2000.0},
    "task_network": {
        "epochs": 2,
        "architecture_parameters": {"width": 4},
        "window_hu": [-20, 200],
    },
    "trial": {"epochs": 2, "architecture_parameters": {"width": 4}, "batch_size": 4},
    "study": {"trials": 2, "space": {"alpha": {"kind": "choice", "values": [0.0, 0.9]}}},
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of ``-m slow`` alone, leave out files that have no such test: to import them all takes half a minute."""
    if config.option.markexpr != "slow" or not collection_path.is_file():
        return None
    return None if _MARK_OF_SLOW.search(collection_path.read_text(encoding="utf-8")) else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves out: whatever starts Ray, browsers, and real CT."""
    for item in items:
        if any(item.get_closest_marker(name) for name in ("ray", "browser", "real_ct")):
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One process runs all files that share a Ray session, which a machine of two CPUs has room for once.

    What takes the longest begins first; the rest goes by the number of its tests, as xdist orders it.
    """
    from xdist.scheduler import LoadFileScheduling

    sharing = {
        str(path.relative_to(config.rootpath))
        for path in Path(__file__).parent.rglob("test_*.py")
        if "local_ray" in path.read_text(encoding="utf-8")
    }

    class OneRay(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return _ONE_RAY if file in sharing else file

        def _assign_work_unit(self, node: Any) -> None:
            """See ``LoadScopeScheduling``, which takes the first of ``workqueue``."""
            first = next((scope for scope in _LONGEST if scope in self.workqueue), None)
            if first is not None:
                self.workqueue.move_to_end(first, last=False)
            super()._assign_work_unit(node)

    return OneRay(config, log)


@dataclass(frozen=True)
class Small:
    """The experiment and its folder, with dataset and task network made."""

    experiment: Any  # study.config.ExperimentConfig
    workspace: Any  # study.experiment.workspace.Workspace
    card: Any  # study.data.dataset.DatasetCard

    def feed(self, split: str, slices: int | None = None) -> Any:
        """A split's feed read straight from its shards, without Ray: of all its slices, or of so many."""
        return _table_feed(self.workspace.dataset, self.card, split, slices)

    def trial_inputs(self, *, shown: bool = False, slices: int | None = None, **changes: Any) -> Any:
        """What its trials share, read without Ray: a ``study.trials.inputs.TrialInputs``.

        Args:
            shown: whether slices are chosen that a report would show.
            slices: how many of each split's, where a trial need not learn much; all of them if not given.
            changes: what differs.
        """
        from study.trials.inputs import TrialInputs
        from study.trials.panels import choose_panel
        from taskct_core.geometry import geometry_from_dict

        feeds = changes.pop("feeds", None) or {split: self.feed(split, slices) for split in self.card.shards}
        settings: dict[str, Any] = {
            "geometry": geometry_from_dict(self.card.geometry),
            "task_network": str(self.workspace.task_network),
            "data_hash": self.card.data_hash,
        }
        if shown:
            settings["panel"] = choose_panel(feeds)
        return TrialInputs(feeds=feeds, **(settings | changes))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Made once a session, in this process: the Ray jobs around these stages have tests of their own."""
    from study.config import ExperimentConfig
    from study.data.dataset import load_card, write_card
    from study.data.patient_jobs import in_one_field, plan
    from study.data.simulate import dataset_card
    from study.data.simulate_patient import measure_patient, simulate_patient
    from study.experiment.pretrain import train_task_network
    from study.experiment.workspace import Workspace

    experiment = ExperimentConfig.parse(SETTINGS | {"output": str(tmp_path_factory.mktemp("runs"))})
    workspace = Workspace.of(experiment)
    patients, jobs = plan(experiment, workspace.dataset)
    jobs = in_one_field(jobs, lambda jobs: map(measure_patient, jobs))
    write_card(workspace.dataset, dataset_card(experiment, patients, [simulate_patient(job) for job in jobs]))
    card = load_card(workspace.dataset)
    feeds = {split: _table_feed(workspace.dataset, card, split) for split in card.shards}
    list(
        train_task_network(
            experiment.task_network,
            feeds,
            workspace.task_network,
            data_hash=card.data_hash,
            patients=card.patients,
            device="cpu",
            threads=1,
        )
    )
    return Small(experiment, workspace, card)


def _table_feed(folder: Path, card: Any, split: str, slices: int | None = None) -> Any:
    import pyarrow as pa

    from study.data.feed import TableFeed
    from study.data.shards import read_shard

    tables = [read_shard(path) for path in card.shard_paths(folder, split)]
    return TableFeed(tables if slices is None else [pa.concat_tables(tables)[:slices]])
