"""A report's page in headless Chromium: when its first chart stands, and for how long it does not answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import plotly.offline
from playwright.sync_api import sync_playwright

# Quiet, runnable as root, without a GPU and without a network.
_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_PATIENCE_MS = 180_000
# Tasks of more than 50 ms on the main thread, in which a page answers nobody; and when the first chart was drawn.
_WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({ type: "longtask", buffered: true });
addEventListener("taskct-drawn", () => { window.firstChart ??= performance.now(); }, true);
"""
_TIMES = """[performance.getEntriesByName("first-contentful-paint")[0].startTime,
  window.firstChart, Math.max(0, ...window.longTasks)]"""
# What no report drawn by Plotly.js can be faster than.
_PLOTLY_ALONE = """<!doctype html><meta charset="utf-8"><p>Three points.</p><div id="chart"></div>
<script>{plotly}</script>
<script>Plotly.newPlot("chart", [{{ y: [1, 3, 2], mode: "markers" }}]).then(() =>
  document.getElementById("chart").dispatchEvent(new Event("taskct-drawn")));</script>"""


def write_plotly_alone(page_file: Path) -> Path:
    """A page of one chart of three points, which holds Plotly.js as a report does."""
    page_file.write_text(_PLOTLY_ALONE.format(plotly=plotly.offline.get_plotlyjs()), encoding="utf-8")
    return page_file


def opened(page_file: Path, width: int = 1440, height: int = 900) -> dict[str, float]:
    """Open a page from its file and wait until nothing is left to do on its first screen.

    Returns:
        text_s: from the navigation until the browser has laid out text to paint.
        first_chart_s: from the navigation until the first chart stands.
        longest_task_s: the longest time without an answer.
        main_thread_cpu_s: processor time of all work on the main thread.
    """
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(_PATIENCE_MS)
        page.add_init_script(_WATCH)
        session = page.context.new_cdp_session(page)
        session.send(
            "Performance.enable", {"timeDomain": "threadTicks"}
        )  # processor time, which a busy machine does not stretch
        page.goto(page_file.absolute().as_uri())
        page.wait_for_function("window.firstChart !== undefined")
        page.evaluate("new Promise((done) => requestIdleCallback(done))")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        text, first_chart, longest = page.evaluate(_TIMES)
        browser.close()
    return {
        "text_s": round(text / 1000, 2),
        "first_chart_s": round(first_chart / 1000, 2),
        "longest_task_s": round(longest / 1000, 2),
        "main_thread_cpu_s": round(metrics["TaskDuration"], 2),
    }
