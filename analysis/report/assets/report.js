"use strict";
// The page's behaviour: charts drawn when they come into view, filters, a trial's card, sorting, theme.

const TRIALS = JSON.parse(document.getElementById("trial-data").textContent);
const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
const PHONE = matchMedia("(max-width: 640px)");
const TOUCH = matchMedia("(hover: none)"); // there a press is what moving over a point is elsewhere
const plots = [...document.querySelectorAll(".plot")];
const drawn = new Map(); // plot element -> its traces as written, before any filter
let isShown = () => true;

// ---- theme --------------------------------------------------------------------------------------

function storedTheme() {
  try { return localStorage.getItem("taskct-theme"); } catch { return null; }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("taskct-theme", theme); } catch { /* a page from a file may have no storage */ }
  for (const plot of drawn.keys()) Plotly.relayout(plot, themed(plot.layout));
}

function themed(layout) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const changes = { "font.color": colour("--ink"), "hoverlabel.bgcolor": colour("--raised"),
    "hoverlabel.font.color": colour("--ink"), "hoverlabel.bordercolor": colour("--rule"),
    "modebar.bgcolor": "rgba(0,0,0,0)", "modebar.color": colour("--rule"), "modebar.activecolor": colour("--accent") };
  for (const key of Object.keys(layout)) {
    if (/^[xy]axis\d*$/.test(key)) {
      for (const part of ["gridcolor", "linecolor", "tickcolor"]) changes[`${key}.${part}`] = colour("--rule");
    }
    if (/^scene\d*$/.test(key)) {
      for (const axis of ["xaxis", "yaxis", "zaxis"]) changes[`${key}.${axis}.gridcolor`] = colour("--rule");
    }
  }
  (layout.annotations ?? []).forEach((note, i) => {
    if (note.bgcolor) changes[`annotations[${i}].bgcolor`] = `${colour("--paper")}cc`;
  });
  return changes;
}

// ---- charts -------------------------------------------------------------------------------------

function draw(plot) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  for (const trace of figure.data) {
    if (trace.customdata && !trace.mode?.includes("text")) trace.text = trace.customdata.map((trial) => TRIALS[trial]?.hover ?? "");
  }
  if (PHONE.matches) compact(figure.layout);
  if (plot.closest("#answer")) figure.layout.height = plot.clientHeight; // what its place on the first screen allows
  drawn.set(plot, figure.data.map((trace) => ({ ...trace })));
  return Plotly.newPlot(plot, figure.data, figure.layout, { ...CONFIG, displayModeBar: PHONE.matches ? false : "hover" }).then(() => {
    plot.on("plotly_click", (event) => { if (!TOUCH.matches || !plot.closest("#answer")) openCard(event.points[0].customdata); });
    Plotly.relayout(plot, themed(plot.layout));
    filterPlot(plot);
    plot.dispatchEvent(new Event("taskct-drawn"));
  });
}

function compact(layout) {
  layout.margin = { ...layout.margin, ...(layout.scene ? { l: 0, r: 0 } : { l: 40, r: 8 }) };
  layout.font = { ...layout.font, size: 11 };
  for (const axis of [layout.xaxis, layout.yaxis]) if (axis?.title) axis.title.font = { size: 12 };
  layout.dragmode = false; // a swipe scrolls the page
  const eye = layout.scene?.camera?.eye;
  if (eye) for (const axis of ["x", "y", "z"]) eye[axis] *= 1.75; // room for the axis titles
}

const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    observer.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "400px" });
plots.forEach((plot) => observer.observe(plot));
addEventListener("beforeprint", () => plots.filter((plot) => !drawn.has(plot)).forEach(draw));

// ---- filters ------------------------------------------------------------------------------------

const form = document.getElementById("filters");
const rows = [...document.querySelectorAll("[data-trial]")];

function applyFilters() {
  const hidden = [...form.querySelectorAll("input:not(:checked)")].map((box) => [box.closest("fieldset").dataset.column, box.value]);
  isShown = (trial) => !TRIALS[trial] || hidden.every(([column, value]) => TRIALS[trial].filters[column] !== value);
  for (const row of rows) row.hidden = !isShown(row.dataset.trial);
  for (const plot of drawn.keys()) filterPlot(plot);
  const all = Object.keys(TRIALS);
  form.querySelector("output").textContent = `${all.filter(isShown).length} of ${all.length} trials shown.`;
}

function filterPlot(plot) {
  const original = drawn.get(plot);
  original.forEach((trace, index) => {
    if (trace.customdata) {
      const keep = (values) => values.map((value, i) => (isShown(trace.customdata[i]) ? value : null));
      Plotly.restyle(plot, { x: [keep(trace.x)], y: [keep(trace.y)] }, [index]);
    } else if (trace.meta?.front) {
      const front = shownFront(original, trace.meta);
      Plotly.restyle(plot, { x: [front.map((p) => p.x)], y: [front.map((p) => p.y)] }, [index]);
    } else if (trace.meta?.trials) {
      Plotly.restyle(plot, { visible: trace.meta.trials.every(isShown) }, [index]);
    }
  });
}

