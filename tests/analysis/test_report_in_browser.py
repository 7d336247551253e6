"""The report in headless Chromium: no error, no request, hover, click, filter, sort, theme, phone."""

from __future__ import annotations

import shutil
import subprocess

import pytest

import analysis
from analysis.figures import FIGURES
from analysis.report import write_whole

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


@pytest.fixture(scope="module")
def report(study, tmp_path_factory):
    return analysis.write_report(study, tmp_path_factory.mktemp("browser") / "report.html")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as runner:
        opened = runner.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser, report):
    """The open report; afterwards, whatever was done, there was no error and no request."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    errors, requests = [], []
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


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
    for details in page.locator("details").all():
        details.locator("summary").click()
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg'))",
        timeout=60_000,
    )
    assert page.locator(".plot").count() > 30
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
        assert numbers == sorted(numbers, reverse=descending) and values[len(numbers) :] == [""] * 3


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


@pytest.mark.parametrize("width", [360, 390, 768])
def test_nothing_is_wider_than_a_small_screen(browser, report, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(report.as_uri())
    _show(page, "front_dice_psnr")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_a_running_study_s_page_reloads_itself_and_keeps_place_filters_and_sorting(
    browser, study, tmp_path, monkeypatch
):
    few = {spec.section: (name, spec) for name, spec in FIGURES.items()}  # one a section: quick to load
    monkeypatch.setattr("analysis.report.page.FIGURES", dict(few.values()))
    out = tmp_path / "running.html"
    analysis.write_report(study, out, reload_seconds=600)
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.clock.install()  # ten minutes pass when the test says so
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(out.as_uri())
    page.locator("#filters input[value='unet']").uncheck()
    page.locator("#trials-table thead button", has_text="PSNR (lodopab)").click()
    page.locator("#correlation").scroll_into_view_if_needed()
    page.evaluate("window.first = true; document.getElementById('correlation').scrollIntoView()")
    place = "document.getElementById('correlation').getBoundingClientRect().top"
    before = page.evaluate(place)
    written = page.locator(".written").first.text_content()
    write_whole(out, out.read_text().replace(written, "Written a second time."))
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
    assert page.evaluate("window.last") and errors == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
    context.close()
