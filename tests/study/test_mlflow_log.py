"""An MLflow store that is not there, or no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import run_here, study_config

from study.search.events import EpochReported, Event
from taskct_core.errors import ConfigError
from taskct_core.schema import COMPLETE


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