// The non-dominated ones of the complete trials that the filters leave, in the order of x.
function shownFront(traces, meta) {
  const points = traces.filter((trace) => trace.customdata).flatMap((trace) =>
    trace.customdata.map((trial, i) => ({ trial, x: trace.x[i], y: trace.y[i] })))
    .filter(({ trial }) => isShown(trial) && TRIALS[trial]?.status === "COMPLETE"
      && (!meta.architecture || TRIALS[trial].architecture === meta.architecture));
  const signs = meta.directions.map((direction) => (direction === "maximize" ? 1 : -1));
  const gain = (p) => [signs[0] * p.x, signs[1] * p.y];
  const beats = (p, q) => {
    const [[a, b], [c, d]] = [gain(p), gain(q)];
    return a >= c && b >= d && (a > c || b > d);
  };
  return points.filter((p) => !points.some((q) => beats(q, p))).sort((p, q) => p.x - q.x || p.y - q.y);
}

form?.addEventListener("change", applyFilters);

// ---- a trial's card -----------------------------------------------------------------------------

const card = document.getElementById("card");

function element(tag, text, attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  if (text !== undefined) made.textContent = text;
  return made;
}

function openCard(number) {
  const trial = TRIALS[number];
  if (!trial) return;
  const close = element("button", "Close", { type: "button", className: "close" });
  close.addEventListener("click", () => card.close());
  const title = element("h2", trial.title, { id: "card-title" });
  const state = element("p", `${trial.status.toLowerCase()}, ${trial.method}`, { className: "quiet" });
  card.replaceChildren(close, title, state);
  if (trial.failure) card.append(element("p", trial.failure, { className: "unavailable" }));
  card.append(cardImages(trial), cardScores(trial), element("h3", "Configuration"), definitions(trial.config));
  if (!card.open) card.showModal();
}

function cardImages(trial) {
  if (!trial.images.length) {
    return element("p", "No images of this trial are kept in the report: it keeps those of the front and of the trials named in the text.", { className: "quiet" });
  }
  const grid = element("div", undefined, { className: "images" });
  for (const image of trial.images) {
    const figure = element("figure");
    figure.append(element("img", undefined, { src: image.source, alt: `${trial.title}, ${image.caption}` }), element("p", image.caption));
    grid.append(figure);
  }
  return grid;
}

function cardScores(trial) {
  const scores = {};
  for (const score of trial.scores) {
    const values = Object.entries(score.values).map(([split, value]) => `${value}${score.unit ? ` ${score.unit}` : ""} (${split})`);
    scores[score.label] = values.join(", ") || "not scored";
  }
  const block = element("div");
  block.append(element("h3", "Scores"), definitions(scores));
  return block;
}

function definitions(entries) {
  const list = element("dl");
  for (const [name, text] of Object.entries(entries)) {
    const line = element("div");
    line.append(element("dt", name), element("dd", text));
    list.append(line);
  }
  return list;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-open]");
  if (button) openCard(button.dataset.open);
  if (event.target === card) card.close(); // outside the card is its backdrop
});

// ---- sorting ------------------------------------------------------------------------------------

function sortTable(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.sort;
  const compare = (a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === ""); // the empty ones last
    const order = isNaN(key(a)) || isNaN(key(b)) ? key(a).localeCompare(key(b)) : key(a) - key(b);
    return descending ? -order : order;
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    cell.querySelector("button")?.addEventListener("click", () => sortTable(table, column));
  });
}

document.getElementById("theme").addEventListener("click", () =>
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
setTheme(storedTheme() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));

// ---- a running study: the page loads itself again -------------------------------------------------

const reload = document.getElementById("reload");
const KEPT = `taskct-page:${location.pathname}`;
let pressed = false;
addEventListener("pointerdown", () => { pressed = true; });
addEventListener("pointerup", () => { pressed = false; });

// What a reader has set and where they read: kept over the page's own reload, and over no other.
function keepPage() {
  const places = [...document.querySelectorAll("section[id], .chart[id]")];
  const place = places.filter((one) => one.getBoundingClientRect().top <= innerHeight / 3).pop();
  const sorted = document.querySelector("#trials-table th[aria-sort]");
  const page = {
    place: place?.id, top: place ? place.getBoundingClientRect().top : -scrollY,
    hidden: [...document.querySelectorAll("#filters input:not(:checked)")].map((box) => [box.closest("fieldset").dataset.column, box.value]),
    open: [...document.querySelectorAll("details")].map((details) => details.open),
    sorted: sorted && [sorted.cellIndex, sorted.getAttribute("aria-sort")],
  };
  try { sessionStorage.setItem(KEPT, JSON.stringify(page)); } catch { /* then the page starts afresh */ }
}

function restorePage() {
  let page = null;
  try {
    page = JSON.parse(sessionStorage.getItem(KEPT));
    sessionStorage.removeItem(KEPT);
  } catch { /* no storage: nothing was kept */ }
  if (!page) return;
  history.scrollRestoration = "manual";
  document.querySelectorAll("details").forEach((details, i) => { details.open = page.open[i] ?? false; });
  for (const box of document.querySelectorAll("#filters input")) {
    box.checked = !page.hidden.some(([column, value]) => column === box.closest("fieldset").dataset.column && value === box.value);
  }
  if (form) applyFilters();
  if (page.sorted) {
    const table = document.getElementById("trials-table");
    sortTable(table, page.sorted[0]);
    if (page.sorted[1] === "descending") sortTable(table, page.sorted[0]);
  }
  const place = page.place && document.getElementById(page.place);
  scrollBy({ top: (place ? place.getBoundingClientRect().top : -scrollY) - page.top, behavior: "instant" });
}

restorePage();
if (reload) {
  setInterval(() => {
    if (!reload.checked || document.hidden || card.open || pressed) return;
    keepPage();
    location.reload();
  }, 1000 * reload.dataset.seconds);
}
