"use strict";
// The page's behaviour: what is made when it comes into view, filters, a trial's card, theme, reloading.

const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["autoScale2d"] };
const PHONE = matchMedia("(max-width: 640px)");
const TOUCH = matchMedia("(hover: none)"); // there a press is what moving over a point is elsewhere
const plots = [...document.querySelectorAll(".plot")];
const drawn = new Map(); // plot element -> its traces as written, before any filter
let isShown = () => true;
const isFiltered = () => selected !== null || document.querySelector("#filters input:not(:checked)") !== null;

// ---- what is made when a reader comes near it ------------------------------------------------------

const waiting = new Map(); // element -> what makes its content
const nearness = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) make(entry.target);
}, { rootMargin: "400px" });

function whenNear(box, maker) {
  waiting.set(box, maker);
  nearness.observe(box);
}

// As well when the page has nothing else to do, for what is searched for as text or by keys; of few trials at once.
const FEW_TRIALS = 500;
function whenIdle(box, maker) {
  if (STORE.trials.length <= FEW_TRIALS) return maker(box);
  whenNear(box, maker);
  (window.requestIdleCallback ?? setTimeout)(() => make(box));
}

function make(box) {
  const maker = waiting.get(box);
  waiting.delete(box);
  nearness.unobserve(box);
  maker?.(box);
}

// ---- theme --------------------------------------------------------------------------------------

function storedTheme() {
  try { return localStorage.getItem("taskct-theme"); } catch { return null; }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("taskct-theme", theme); } catch { /* a page from a file may have no storage */ }
  for (const plot of drawn.keys()) Plotly.relayout(plot, themed(plot.layout));
  document.dispatchEvent(new Event("taskct-theme"));
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
  }
  (layout.annotations ?? []).forEach((note, i) => {
    if (note.bgcolor) changes[`annotations[${i}].bgcolor`] = `${colour("--paper")}cc`;
  });
  return changes;
}

// What Plotly.relayout does with the path of a setting, before the chart is drawn: drawing it twice takes twice as long.
function put(layout, path, value) {
  const steps = path.replace(/\[(\d+)\]/g, ".$1").split(".");
  const last = steps.pop();
  steps.reduce((part, step) => (part[step] ??= {}), layout)[last] = value;
}

// ---- charts -------------------------------------------------------------------------------------

function draw(plot) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  for (const trace of figure.data) {
    if (trace.customdata && !trace.mode?.includes("text")) trace.text = hovers(trace.customdata);
  }
  if (PHONE.matches) compact(figure.layout);
  for (const [path, value] of Object.entries(themed(figure.layout))) put(figure.layout, path, value);
  if (plot.closest("#answer")) figure.layout.height = plot.clientHeight; // what its place on the first screen allows
  drawn.set(plot, figure.data.map((trace) => ({ ...trace })));
  return Plotly.newPlot(plot, figure.data, figure.layout, { ...CONFIG, displayModeBar: PHONE.matches ? false : "hover" }).then(() => {
    plot.on("plotly_selected", (event) => { if (event) select(event.points.map((p) => p.customdata).filter((n) => TRIALS[n])); });
    plot.on("plotly_deselect", () => select(null));
    plot.on("plotly_click", (event) => { if (!TOUCH.matches || !plot.closest("#answer")) openCard(event.points[0].customdata); });
    if (isFiltered()) filterPlot(plot);
    plot.dispatchEvent(new Event("taskct-drawn"));
  });
}

const hovers = (trials) => trials.map((number) => TRIALS[number]?.hover ?? "");

function compact(layout) {
  layout.margin = { ...layout.margin, l: 40, r: 8, b: 40 };
  layout.font = { ...layout.font, size: 11 };
  for (const axis of [layout.xaxis, layout.yaxis]) if (axis?.title) axis.title.font = { size: 12 };
  layout.dragmode = false; // a swipe scrolls the page
}

plots.forEach((plot) => whenNear(plot, draw));

// ---- paper --------------------------------------------------------------------------------------

// On paper the page is light and as wide as a sheet, whatever window it was drawn in: charts that kept the window's width
// would be cut at the sheet's edge. Those in view stand already; the rest is drawn now.
let themeOfScreen = null;
addEventListener("beforeprint", () => {
  const root = document.documentElement;
  themeOfScreen = root.dataset.theme ?? "";
  root.dataset.theme = "light";
  root.classList.add("on-paper");
  const standing = [...drawn.keys()];
  for (const box of [...waiting.keys()]) if (!box.closest("details:not([open]), #side-by-side")) make(box);
  for (const plot of standing) Plotly.relayout(plot, { ...themed(plot.layout), width: plot.clientWidth });
});
addEventListener("afterprint", () => {
  const root = document.documentElement;
  root.dataset.theme = themeOfScreen;
  root.classList.remove("on-paper");
  for (const plot of drawn.keys()) Plotly.relayout(plot, { ...themed(plot.layout), width: null, autosize: true });
  document.dispatchEvent(new Event("taskct-theme"));
});

