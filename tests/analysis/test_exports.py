"""Exported files: pictures by a real Chromium, tables that read back, the front's YAML, comparisons, watch."""

from __future__ import annotations

import re
import shutil
import sys
import threading

import pandas as pd
import pytest
from PIL import Image
from study_factory import Recipe, write_study, write_table

import analysis
from analysis.figures import FIGURES
from analysis.figures.several_studies import compute_dose, compute_study_fronts
from analysis.unavailable import NotApplicable
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import ConfigError, DataError, ResourceError, StudyError

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")


@needs_chromium
@pytest.mark.browser
def test_figures_become_png_svg_and_pdf(table, tmp_path):
    names = ["front_dice_psnr", "alpha_psnr_lodopab", "importance_3"]
    paths = analysis.export_figures(table, tmp_path, ("png", "svg", "pdf"), names)
    assert [p.name for p in paths] == [f"{n}.{k}" for k in ("png", "svg", "pdf") for n in names[:2]]
    assert Image.open(tmp_path / "front_dice_psnr.png").size == (2700, 3 * (480 + 80))
    assert "<svg" in (tmp_path / "front_dice_psnr.svg").read_text()[:500]
    assert (tmp_path / "front_dice_psnr.pdf").read_bytes().startswith(b"%PDF")


@needs_chromium
@pytest.mark.browser
def test_title_colour_bar_and_legend_of_a_picture_do_not_meet(table, tmp_path):
    """The bar of alpha has the legend's place above the chart, and Plotly moves the title up by its height."""
    analysis.export_figures(table, tmp_path, ("svg",), ["front_dice_psnr"])
    drawn = (tmp_path / "front_dice_psnr.svg").read_text()
    title = re.search(r'class="gtitle" transform="translate\(0,(-?[\d.]+)\)" x="[\d.]+" y="([\d.]+)"', drawn)
    places = [
        re.search(rf'class="{part}"[^>]*translate\([\d.]+,([\d.]+)\)', drawn)
        for part in ("cbcoloraxis colorbar", "legend")
    ]
    assert title and all(places)
    assert float(title[1]) + float(title[2]) >= 9, "half a letter's height"
    bar, legend = (float(place[1]) for place in places if place)
    assert float(title[1]) + float(title[2]) + 9 < bar and legend > bar + 300


def test_html_figures_need_no_browser(table, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    paths = analysis.export_figures(table, tmp_path, ("html",), ["hypervolume_trials", "front_dice_psnr"])
    assert all(path.stat().st_size < 500_000 and "plotly.min.js" in path.read_text() for path in paths)
    assert (tmp_path / "plotly.min.js").stat().st_size > 1_000_000  # once for all


@pytest.mark.parametrize("missing", ["kaleido", "chromium"])
def test_what_is_missing_for_pictures_is_named(table, tmp_path, monkeypatch, missing):
    if missing == "kaleido":
        monkeypatch.setitem(sys.modules, "kaleido", None)
    else:
        monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ResourceError, match=r"(?i)install"):
        analysis.export_figures(table, tmp_path, ("png",), ["hypervolume_trials"])


def test_an_export_without_a_browser_takes_html_and_says_so(table, tmp_path, monkeypatch, capsys):
    from study.cli.study_actions import export_study

    monkeypatch.setitem(sys.modules, "kaleido", None)
    monkeypatch.setattr("analysis.exports.FIGURES", {"front_dice_psnr": FIGURES["front_dice_psnr"]})
    export_study(table.folder.path, tmp_path, None)
    assert "kaleido" in capsys.readouterr().out
    assert (tmp_path / "figures" / "front_dice_psnr.html").is_file() and (
        tmp_path / "tables" / "front.csv"
    ).is_file()
    with pytest.raises(ResourceError, match="kaleido"):
        export_study(table.folder.path, tmp_path / "asked", ["svg"])
    assert not (tmp_path / "asked").exists()


