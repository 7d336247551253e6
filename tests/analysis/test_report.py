"""The report's page for every study, its size, its safety, and its images."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import yaml
from edge_case_studies import STUDIES
from PIL import Image
from study_factory import Recipe, write_study

import analysis
from analysis import panels
from analysis.figures import FIGURES, FigureSpec
from analysis.report.page import columns_for
from analysis.tables import shown_metrics
from analysis.unavailable import Unavailable, attempt
from taskct_core import schema as S
from taskct_core.contracts.folders import StudyFolder
from taskct_core.errors import DataError


@dataclass
class Watched:
    """A figure that keeps what came of it while a page was made."""

    section: str
    title: str
    caption: str
    of: FigureSpec
    has_legend: bool = False
    reason: str | None = None
    data: object = None
    figure: go.Figure | None = None

    def compute(self, table: analysis.ResultsTable) -> object:
        try:
            self.data = self.of.compute(table)
        except Unavailable as missing:
            self.reason = missing.reason
            raise
        return self.data

    def draw(self, data: object) -> go.Figure:
        self.figure = self.of.draw(data)
        return self.figure


def _has_points(trace) -> bool:
    return trace.type == "image" or (trace.y is not None and len(trace.y) > 0)


@pytest.fixture(scope="module")
def watched() -> dict[str, Watched]:
    """What comes of each figure in ``page``."""
    return watch(FIGURES)


@pytest.fixture(scope="module")
def page(study: Path, watched: dict[str, Watched], tmp_path_factory: pytest.TempPathFactory) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.page.FIGURES", watched)
        return analysis.write_report(study, tmp_path_factory.mktemp("report") / "r.html").read_text()


def watch(specs: Mapping[str, FigureSpec]) -> dict[str, Watched]:
    return {name: Watched(spec.section, spec.title, spec.caption, spec) for name, spec in specs.items()}


def test_a_study_with_everything_gets_a_report(page: str, watched: dict[str, Watched], study: Path) -> None:
    check_page(page)
    check_figures(watched, study)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_gets_a_report(tmp_path, name, monkeypatch):
    further = {key for key, spec in FIGURES.items() if spec.section == "alpha-more"} - {"alpha_tumour_recall"}
    watched = watch(
        {key: spec for key, spec in FIGURES.items() if key not in further}
    )  # which differ in a column
    monkeypatch.setattr("analysis.report.page.FIGURES", watched)
    path = analysis.write_report(STUDIES[name](tmp_path / "study"))
    assert path == tmp_path / "study" / StudyFolder.report
    check_page(path.read_text())
    check_figures(watched, tmp_path / "study")


def check_page(page: str) -> None:
    """Every section says something, nothing that a study says breaks out of the page, and no bug shows."""
    body = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "In words" in body and "<li>" in body
    for trace_of_a_bug in ("nan%", "Traceback", "None</", ">nan<", "Undefined"):
        assert trace_of_a_bug not in body, trace_of_a_bug
    assert "<script>alert(1)" not in page and "</script><b>&" not in page and page.count("</html>") == 1
    sections = re.findall(r'<section id="([^"]+)"(.*?)</section>', body, flags=re.S)
    assert len(sections) == 11
    embedded = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.S)
    for text in embedded:
        json.loads(text)
    data = "".join(embedded)
    assert "&lt;" not in data.replace("&lt;script", "").replace("&lt;/script", ""), (
        "our own tags shown as text"
    )
    assert not re.search(r"[a-z]\.(?:<[^>]+>)*[A-Z]", dict(sections)["answer"]), (
        "sentences run into each other"
    )
    for section, content in sections:
        assert len(re.sub(r"<[^>]+>", "", content).split()) > 5, f"section {section} says nothing"


def check_figures(watched: dict[str, Watched], study: Path) -> None:
    """Each figure that a page was made of holds points, or says in a sentence why there is none."""
    for own in ("image_panels", "parallel"):  # which the page draws by itself
        if attempt(watched[own].compute, analysis.load(study)).missing is None:
            watched[own].draw(watched[own].data)
    for key, spec in watched.items():
        if spec.reason is not None:
            assert len(spec.reason) > 15 and spec.reason.endswith("."), key
            continue
        assert isinstance(spec.figure, go.Figure) and spec.figure.layout.height
        assert any(_has_points(trace) for trace in spec.figure.data), f"{key} is empty"


def test_the_page_names_no_foreign_address_to_load(page):
    without_plotly = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(?:src|href)=["']https?:""", without_plotly)
    assert page.count("plotly.js v") == 1