// ---- filters ------------------------------------------------------------------------------------

const form = document.getElementById("filters");
const rows = [...document.querySelectorAll("tr[data-trial]")]; // of tables that the page came with

function applyFilters() {
  const hidden = [...form.querySelectorAll("input:not(:checked)")].map((box) => [box.closest("fieldset").dataset.column, box.value]);
  isShown = (number) => !TRIALS[number] || hidden.every(([column, value]) => String(TRIALS[number].value(column)) !== value);
  for (const row of rows) row.hidden = !isShown(row.dataset.trial);
  filterAll();
  const shown = STORE.trials.filter(isShown).length;
  form.querySelector("output").textContent = `${shown} of ${STORE.trials.length} trials shown.`;
  document.dispatchEvent(new Event("taskct-filters"));
}

// The charts in view at once, the others when the page has answered.
function filterAll() {
  const inView = (plot) => { const box = plot.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; };
  const [now, later] = [[...drawn.keys()].filter(inView), [...drawn.keys()].filter((plot) => !inView(plot))];
  now.forEach(filterPlot);
  later.forEach((plot) => setTimeout(() => filterPlot(plot)));
}

// One change a chart: each restyle draws it anew.
function filterPlot(plot) {
  const original = drawn.get(plot);
  if (!original.every((trace) => trace.type === "scatter")) return; // bars and pictures are of no single trials
  const [x, y, visible, selectedpoints] = [[], [], [], []];
  original.forEach((trace, index) => {
    const isLine = trace.mode?.includes("lines");
    const keeps = (trial) => isShown(trial) && (!isLine || isSelected(trial));
    const keep = (values) => values?.map((value, i) => (keeps(trace.customdata[i]) ? value : null));
    const front = trace.meta?.front ? shownFront(original, trace.meta) : null;
    x[index] = front?.map((p) => p.x) ?? (trace.customdata ? keep(trace.x) : trace.x);
    y[index] = front?.map((p) => p.y) ?? (trace.customdata ? keep(trace.y) : trace.y);
    visible[index] = !trace.meta?.trials || trace.meta.trials.every(isShown);
    const chosen = selected !== null && trace.customdata && !isLine;
    selectedpoints[index] = chosen ? trace.customdata.flatMap((trial, i) => (isSelected(trial) || trial < 0 ? [i] : [])) : null;
  });
  Plotly.restyle(plot, { x, y, visible, selectedpoints });
}

// The non-dominated ones of the complete trials that the filters leave, in the order of x.
function shownFront(traces, meta) {
  const points = traces.filter((trace) => trace.customdata && !trace.meta?.role).flatMap((trace) =>
    trace.customdata.map((trial, i) => ({ trial, x: trace.x[i], y: trace.y[i] })))
    .filter(({ trial }) => isShown(trial) && TRIALS[trial]?.isComplete
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
document.addEventListener("taskct-selection", filterAll);

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
  const state = element("p", `${trial.status}, ${trial.method}`, { className: "quiet" });
  card.replaceChildren(close, title, state);
  if (trial.failure) card.append(element("p", trial.failure, { className: "unavailable" }));
  card.append(cardImages(trial), cardScores(trial), element("h3", "Configuration"),
    definitions(Object.fromEntries(trial.config.map((column) => [column.title, trial.text(column)]))));
  if (!card.open) card.showModal();
}

function cardImages(trial) {
  if (!trial.pictures.length) {
    return element("p", "No images of this trial are kept in the report: it keeps those of the front and of the trials named in the text.", { className: "quiet" });
  }
  const grid = element("div", undefined, { className: "images" });
  for (const image of trial.pictures) {
    const figure = element("figure");
    figure.append(element("img", undefined, { src: image.source, alt: `${trial.title}, ${image.caption}` }), element("p", image.caption));
    grid.append(figure);
  }
  return grid;
}

function cardScores(trial) {
  const block = element("div");
  block.append(element("h3", "Scores"), definitions(trial.scores));
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

document.getElementById("copy-methods")?.addEventListener("click", (event) => {
  getSelection().selectAllChildren(document.getElementById("methods-prose"));
  document.execCommand("copy"); // the clipboard's newer interface refuses pages from a file
  event.target.textContent = "Copied";
});

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
    const detail = { column: page.sorted[0] - 1, descending: page.sorted[1] === "descending" };
    document.getElementById("trials-table").dispatchEvent(new CustomEvent("taskct-sort", { detail }));
  }
  const place = page.place && document.getElementById(page.place);
  scrollBy({ top: (place ? place.getBoundingClientRect().top : -scrollY) - page.top, behavior: "instant" });
}

addEventListener("DOMContentLoaded", restorePage); // when the other scripts have built their parts
if (reload) {
  setInterval(() => {
    if (!reload.checked || document.hidden || card.open || pressed) return;
    keepPage();
    location.reload();
  }, 1000 * reload.dataset.seconds);
}