def test_unknown_formats_and_figures_are_refused(table, tmp_path):
    with pytest.raises(ConfigError, match="png, svg, pdf, html"):
        analysis.export_figures(table, tmp_path, ("bmp",))
    with pytest.raises(ConfigError, match="front_dice_psnr"):
        analysis.export_figures(table, tmp_path, ("svg",), ["no_such_figure"])
    with pytest.raises(ConfigError, match="csv, tex, md"):
        analysis.export_tables(table, tmp_path, ("docx",))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="folder"):
        analysis.export_tables(table, tmp_path / "file")


def test_csv_reads_back_as_the_table(table, tmp_path):
    analysis.export_tables(table, tmp_path, ("csv",))
    read = pd.read_csv(tmp_path / "trials.csv").set_index("trial")
    expected = analysis.trials_table(table)
    pd.testing.assert_series_equal(read[S.PRIMARY_PSNR], expected[S.PRIMARY_PSNR], check_dtype=False)
    assert read.columns.tolist() == expected.columns.tolist()


def test_markdown_and_latex_hold_every_row_and_escape(table, tmp_path):
    analysis.export_tables(table, tmp_path)
    rows = len(analysis.trials_table(table))
    lines = (tmp_path / "trials.md").read_text().splitlines()
    assert len(lines) == rows + 2 and len({line.count("|") for line in lines}) == 1
    latex = (tmp_path / "trials.tex").read_text()
    assert latex.count(r"\\") == rows + 1 and r"learned\_primal\_dual" in latex
    assert latex.startswith(r"\begin{tabular}{") and latex.rstrip().endswith(r"\end{tabular}")


def test_the_table_of_methods_for_a_paper_has_scores_with_intervals(table, tmp_path):
    analysis.export_tables(table, tmp_path)
    latex, csv = (tmp_path / "methods.tex").read_text(), pd.read_csv(tmp_path / "methods.csv")
    assert (
        "_low" not in latex and r"$\infty$" in latex and re.search(r"& 0\.\d+ \(0\.\d+ to 0\.\d+\) ", latex)
    )
    assert (
        re.search(r"gap closed, trial \d+ to full dose", latex) and csv[f"{S.PRIMARY_DICE}_low"].notna().any()
    )


def test_the_front_is_exported_as_experiments_that_can_be_run(table, tmp_path):
    from study.config import load_experiment

    paths = analysis.export_front_configs(table, tmp_path)
    assert [p.name for p in paths] == [f"trial-{t:04d}.yaml" for t in analysis.front_trials(table)]
    for path in paths:
        experiment = load_experiment(path)
        assert experiment.trial.alpha == table.trials.at[int(path.stem[6:]), "config_alpha"]
        assert experiment.simulation.photons_per_ray == 4096 and experiment.name.endswith(path.stem)
        assert experiment.dataset == "runs/synthetic/data"


def test_an_exported_experiment_names_its_folders_from_anywhere(tmp_path):
    import dataclasses

    from study.config import load_experiment

    folder = write_study(tmp_path / "runs" / "mine" / "study", Recipe(trials=3, panels=False))
    for part, card in (("data", "dataset.json"), ("task_network", "card.json")):
        (folder.parent / part).mkdir()
        (folder.parent / part / card).touch()
    table = analysis.load(folder)
    (path, *_) = analysis.export_front_configs(table, tmp_path / "front")
    experiment = load_experiment(path)
    assert experiment.dataset == str(tmp_path / "runs" / "mine" / "data")
    assert experiment.pretrained == str(tmp_path / "runs" / "mine" / "task_network")
    assert experiment.output == str(tmp_path / "runs")
    hidden = dataclasses.replace(table, hide=lambda value: value)
    assert str(tmp_path) not in str(analysis.front_configs.runnable_config(hidden, int(path.stem[6:])))


def _study(folder, **values):
    return write_study(folder, Recipe(trials=4, panels=False, configs=False, **values))


def test_studies_of_the_same_data_share_axes(tmp_path):
    folders = [_study(tmp_path / name, name=name, seed=k) for k, name in enumerate("ab")]
    comparison = analysis.compare(folders)
    assert comparison.comparable and comparison.differences == {} and comparison.names == ["a", "b"]
    fronts = compute_study_fronts(comparison, S.PRIMARY_PSNR, S.PRIMARY_DICE)
    assert fronts.shared and set(fronts.fronts) == {"a", "b"}
    with pytest.raises(NotApplicable):
        compute_dose(comparison, S.PRIMARY_DICE)
    assert set(comparison.methods()["study"]) == {"a", "b"}


