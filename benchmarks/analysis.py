"""How long do 100,000 result rows take to analyse, and a 500-trial report to write, on one core?

    python benchmarks/analysis.py [--large | --page] [--json FILE]

Prints ``analyse_s`` (load 100,000 rows; trials, scores, front of three objectives, hypervolume history,
knee, importances, rank correlations), ``report_s`` and ``report_mb`` (500 trials, 20 epochs, 10 patients of
10 slices, panels) and their sum. ``*_cpu_s`` is the
processor time of the same runs, which other jobs on the machine do not stretch. ``--large`` writes instead the report of
10,000 trials of 4 epochs, 6 patients of 2 slices: ``large_report_s``, ``large_report_cpu_s``, ``large_report_mb``. ``--page`` opens the reports of 30 and of
10,000 trials in Chromium, and a page of Plotly.js and three points: ``small_page_*``, ``large_page_*``, ``plotly_alone_*``,
see ``support/open_page.py``. Medians of ``--repeats``
runs, interleaved, after one warm-up of imports.
The studies are synthetic (tests/analysis/study_factory.py); making them is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
# In place of this script's own folder, where "analysis" would be this file and not the package.
sys.path[0] = str(Path(__file__).parents[1] / "tests" / "analysis")
sys.path.insert(0, str(Path(__file__).parent / "support"))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from bench_record import write_result  # noqa: E402
from open_page import opened, write_plotly_alone  # noqa: E402
from study_factory import Recipe, write_study, write_table  # noqa: E402

import analysis  # noqa: E402
from analysis.figures.correlation import compute_rank_correlations  # noqa: E402
from taskct_core import schema as S  # noqa: E402
from taskct_core.contracts.folders import StudyFolder  # noqa: E402

ROWS = 100_000
EPOCHS = 19  # and one row on the test split: twenty rows a trial
OBJECTIVES = [S.PRIMARY_DICE, S.PRIMARY_PSNR, S.PRIMARY_SSIM]


def analyse(folder: Path) -> None:
    table = analysis.load(folder)
    directions = [S.METRICS[name].direction for name in OBJECTIVES]
    scores = table.complete_scores("validation", OBJECTIVES)
    front = analysis.non_dominated(scores.to_numpy(), directions)
    analysis.hypervolume(scores[front].to_numpy(), scores.min().to_list(), directions)
    analysis.knee(scores.to_numpy(), directions)
    analysis.hypervolume_history(table)
    for objective in table.objectives:
        analysis.parameter_importance(table, objective)
    compute_rank_correlations(table)
    analysis.trials_table(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="the report of 10,000 trials alone")
    parser.add_argument("--page", action="store_true", help="how long pages take to answer in Chromium alone")
    arguments = parser.parse_args()
    measure = _large if arguments.large else _page if arguments.page else _usual
    result = measure(arguments.repeats)
    print(json.dumps(result, indent=2))
    if arguments.json:
        write_result(arguments.json, result)


def _usual(repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        large, usual = _studies(Path(temporary))
        rows = len(analysis.load(large).rows)
        _warm_up(Path(temporary) / "small")
        tasks: list[Callable[[], object]] = [lambda: analyse(large), lambda: analysis.write_report(usual)]
        (analyse_s, analyse_cpu_s), (report_s, report_cpu_s) = _interleaved(tasks, repeats)
        megabytes = (usual / StudyFolder.report).stat().st_size / 1e6
    return {
        "rows": rows,
        "report_trials": 500,
        "analyse_s": round(analyse_s, 2),
        "report_s": round(report_s, 2),
        "total_s": round(analyse_s + report_s, 2),
        "analyse_cpu_s": round(analyse_cpu_s, 2),
        "report_cpu_s": round(report_cpu_s, 2),
        "report_mb": round(megabytes, 2),
    }


def _large(repeats: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = _study_of_10_000(Path(temporary) / "large")
        _warm_up(Path(temporary) / "small")
        [(seconds, cpu_seconds)] = _interleaved([lambda: analysis.write_report(folder)], repeats)
        megabytes = (folder / StudyFolder.report).stat().st_size / 1e6
        trials = len(analysis.load(folder).trials)
    return {
        "large_report_trials": trials,
        "large_report_s": round(seconds, 2),
        "large_report_cpu_s": round(cpu_seconds, 2),
        "large_report_mb": round(megabytes, 2),
    }


def _page(repeats: int) -> dict[str, float]:
    """Medians over openings, in a browser of its own each and page after page, with the slowest first chart beside them."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = {
            "small": write_study(Path(temporary) / "small", Recipe(trials=30)),
            "large": _study_of_10_000(Path(temporary) / "large"),
        }
        pages = {f"{name}_page": analysis.write_report(folder) for name, folder in folders.items()}
        pages["plotly_alone"] = write_plotly_alone(Path(temporary) / "alone.html")
        rounds = [{name: opened(page) for name, page in pages.items()} for _ in range(repeats)]
    result = {}
    for name in pages:
        openings = [one[name] for one in rounds]
        for key in openings[0]:
            result[f"{name}_{key}"] = statistics.median(one[key] for one in openings)
        result[f"{name}_first_chart_worst_s"] = max(one["first_chart_s"] for one in openings)
    return result


