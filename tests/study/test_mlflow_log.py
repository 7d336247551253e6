"""A study's trials in a real MLflow store."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from studies import EPOCHS, Killed, run_here, study_config

from study.search.events import EpochReported, Event
from taskct_core.errors import ConfigError
from taskct_core.schema import COMPLETE, PRIMARY_DICE, PRUNED


def test_each_trial_is_one_run_however_often_the_driver_died(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = study_config(trials=4, mlflow=uri, pruner={"name": "pareto_asha", "reduction_factor": 2})

    def kill(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 1 and event.row["epoch"] == 2:
            raise Killed

    folder = tmp_path / "mine" / "study"
    with pytest.raises(Killed):
        run_here(config, folder, on_event=kill)
    summary = run_here(config, folder)
    assert {record.status for record in summary.trials} == {COMPLETE, PRUNED}

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    by_trial = {int(run.data.tags["taskct.trial"]): run for run in runs}
    assert len(runs) == len(by_trial) == 4
    for record in summary.trials:
        run = by_trial[record.trial]
        assert run.info.status == {COMPLETE: "FINISHED", PRUNED: "KILLED"}[record.status]
        assert float(run.data.params["alpha"]) == record.values["alpha"]
        assert any(name.startswith("architecture_parameters.") for name in run.data.params)
        curve = client.get_metric_history(run.info.run_id, PRIMARY_DICE)
        assert [point.step for point in curve] == list(range(1, record.last_epoch + 1))
        assert curve[-1].value == pytest.approx(record.objectives[PRIMARY_DICE])
    assert summary.trials[-1].last_epoch <= EPOCHS


def test_a_server_that_does_not_answer_is_refused_before_any_trial(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tracking server that answers"):
        run_here(study_config(mlflow="http://127.0.0.1:1"), tmp_path)
    assert not (tmp_path / "trials").exists()


def test_a_server_that_goes_away_ends_the_logging_not_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "mlflow.db"

    def lose(event: Event) -> None:
        if isinstance(event, EpochReported) and event.trial == 0 and event.row["epoch"] == 2:
            store.write_bytes(b"no database")

    config = study_config(trials=2, mlflow=f"sqlite:///{store}")
    summary = run_here(config, tmp_path / "study", on_event=lose)
    assert [record.status for record in summary.trials] == [COMPLETE] * 2
    assert "MLflow is logged to no more" in capsys.readouterr().out