def test_each_front_trial_brings_its_yaml(page, table):
    found = dict(re.findall(r'href="data:application/yaml;base64,([^"]+)" download="([^"]+)"', page))
    texts = {name: base64.b64decode(code).decode() for code, name in found.items()}
    assert texts and set(texts) == {f"trial-{t:04d}.yaml" for t in analysis.front_trials(table)}
    for name, text in texts.items():
        assert yaml.safe_load(text)["trial"]["alpha"] == table.trials.at[int(name[6:10]), "config_alpha"]


def test_a_report_replaces_the_old_one_whole_and_a_failed_one_keeps_it(tmp_path):
    folder = write_study(tmp_path / "study", Recipe(trials=1, panels=False, configs=False))
    before = sorted(p.name for p in folder.iterdir())
    (folder / StudyFolder.report).write_text("old")
    analysis.write_report(folder)
    assert sorted(p.name for p in folder.iterdir()) == sorted([*before, StudyFolder.report])
    page = (folder / StudyFolder.report).read_text()
    assert page.startswith("<!doctype") and page != "old"
    (folder / StudyFolder.results).write_bytes(b"broken")
    with pytest.raises(DataError):
        analysis.write_report(folder)
    assert (folder / StudyFolder.report).read_text() == page


def test_the_store_holds_configuration_scores_and_images_of_every_trial(page, table):
    text = re.search(
        r'<script type="application/json" id="trial-data">(.*?)</script>', page, flags=re.S
    ).group(1)
    store = json.loads(text)
    columns = {
        column["key"]: _unpacked(column["values"], len(store["trials"])) for column in store["columns"]
    }
    row = store["trials"].index(4)
    assert columns["config_architecture"][row] == "unet" and len(store["pictures"]["4"]) == 2
    for name in ("config_alpha", "config_learning_rate", "config_width"):
        expected = [None if np.isnan(value) else value for value in table.trials[name]]
        assert columns[name] == pytest.approx(expected, nan_ok=True) if None not in expected else True
        assert [value is None for value in columns[name]] == [value is None for value in expected]
    scores = table.scores("validation").reindex(table.trials.index)[S.PRIMARY_PSNR]
    told = columns[f"validation:{S.PRIMARY_PSNR}"]
    for value, score in zip(told, scores, strict=True):
        assert (value is None and np.isnan(score)) or value == pytest.approx(score, rel=1e-5)
    failed = [place for place, status in enumerate(columns["status"]) if status == "failed"]
    assert failed and "not finite" in columns["failure_reason"][failed[0]]


def _unpacked(values, count):
    if isinstance(values, list):
        return values
    if "all" in values:
        return [values["all"]] * count
    return [values["levels"][code] for code in values["codes"]]


def test_methods_are_prose_with_what_the_study_records(page):
    prose = re.search(r'<div id="methods-prose">(.*?)</div>', page, flags=re.S).group(1)
    text = " ".join(re.sub(r"<[^>]+>", " ", prose).split())
    for words in (
        "4096 photons per ray",
        "6 for training, 8 for validation, 8 for test",
        "-200 to 250 HU",
        "TPE",
    ):
        assert words in text, words
    assert "None" not in text and "nan" not in text.lower().replace("nnunet", "")