DIFFERENT = {
    "data": ({"data_hash": "data-b"}, "data hash: data-a against data-b"),
    "dose": ({"photons_per_ray": 512.0}, "photons per ray: 4096 against 512"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_must_not_be_compared_is_refused_with_the_difference(tmp_path, name):
    values, words = DIFFERENT[name]
    folders = [_study(tmp_path / "a"), _study(tmp_path / "b", **values)]
    with pytest.raises(StudyError, match=words):
        analysis.compare(folders)
    assert not analysis.compare(folders, side_by_side=True).comparable


def test_another_metric_policy_is_refused(tmp_path):
    folders = [_study(tmp_path / "a"), _study(tmp_path / "b")]
    rows = pd.read_parquet(folders[1] / StudyFolder.results).assign(**{S.METRIC_POLICY: "policy 0"})
    write_table(folders[1] / StudyFolder.results, rows)
    with pytest.raises(StudyError, match="metric policy: taskct metric policy 1 against policy 0"):
        analysis.compare(folders)


def test_two_task_networks_may_be_compared_and_the_page_says_what_that_means(tmp_path):
    folders = [_study(tmp_path / "a", name="a"), _study(tmp_path / "b", name="b")]
    rows = pd.read_parquet(folders[1] / StudyFolder.results).assign(**{S.TASK_NETWORK_HASH: "0f" * 32})
    write_table(folders[1] / StudyFolder.results, rows)
    page = analysis.write_comparison(folders, tmp_path / "c.html").read_text()
    assert "The task networks differ" in page and "0f0f0f0f0f0f…" in page and "0f" * 32 not in page
    assert "b: Ranges are 95 % intervals over the 5 patients" in page


def test_one_study_is_no_comparison(tmp_path):
    with pytest.raises(ConfigError, match="at least two"):
        analysis.compare([_study(tmp_path)])


def test_a_comparison_across_doses_has_facets_and_a_dose_chart(tmp_path):
    folders = [
        _study(tmp_path / str(k), name=f"dose-{dose:g}", photons_per_ray=dose, data_hash=f"data-{k}")
        for k, dose in enumerate((4096.0, 512.0))
    ]
    comparison = analysis.compare(folders, side_by_side=True)
    rows = compute_dose(comparison, S.PRIMARY_DICE).rows
    assert rows[rows["role"] == "FBP"]["photons_per_ray"].tolist() == [512.0, 4096.0]
    page = analysis.write_comparison(folders, tmp_path / "c.html", side_by_side=True).read_text()
    assert "dose-512" in page and "not</strong> share" in page and "against dose" in page


@pytest.mark.slow
def test_watching_rewrites_the_report_until_the_study_ends(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    reports: list[bool] = []  # whether the page loads itself again

    def finish_after_the_first(path):
        reports.append('id="reload"' in path.read_text())
        if len(reports) == 1:
            write_study(folder, Recipe(trials=4, running=0, panels=False))

    starter = threading.Timer(0.2, lambda: write_study(folder, Recipe(trials=3, running=1, panels=False)))
    starter.start()
    path = analysis.watch_report(folder, interval_seconds=0.05, on_report=finish_after_the_first)
    assert path == folder / StudyFolder.report and len(reports) >= 2
    assert reports[0] and not reports[-1]


def test_watching_ends_when_asked_and_reports_what_stays_unreadable(tmp_path):
    answers = iter([False, True])
    assert analysis.watch_report(tmp_path, interval_seconds=0, should_stop=lambda: next(answers)) is None
    with pytest.raises(DataError, match="no such folder"):
        analysis.watch_report(tmp_path / "mistyped")
    (tmp_path / StudyFolder.results).write_bytes(b"junk")
    with pytest.raises(DataError):
        analysis.watch_report(tmp_path, interval_seconds=0)
