"""The report in headless Chromium: no error, no request, hover, click, filter, sort, theme, phone."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from front_study import ALPHAS, DICE, PSNR, write_front_study
from seed_table import write_seed_table
from study_factory import Recipe, write_study

import analysis
from analysis.figures import FIGURES
from taskct_core.contracts.files import write_text

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
# What keeps Chromium quiet and runnable as root; SwiftShader draws WebGL without a GPU.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]


def _chromium_runs() -> bool:
    try:
        return subprocess.run([CHROMIUM, "--version"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not _chromium_runs(), reason="needs Chromium"),
]
playwright = pytest.importorskip("playwright.sync_api")
_PATIENCE_MS = 180_000  # a loaded machine draws twenty charts slowly; nothing waits so long where all is well


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    return analysis.write_report(study, tmp_path_factory.mktemp("browser") / "report.html")


@pytest.fixture(scope="module")
def front_report(tmp_path_factory):
    return analysis.write_report(write_front_study(tmp_path_factory.mktemp("front")))


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, report):
    with _opened(browser, report, viewport={"width": 1280, "height": 900}) as opened:
        yield opened


def _show(page, figure):
    page.locator(f"#{figure}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{figure} .main-svg")


def _markers(page, figure):
    """Plot coordinates to page coordinates of every marker of the front chart, by trial."""
    _show(page, figure)
    return page.evaluate(
        """(id) => {
            const plot = document.querySelector(`#${id} .plot`), box = plot.getBoundingClientRect();
            const { xaxis, yaxis } = plot._fullLayout, found = {};
            for (const trace of plot.data) {
                if (trace.mode !== "markers" || !trace.customdata) continue;
                trace.customdata.forEach((trial, i) => {
                    if (trace.x[i] === null) return;
                    found[trial] = [box.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                                    box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
                });
            }
            return found;
        }""",
        figure,
    )


def test_every_chart_is_drawn_and_every_section_has_height(page):
    for details in page.locator("details:not(.chart-table)").all():
        details.locator(":scope > summary").click()
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg'))",
        timeout=_PATIENCE_MS,
    )
    assert page.locator(".plot").count() > 25
    for section in page.locator("section").all():
        assert section.bounding_box()["height"] > 80


def test_hover_shows_the_configuration_and_click_opens_the_card(page):
    markers = _markers(page, "front_dice_psnr")
    page.mouse.move(*markers["12"])
    page.wait_for_selector("#front_dice_psnr .hoverlayer .hovertext")
    text = page.locator("#front_dice_psnr .hoverlayer").text_content()
    assert "trial 12" in text or "trial 13" in text
    assert "alpha" in text and "learning rate" in text
    page.mouse.click(*markers["12"])
    card = page.locator("#card")
    card.wait_for(state="visible")
    assert "architecture" in card.text_content() and card.locator("img").count() == 2
    page.keyboard.press("Escape")
    assert not card.is_visible()


def test_filters_hide_points_rows_and_move_the_front(page):
    before = _markers(page, "front_dice_psnr")
    page.locator("#filters input[value='learned_primal_dual']").uncheck()
    after = _markers(page, "front_dice_psnr")
    unets = {t for t in before if page.evaluate("(t) => TRIALS[t].architecture", t) == "unet"}
    assert set(after) == unets and 0 < len(after) < len(before)
    front = page.evaluate(
        "document.querySelector('#front_dice_psnr .plot').data.find((trace) => trace.meta?.front).x.length"
    )
    assert front > 0
    visible = page.locator("#trials-table tbody tr:visible").count()
    assert f"{visible} of" in page.locator("#filters output").text_content()
    page.locator("#filters input[value='learned_primal_dual']").check()
    assert set(_markers(page, "front_dice_psnr")) == set(before)


def test_the_table_sorts_by_a_column_both_ways_with_empty_cells_last(page):
    heading = page.locator("#trials-table thead button", has_text="PSNR (lodopab)")
    column = heading.evaluate("(button) => button.closest('th').cellIndex")
    cells = f"[...document.querySelectorAll('#trials-table tbody tr')].map((row) => row.cells[{column}].dataset.sort)"
    for descending in (False, True):
        heading.click()
        values = page.evaluate(cells)
        numbers = [float(value) for value in values if value]
        assert numbers == sorted(numbers, reverse=descending) and set(values[len(numbers) :]) == {""}


def test_the_theme_switches_page_and_charts(page):
    _show(page, "front_dice_psnr")
    background = "getComputedStyle(document.body).backgroundColor"
    colour = "document.querySelector('#front_dice_psnr .plot').layout.font.color"
    light = page.evaluate(background), page.evaluate(colour)
    page.locator("#theme").click()
    page.wait_for_timeout(300)
    assert light[0] != page.evaluate(background) and light[1] != page.evaluate(colour)


def test_a_front_configuration_downloads(page):
    with page.expect_download() as download:
        page.locator("a[download]").first.click()
    assert download.value.suggested_filename.endswith(".yaml")
    assert "alpha" in download.value.path().read_text()


@contextmanager
def _opened(browser, path, clock=False, **context_settings):
    """A page in a context of its own; whatever is done, there is no error and no request."""
    context = browser.new_context(**context_settings)
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    if clock:
        page.clock.install()  # hours pass when a test says so
    errors, requests = [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def _draw_all(page):
    """Scroll every chart into view that is not folded away."""
    for plot in page.locator(".plot:visible").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for(state="attached")


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_small_screen(browser, report, width):
    with _opened(browser, report, viewport={"width": width, "height": 800}) as page:
        _show(page, "front_dice_psnr")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_in_the_dark_shows_the_comparison_of_modes_from_top_to_bottom(browser, tmp_path):
    report = analysis.write_report(write_seed_table(tmp_path / "study", slices=6))
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    with _opened(browser, report, **phone) as page:
        _draw_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.locator("#judge_audit .main-svg").count() and page.locator("#judge_own .main-svg").count()
        titles = " ".join(page.locator("#images figcaption strong").all_text_contents())
        for method in ("FBP", "TV", "SIRT", "joint", "sequential", "end-to-end", "Full dose", "Truth"):
            assert method in titles
        # Image, mask and error of each; neither the truth nor full dose has an error, on three slices.
        assert page.locator("#images img").count() == 3 * page.locator("#images figure").count() - 3 * 2
        labels = page.locator("#differences_dice .ytick text").all()
        assert labels and all(label.bounding_box()["x"] >= 0 for label in labels)


def test_the_comparison_page_works_on_a_phone_and_on_a_desk(browser, tmp_path):
    folders = [
        write_study(tmp_path / name, Recipe(name=name, trials=6, panels=False, configs=False, seed=k))
        for k, name in enumerate(("one", "other"))
    ]
    page_file = analysis.write_comparison(folders, tmp_path / "comparison.html")
    for width in (390, 1280):
        with _opened(browser, page_file, viewport={"width": width, "height": 844}) as page:
            _draw_all(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.locator("#theme").click()


def test_a_running_study_s_page_reloads_itself_and_keeps_place_filters_and_sorting(
    browser, study, tmp_path, monkeypatch
):
    few = dict({spec.section: (name, spec) for name, spec in FIGURES.items()}.values())  # quick to load
    few["front_dice_psnr"] = FIGURES["front_dice_psnr"]  # of the first screen
    monkeypatch.setattr("analysis.report.page.FIGURES", few)
    out = tmp_path / "running.html"
    analysis.write_report(study, out, reload_seconds=600)
    with _opened(browser, out, clock=True, viewport={"width": 1280, "height": 900}) as page:
        page.locator("#filters input[value='unet']").uncheck()
        page.locator("#trials-table thead button", has_text="PSNR (lodopab)").click()
        page.locator("#correlation").scroll_into_view_if_needed()
        page.evaluate("window.first = true; document.getElementById('correlation').scrollIntoView()")
        place = "document.getElementById('correlation').getBoundingClientRect().top"
        before = page.evaluate(place)
        written = page.locator(".written").first.text_content()
        write_text(out, out.read_text().replace(written, "Written a second time."))
        page.clock.fast_forward(601_000)
        page.wait_for_function("!window.first && document.body.textContent.includes('a second time')")
        assert page.evaluate(place) == pytest.approx(before, abs=40)
        assert not page.locator("#filters input[value='unet']").is_checked()
        assert page.locator("#trials-table th[aria-sort='ascending']").count() == 1
        assert page.locator("#trials-table tbody tr:visible").count() < 27
        analysis.write_report(study, out)  # the last one
        page.clock.fast_forward(601_000)
        page.wait_for_function("!document.getElementById('reload')")
        page.evaluate("window.last = true")
        page.clock.fast_forward(3_601_000)
        assert page.evaluate("window.last")


@pytest.mark.parametrize("width", [1440, 390])
def test_the_slider_over_alpha_moves_image_mask_and_ring(browser, front_report, width):
    with _opened(browser, front_report, viewport={"width": width, "height": 900}) as page:
        _show(page, "continuous_front")
        slider = page.locator("#front-alpha")
        slider.scroll_into_view_if_needed()
        seen = []
        for step, (alpha, psnr, dice) in enumerate(zip(ALPHAS, PSNR, DICE, strict=True)):
            slider.fill(str(step))
            assert f"alpha {alpha:g}: " in page.locator("#front-scores").text_content()
            ring = page.evaluate(
                """() => { const plot = document.querySelector("#continuous_front .plot");
                const ring = plot.data.find((trace) => trace.meta?.role === "slider");
                return [ring.x[0], ring.y[0]]; }"""
            )
            assert ring == [psnr, dice]
            seen.append(page.locator("#front-image").get_attribute("src"))
            assert page.locator("#front-mask").get_attribute("src").startswith("data:image")
        assert len(set(seen)) > 1
        assert "points are dominated by no other" in page.locator("#front-validity").text_content()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        slider.focus()
        page.keyboard.press("ArrowLeft")
        assert f"alpha {ALPHAS[-2]:g}: " in page.locator("#front-scores").text_content()


def _chosen(page):
    """Name and picture of the last column of the first screen."""
    figure = page.locator("#answer figure.chosen").first
    return figure.locator("strong").text_content(), figure.locator("img").get_attribute("src")


def test_moving_over_a_point_shows_its_images_and_leaving_the_chart_the_chosen_ones(page):
    markers = _markers(page, "front_dice_psnr")
    recommended = _chosen(page)
    assert recommended[0] == "Recommended"
    sources = json.loads(page.locator("#answer-data").text_content())["sources"]
    pictures = {trial: source["cells"][0]["picture"] for trial, source in sources.items()}
    chosen = pictures[page.locator("#answer-trial").input_value()]
    others = [trial for trial in markers if pictures.get(trial, chosen) != chosen]

    def room(trial):  # to the next point, which the pointer must not meet instead
        return min(math.dist(markers[trial], place) for key, place in markers.items() if key != trial)

    other = max(others, key=room)
    page.mouse.move(*markers[other])
    page.wait_for_function(
        "document.querySelector('#answer figure.chosen strong').textContent !== 'Recommended'"
    )
    assert _chosen(page)[1] != recommended[1]
    page.mouse.move(2, 2)
    page.wait_for_function(
        "document.querySelector('#answer figure.chosen strong').textContent === 'Recommended'"
    )
    page.locator("#answer-trial").select_option("-2")  # by keyboard, for who points at nothing
    assert _chosen(page)[0] == "Low dose (FBP)"


@pytest.mark.parametrize("width, height", [(1440, 900), (390, 844)])
def test_the_answer_stands_on_one_screen(browser, report, width, height):
    with _opened(browser, report, viewport={"width": width, "height": height}) as page:
        _show(page, "front_dice_psnr")
        for place in (
            "h2 .alpha",
            ".tiles li >> nth=0",
            ".tiles li >> nth=1",
            "#front_dice_psnr .plot",
            "figure.chosen img >> nth=0",
        ):
            box = page.locator(f"#answer {place}").first.bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= height, place
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_one_selection_is_in_the_coordinates_every_chart_and_the_table(page):
    _show(page, "front_dice_psnr")
    _show(page, "alpha_psnr_lodopab")
    page.locator("#value-filter select").select_option("config_alpha")
    page.locator("#value-filter input[name='low']").fill("0.5")
    page.locator("#value-filter button").click()
    wanted = page.evaluate("STORE.trials.filter((n) => TRIALS[n].value('config_alpha') >= 0.5)")
    assert page.evaluate("[...selected]") == wanted and 0 < len(wanted) < page.evaluate("STORE.trials.length")
    assert page.locator("#trials-table tbody tr").count() == len(wanted)
    for figure in ("front_dice_psnr", "alpha_psnr_lodopab"):
        strong = page.evaluate(
            """(id) => document.querySelector(`#${id} .plot`).data.filter((t) => t.selectedpoints && t.mode === "markers")
            .flatMap((t) => t.selectedpoints.map((i) => t.customdata[i]))""",
            figure,
        )
        assert set(strong) and set(strong) <= set(wanted)
    page.locator("#selection [data-clear]").click()
    assert page.evaluate("selected") is None and page.locator("#selection").is_hidden()
    assert page.locator("#trials-table tbody tr").count() == page.evaluate("STORE.trials.length")


def test_coordinates_are_brushed_moved_and_rescaled(page):
    canvas = page.locator("#coordinates canvas")
    canvas.scroll_into_view_if_needed()
    titles = "[...document.querySelectorAll('.axis-head span')].map((name) => name.textContent)"
    before = page.evaluate(titles)
    page.locator(".axis-head span").first.press("ArrowRight")
    assert page.evaluate(titles) == [before[1], before[0], *before[2:]]
    rate = page.locator(".axis-head", has_text="learning rate").locator("select")
    assert rate.input_value() == "log"
    rate.select_option("linear")
    head = page.locator(".axis-head", has_text="alpha").bounding_box()
    box = canvas.bounding_box()
    x = head["x"] + head["width"] / 2
    page.mouse.move(x, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2)
    page.mouse.up()
    brushed = page.evaluate("[...selected].map((n) => TRIALS[n].value('config_alpha'))")
    assert brushed and min(brushed) > 0.4
    page.locator("#colour-by").select_option("validation:psnr_lodopab")  # draws anew, without an error


def test_two_trials_stand_side_by_side_with_their_difference(page):
    # Of 10,000 trials there would be 20,000: they are made when the reader is near.
    assert page.locator("#side-by-side option").count() == 0
    page.locator("#side-by-side").scroll_into_view_if_needed()
    page.wait_for_selector("#side-by-side canvas")
    assert page.locator("#side-by-side img").count() == 2 * page.locator("#side-by-side canvas").count()
    clipped = page.evaluate(
        """() => { const canvases = [...document.querySelectorAll("#side-by-side canvas")];
        const pixels = canvases.flatMap((canvas) => { const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return Array.from({ length: data.length / 4 }, (_, i) => data.slice(4 * i, 4 * i + 3).join()); });
        const differing = pixels.filter((pixel) => pixel !== "255,255,255");
        return differing.filter((pixel) => ["178,24,43", "33,102,172"].includes(pixel)).length / differing.length; }"""
    )
    assert clipped <= 0.11  # a tenth, and what lies exactly at the range's end
    page.locator("#side-by-side select").first.select_option("4")
    page.locator("#side-by-side select").last.select_option("4")
    page.wait_for_function("document.querySelectorAll('#side-by-side tbody tr').length === 0")
    page.wait_for_selector("#side-by-side .main-svg")
    colours = page.evaluate(
        """() => { const canvas = document.querySelector("#side-by-side canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return Math.min(...data); }"""
    )
    assert colours == 255  # a trial minus itself is white


def test_a_chart_s_table_has_its_points_with_the_values_and_not_the_positions(page):
    chart = page.locator("#alpha_psnr_lodopab")
    chart.scroll_into_view_if_needed()
    chart.locator(".chart-table summary").click()
    chart.locator(".chart-table tbody tr").first.wait_for()  # filled once it is open
    rows = chart.locator(".chart-table tbody tr").all_text_contents()
    alphas = page.evaluate(
        "STORE.trials.filter((n) => TRIALS[n].isComplete).map((n) => TRIALS[n].value('config_alpha'))"
    )
    assert sum("trial " in row for row in rows) >= len(alphas)


def test_the_best_curves_are_chosen_by_number(page):
    page.locator("#top-curves select").select_option(label="the best 5 by PSNR")
    best = page.evaluate("[...selected]")
    scores = page.evaluate(
        "STORE.trials.map((n) => [n, TRIALS[n].value('validation:psnr_lodopab'), TRIALS[n].isComplete])"
    )
    expected = sorted((s for s in scores if s[2]), key=lambda s: -s[1])[:5]
    assert set(best) == {number for number, _, _ in expected}


def test_on_paper_charts_are_as_wide_as_the_sheet_and_light_and_trials_have_numbers(browser, report):
    """Drawn in a wide dark window: what the browser prints is laid out anew, and as it was afterwards."""
    with _opened(browser, report, viewport={"width": 1440, "height": 900}, color_scheme="dark") as page:
        wide = page.evaluate("document.querySelector('.plot .main-svg').clientWidth")
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        widths = page.evaluate("""[...document.querySelectorAll(".plot")].filter((plot) => !plot.closest("details:not([open])"))
            .map((plot) => plot.querySelector(".main-svg")?.clientWidth ?? null)""")
        assert None not in widths and max(widths) <= 700 and len(widths) > 10
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)"
        assert page.locator("#trials button[data-open]").first.is_visible()
        adjusts = page.evaluate("getComputedStyle(document.querySelector('.outlines .key')).printColorAdjust")
        assert adjusts == "exact"  # else the colours that its words name are left out
        page.emulate_media(media="screen")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.evaluate("document.querySelector('.plot .main-svg').clientWidth") == wide
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
