// Parallel coordinates of all trials: brush an axis to select, drag its name to move it, choose its scale and the colour.

function coordinates(box) {
  const canvas = box.querySelector("canvas");
  const heads = box.querySelector(".axis-heads");
  const colourBy = document.getElementById("colour-by");
  const filter = document.getElementById("value-filter");
  const [TOP, BOTTOM, SIDE] = [14, 26, 50];
  const RAMP = JSON.parse(box.dataset.ramp);
  const PALETTE = JSON.parse(box.dataset.palette);
  const candidates = COLUMNS.filter((column) => (column.searched || (column.inTable && column.group !== "identity")) && different(column));
  let axes = candidates.filter((column) => column.searched || STORE.objectives.includes(column.key)).map(newAxis);
  let pressed = null;

  function different(column) {
    return new Set(column.values.filter((value) => value !== null)).size > 1;
  }

  // ---- scales: a value's height on its axis, from 0 below to 1 above; null where the axis does not apply

  function newAxis(column) {
    const values = column.values.filter((value) => value !== null);
    const isNumber = values.every((value) => typeof value === "number");
    const kinds = isNumber ? ["linear"] : ["names"];
    if (isNumber && Math.min(...extent(values)) > 0) kinds.push("log");
    if (isNumber && extent(values)[0] >= 0 && extent(values)[1] <= 1 && values.some((v) => v > 0 && v < 1)) kinds.push("logit");
    const kind = kinds.includes(column.scale?.kind) ? column.scale.kind : kinds[0];
    return measured({ column, kinds, kind, brush: null });
  }

  function extent(values) {
    return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  }

  function measured(axis) {
    const values = axis.column.values.filter((value) => value !== null);
    if (axis.kind === "names") {
      axis.names = [...new Set(values.map(String))].sort();
      axis.height = (value) => (value === null ? null : (axis.names.indexOf(String(value)) + 0.5) / axis.names.length);
      axis.ticks = axis.names.map((name) => [axis.height(name), name]);
    } else {
      const at = position(axis.kind, values);
      const [low, high] = extent(values.map(at));
      axis.height = (value) => (value === null ? null : (at(value) - low) / (high - low || 1));
      axis.ticks = ticks(axis.kind, values).map((value) => [axis.height(value), String(Number(value.toPrecision(3)))]);
    }
    axis.heights = axis.column.values.map(axis.height);
    return axis;
  }

  // As analysis/axis_scales.py: 0 and 1, which a logit maps to infinity, lie a little beyond the values between them.
  function position(kind, values) {
    if (kind === "log") return Math.log10;
    if (kind !== "logit") return (value) => value;
    const logit = (p) => Math.log(p / (1 - p));
    const [low, high] = extent(values.filter((value) => value > 0 && value < 1).map(logit));
    const gap = Math.max(0.12 * (high - low), 0.7);
    return (value) => (value <= 0 ? low - gap : value >= 1 ? high + gap : logit(value));
  }

  function ticks(kind, values) {
    const [low, high] = extent(values);
    const inside = (list) => list.filter((value) => value >= low && value <= high);
    if (kind === "log") {
      const powers = inside(Array.from({ length: 24 }, (_, k) => 10 ** (k - 12)));
      return powers.length > 1 ? powers : [low, high];
    }
    if (kind === "logit") return inside([0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1]);
    return [0, 1, 2, 3, 4].map((k) => low + (k * (high - low)) / 4);
  }

  // ---- drawing

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const placeOf = (k) => SIDE + (k * (canvas.clientWidth - 2 * SIDE)) / Math.max(1, axes.length - 1);
  const HEIGHT = canvas.clientHeight;
  const down = (height) => (height === null ? HEIGHT - 8 : TOP + (1 - height) * (HEIGHT - TOP - BOTTOM));
  const up = (y) => 1 - (y - TOP) / (HEIGHT - TOP - BOTTOM);

  function colours() {
    const column = COLUMN[colourBy.value];
    const axis = newAxis(column);
    if (axis.kind === "names") return column.values.map((value) => (value === null ? style("--quiet") : PALETTE[axis.names.indexOf(String(value)) % PALETTE.length]));
    return axis.heights.map((height) => (height === null ? style("--quiet") : RAMP[Math.round(height * (RAMP.length - 1))]));
  }

  let asked = false;
  let inView = false;

  // Once a frame at most, and where it can be seen.
  function draw() {
    if (asked || !inView) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; paint(); });
  }

  function paint() {
    const ratio = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = HEIGHT * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const shown = STORE.trials.map((number, row) => row).filter((row) => isShown(STORE.trials[row]) && TRIALS[STORE.trials[row]].isComplete);
    const chosen = shown.filter((row) => isSelected(STORE.trials[row]));
    const opacity = Math.max(0.06, Math.min(0.7, 40 / Math.sqrt(chosen.length + 1) / 10));
    if (selected !== null) drawLines(pen, shown, () => style("--rule"), 0.35, 1);
    const tints = colours();
    drawLines(pen, chosen, (row) => tints[row], opacity, 1.2);
    drawLines(pen, chosen.filter((row) => FRONT.has(STORE.trials[row])), (row) => tints[row], 1, 2.5);
    axes.forEach((axis, k) => drawAxis(pen, axis, placeOf(k)));
    box.querySelector("output").textContent = `${chosen.length} of ${shown.length} complete trials; strong lines are the front.`;
  }

  function drawLines(pen, rows, tint, opacity, width) {
    pen.globalAlpha = opacity;
    pen.lineWidth = width;
    const places = axes.map((_, k) => placeOf(k));
    for (const [colour, alike] of Map.groupBy(rows, tint)) { // a stroke a colour: 10,000 strokes take seconds
      pen.strokeStyle = colour;
      pen.beginPath();
      for (const row of alike) {
        pen.moveTo(places[0], down(axes[0].heights[row]));
        for (let k = 1; k < axes.length; k++) pen.lineTo(places[k], down(axes[k].heights[row]));
      }
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  function drawAxis(pen, axis, x) {
    pen.strokeStyle = style("--quiet");
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x, down(1));
    pen.lineTo(x, down(0));
    pen.stroke();
    pen.font = "11px sans-serif";
    for (const [height, text] of axis.ticks) {
      const words = text.length > 16 ? `${text.slice(0, 15)}…` : text;
      pen.lineWidth = 3;
      pen.strokeStyle = style("--paper");
      pen.strokeText(words, x + 4, down(height) + 4);
      pen.fillStyle = style("--ink");
      pen.fillText(words, x + 4, down(height) + 4);
    }
    if (!axis.brush) return;
    pen.fillStyle = style("--accent");
    pen.globalAlpha = 0.25;
    pen.fillRect(x - 8, down(axis.brush[1]), 16, down(axis.brush[0]) - down(axis.brush[1]));
    pen.globalAlpha = 1;
  }

  // ---- the axes' heads: name, scale, moving

  function renderHeads() {
    heads.replaceChildren(...axes.map((axis, k) => {
      const head = element("div", undefined, { className: "axis-head", draggable: true });
      head.style.left = `${placeOf(k)}px`;
      const name = element("span", axis.column.title.split(" (")[0], { title: `${axis.column.title}: drag to move, or use the arrow keys`, tabIndex: 0 });
      name.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (step) move(k, k + step);
      });
      head.append(name);
      if (axis.kinds.length > 1) {
        const scale = element("select", undefined, { title: "Scale" });
        scale.append(...axis.kinds.map((kind) => element("option", kind, { selected: kind === axis.kind })));
        scale.addEventListener("change", () => { measured(Object.assign(axis, { kind: scale.value, brush: null })); brushed(); });
        head.append(scale);
      }
      head.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", k));
      head.addEventListener("dragover", (event) => event.preventDefault());
      head.addEventListener("drop", (event) => { event.preventDefault(); move(Number(event.dataTransfer.getData("text/plain")), k); });
      return head;
    }));
  }

  function move(from, to) {
    if (to < 0 || to >= axes.length || from === to) return;
    axes.splice(to, 0, ...axes.splice(from, 1));
    renderHeads();
    draw();
    heads.children[to].firstChild.focus();
  }

  // ---- brushing

  const inside = (axis, row) => !axis.brush || (axis.heights[row] !== null && axis.heights[row] >= axis.brush[0] && axis.heights[row] <= axis.brush[1]);

  function brushed() {
    const any = axes.some((axis) => axis.brush);
    select(any ? STORE.trials.filter((_, row) => axes.every((axis) => inside(axis, row))) : null);
  }

  function nearest(x) {
    const distances = axes.map((_, k) => Math.abs(placeOf(k) - x));
    const k = distances.indexOf(Math.min(...distances));
    return distances[k] < 24 ? axes[k] : null;
  }

  canvas.addEventListener("pointerdown", (event) => {
    const axis = nearest(event.offsetX);
    if (!axis) return;
    pressed = { axis, from: up(event.offsetY) };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    canvas.style.cursor = nearest(event.offsetX) ? "crosshair" : "default";
    if (!pressed) return;
    const ends = [pressed.from, up(event.offsetY)].sort((a, b) => a - b);
    pressed.axis.brush = ends[1] - ends[0] > 0.01 ? ends : null;
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!pressed) return;
    if (Math.abs(up(event.offsetY) - pressed.from) <= 0.01) pressed.axis.brush = null; // a press without a move
    pressed = null;
    brushed();
  });

  // ---- filtering by typed values

  function brushFromForm() {
    const column = COLUMN[filter.elements.column.value];
    let axis = axes.find((one) => one.column === column);
    if (!axis) axes.push(axis = newAxis(column));
    const ends = [filter.elements.low.value, filter.elements.high.value];
    if (axis.kind === "names") {
      const found = axis.names.findIndex((name) => name === ends[0].trim());
      axis.brush = found < 0 ? null : [found / axis.names.length, (found + 1) / axis.names.length];
    } else {
      const heights = ends.map((text, side) => (text.trim() === "" ? [-0.001, 1.001][side] : axis.height(Number(text))));
      axis.brush = heights.some(Number.isNaN) ? null : [heights[0] - 1e-9, heights[1] + 1e-9];
    }
    renderHeads();
    brushed();
  }

  filter.addEventListener("submit", (event) => { event.preventDefault(); brushFromForm(); });
  for (const list of [colourBy, filter.elements.column]) {
    list.append(...candidates.map((column) => element("option", column.title, { value: column.key })));
  }
  colourBy.append(...(COLUMN.architecture && different(COLUMN.architecture) && !candidates.includes(COLUMN.architecture) ? [element("option", "architecture", { value: "architecture" })] : []));
  if (COLUMN.config_alpha && candidates.includes(COLUMN.config_alpha)) colourBy.value = "config_alpha";
  colourBy.addEventListener("change", draw);
  document.addEventListener("taskct-selection", () => {
    if (selected === null) for (const axis of axes) axis.brush = null;
    draw();
  });
  for (const event of ["taskct-filters", "taskct-theme"]) document.addEventListener(event, draw);
  new IntersectionObserver(([entry]) => { inView = entry.isIntersecting; draw(); }, { rootMargin: "300px" }).observe(canvas);
  new ResizeObserver(() => { renderHeads(); draw(); }).observe(canvas);
  const atOnce = () => { renderHeads(); paint(); };
  addEventListener("beforeprint", atOnce); // no frame comes before the paper is taken
  atOnce();
}

{
  const box = document.getElementById("coordinates");
  if (box) whenIdle(box, coordinates);
}