def test_a_chart_carries_a_table_and_the_page_no_third_dimension(page):
    figures = re.findall(r'<figure class="chart".*?</figure>', page, flags=re.S)
    drawn = [figure for figure in figures if 'class="plot"' in figure]
    assert len(drawn) > 20 and all('<details class="chart-table">' in figure for figure in drawn)
    data = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(?<!"scatter3d":\[\{)"type":"scatter3d"', data)  # but as the template's style


def test_panels_show_the_window_the_masks_and_the_error(table):
    slices = panels.read_slices(table)
    panel, full_dose = (panels.read_panel(table, key, slices) for key in ("fbp", "full_dose"))
    picture = panels.draw_image(full_dose, 0, None)
    assert picture.shape == (256, 256, 3)
    # Beside the liver: 20.4 /m is 20.02 HU, that is (20.02 + 200) / 450 of the window.
    assert picture[128, 220, 0] == pytest.approx(255 * (400 / 19.98 + 200) / 450, abs=2)
    assert picture[2, 2].tolist() == [0, 0, 0]  # air
    outlined = panels.draw_image(panel, 0, slices.truth)
    for colour in ((255, 255, 255), (86, 180, 233), (230, 159, 0)):
        assert (outlined == colour).all(axis=2).sum() > 20
    assert (panels.draw_error(full_dose, full_dose, 0) == 255).all()
    assert panels.draw_error(panel, full_dose, 0).min() < 100


def test_error_maps_are_blue_below_and_red_above():
    flat = np.full((1, 4, 4), 20 / 81.35858, np.float32)
    bright = panels.Panel("a", flat + 2 / 81.35858, np.zeros((1, 4, 4), np.uint8))
    dark = panels.Panel("b", flat - 2 / 81.35858, np.zeros((1, 4, 4), np.uint8))
    reference = panels.Panel("c", flat, np.zeros((1, 4, 4), np.uint8))
    red, blue = (panels.draw_error(p, reference, 0)[0, 0] for p in (bright, dark))
    assert red[0] > red[2] and blue[2] > blue[0]


def test_hu_is_the_inverse_of_the_attenuation_of_water_and_air():
    assert panels.to_hu(np.array([20 / 81.35858, 0.02 / 81.35858])) == pytest.approx([0, -1000], abs=1e-6)


def test_pictures_are_webp_and_small():
    picture = np.random.default_rng(0).integers(0, 255, (362, 362, 3)).astype(np.uint8)
    uri = panels.data_uri(picture)
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert image.format == "WEBP" and image.size == (362, 362) and len(uri) < 200_000


@pytest.mark.parametrize("most", [3, 8])
def test_no_picture_stands_alone_in_the_last_row(most):
    for count in range(2, 30):
        columns = columns_for(count, most)
        assert 2 <= columns <= max(most, count) and (count <= columns or count % columns != 1)


def test_a_study_of_livers_alone_shows_nothing_twice(tmp_path):
    folder = write_study(
        tmp_path / "study", Recipe(trials=6, panels=False, configs=False, patients=2, slices=2)
    )
    table = analysis.load(folder)
    rows = table.rows.copy()
    for column in [name for name in rows if "dice_mean" in name]:
        rows[column] = rows[column.replace("mean", "liver")]
        rows[column.replace("mean", "tumour")] = np.nan
    livers = analysis.ResultsTable(table.folder, rows, table.samples, table.study)
    shown = shown_metrics(livers)
    assert S.PRIMARY_DICE in shown and "dice_liver_patient_nnunet" not in shown
    assert shown_metrics(table) != shown and "dice_liver_patient_nnunet" in shown_metrics(table)
    drawn = [name for name, spec in FIGURES.items() if attempt(spec.compute, livers).missing is None]
    assert "alpha_dice_mean_patient_nnunet" in drawn and "alpha_dice_liver_patient_nnunet" not in drawn