def _study_of_10_000(folder: Path) -> Path:
    """500 trials twenty times, each time with scores and learning rates of their own."""
    plain = {"pruned": 0, "failed": 0, "running": 0, "configs": False, "panels": False}
    write_study(folder, Recipe(trials=500, epochs=4, patients=6, slices=2, **plain))
    rows, samples = (pd.read_parquet(folder / name) for name in (StudyFolder.results, StudyFolder.samples))
    noise = np.random.default_rng(0)
    metrics = [name for name in S.METRICS if name in rows and rows[name].notna().any()]
    copies = [rows[rows["trial"] < 0]]
    for k in range(20):
        copy = rows[rows["trial"] >= 0].copy()
        copy[metrics] *= 1 + 0.01 * noise.normal(size=(len(copy), 1))
        rates = 10 ** noise.uniform(-4, -2, 500)
        copy["config_learning_rate"] = rates[copy["trial"]]
        copies.append(copy.assign(trial=copy["trial"] + 500 * k))
    write_table(folder / StudyFolder.results, pd.concat(copies, ignore_index=True))
    own = samples[samples["trial"] >= 0]
    several = [own.assign(trial=own["trial"] + 500 * k) for k in range(20)]
    write_table(
        folder / StudyFolder.samples, pd.concat([samples[samples["trial"] < 0], *several], ignore_index=True)
    )
    return folder


def _studies(folder: Path) -> tuple[Path, Path]:
    """A study of 100,000 rows (one of 5,000, twenty times with scores of its own), and one of 500 trials."""
    plain = {"pruned": 0, "failed": 0, "running": 0, "configs": False}
    seed = Recipe(
        trials=250,
        epochs=EPOCHS,
        patients=2,
        slices=2,
        samples=False,
        panels=False,
        references=False,
        **plain,
    )
    large = write_study(folder / "large", seed)
    rows = pd.read_parquet(large / StudyFolder.results)
    noise = np.random.default_rng(0)
    metrics = [name for name in S.METRICS if rows[name].notna().any()]
    copies = [rows.assign(trial=rows["trial"] + 250 * k) for k in range(ROWS // len(rows))]
    for copy in copies:
        copy[metrics] *= 1 + 0.01 * noise.normal(size=(len(copy), 1))
    write_table(large / StudyFolder.results, pd.concat(copies, ignore_index=True))
    return large, write_study(
        folder / "usual", Recipe(trials=500, epochs=20, patients=10, slices=10, **plain)
    )


def _warm_up(folder: Path) -> None:
    write_study(folder, Recipe(trials=24))
    analyse(folder)
    analysis.write_report(folder)


def _interleaved(tasks: list[Callable[[], object]], repeats: int) -> list[tuple[float, float]]:
    """Median wall and processor seconds of each task."""
    runs: list[list[tuple[float, float]]] = [[] for _ in tasks]
    for _ in range(repeats):
        for times, task in zip(runs, tasks, strict=True):
            wall, processor = time.perf_counter(), time.process_time()
            task()
            times.append((time.perf_counter() - wall, time.process_time() - processor))
    return [
        (statistics.median(wall for wall, _ in times), statistics.median(processor for _, processor in times))
        for times in runs
    ]


if __name__ == "__main__":
    main()
