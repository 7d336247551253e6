// Two trials beside each other: images, their difference, masks, learning curves, and what sets them apart.

(() => {
  const box = document.getElementById("side-by-side");
  if (!box) return;
  const [one, other] = box.querySelectorAll("select");
  const results = box.querySelector(".pair-results");
  const answerData = document.getElementById("answer-data");
  const { sources = {}, window: shown = [0, 255], ranges_hu: ranges = [], patients = [] } = answerData ? JSON.parse(answerData.textContent) : {};
  let latest = null; // the pair that was last asked for

  function fill(list, number) {
    list.append(...STORE.trials.map((trial) => element("option", `${TRIALS[trial].title}, ${TRIALS[trial].method}`, { value: trial })));
    list.value = number;
  }

  async function grey(source) {
    const image = element("img", undefined, { src: source });
    await image.decode();
    const canvas = element("canvas", undefined, { width: image.naturalWidth, height: image.naturalHeight });
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, canvas.width, canvas.height);
  }

  async function difference(a, b) {
    const [first, second] = await Promise.all([grey(a), grey(b)]);
    const scale = (shown[1] - shown[0]) / 255;
    const hu = Float32Array.from({ length: first.width * first.height }, (_, i) => scale * (first.data[4 * i] - second.data[4 * i]));
    return { hu, width: first.width, height: first.height };
  }

  // As of the maps of errors: the smallest range that clips no more than a tenth of where the images differ.
  function rangeOf(maps) {
    const sizes = maps.flatMap(({ hu }) => [...hu.map(Math.abs)].filter((size) => size > 0)).sort((p, q) => p - q);
    const limit = sizes[Math.floor(0.9 * (sizes.length - 1))] ?? 0;
    return ranges.find((range) => range >= limit) ?? ranges.at(-1);
  }

  function picture({ hu, width, height }, range) {
    const canvas = element("canvas", undefined, { width, height });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Difference of the two images");
    const made = new ImageData(width, height);
    hu.forEach((value, i) => {
      const share = Math.min(1, Math.abs(value) / range);
      const hue = value > 0 ? [178, 24, 43] : [33, 102, 172];
      made.data.set([...hue.map((channel) => channel + (1 - share) * (255 - channel)), 255], 4 * i);
    });
    canvas.getContext("2d").putImageData(made, 0, 0);
    return canvas;
  }

  function figure(title, words, picture) {
    const made = element("figure");
    const caption = element("figcaption");
    caption.append(element("strong", title), element("span", words, { className: "quiet" }));
    made.append(caption, picture);
    return made;
  }

  async function images(a, b) {
    const grid = element("div", undefined, { className: "pair-images" });
    const cells = [a, b].map((trial) => sources[trial.number]?.cells);
    if (!cells[0] || !cells[1]) return element("p", "Images of both are not kept in the report: it keeps those of the front, of the trials named in the text, and of the first few.", { className: "quiet" });
    const maps = await Promise.all(cells[0].map((cell, row) => difference(cell.grey, cells[1][row].grey)));
    const range = rangeOf(maps);
    for (let row = 0; row < cells[0].length; row++) {
      [a, b].forEach((trial, k) => {
        const cell = cells[k][row];
        grid.append(figure(`${trial.title}, ${patients[row]}`, cell.scores.join(" · "), element("img", undefined, { src: cell.picture, alt: `${trial.title}, ${patients[row]}` })));
      });
      const words = `blue −${range} HU, white 0, red +${range} HU`;
      grid.append(figure(`${a.title} minus ${b.title}`, words, picture(maps[row], range)));
    }
    return grid;
  }

  function table(a, b) {
    const made = element("table");
    const head = element("tr");
    head.append(...["", a.title, b.title].map((text) => element("th", text, { scope: "col" })));
    const rows = COLUMNS.filter((column) => a.text(column) !== b.text(column)).map((column) => {
      const line = element("tr");
      const name = column.split ? `${column.title}, ${column.split}` : column.title;
      line.append(element("th", name, { scope: "row" }), element("td", a.text(column)), element("td", b.text(column)));
      return line;
    });
    const [top, body] = [element("thead"), element("tbody")];
    top.append(head);
    body.append(...rows);
    made.append(top, body);
    const scroll = element("div", undefined, { className: "scroll", tabIndex: 0 });
    scroll.append(made);
    return scroll;
  }

  // The curves of both, taken from the charts of learning curves.
  function curves(a, b) {
    const grid = element("div", undefined, { className: "pair" });
    for (const chart of document.querySelectorAll(".chart[id^='learning_']")) {
      const script = chart.querySelector("script");
      if (!script) continue;
      const { data, layout } = JSON.parse(script.textContent);
      const traces = [a, b].map((trial, k) => {
        const points = data.filter((trace) => trace.mode === "lines").flatMap((trace) =>
          trace.x.map((x, i) => [x, trace.y[i], trace.customdata[i]]).filter(([, , number]) => number === trial.number));
        return { x: points.map(([x]) => x), y: points.map(([, y]) => y), mode: "lines+markers", name: trial.title, marker: { symbol: ["circle", "square"][k] }, line: { dash: ["solid", "dash"][k] } };
      }).filter((trace) => trace.x.length);
      if (!traces.length) continue;
      const plot = element("div", undefined, { className: "plot" });
      grid.append(plot);
      requestAnimationFrame(() => {
        const size = { ...layout, height: 260, showlegend: true };
        Plotly.newPlot(plot, traces, size, { ...CONFIG, displayModeBar: false }).then(() => Plotly.relayout(plot, themed(plot.layout)));
      });
    }
    return grid;
  }

  async function show() {
    const pair = latest = [TRIALS[one.value], TRIALS[other.value]];
    const pictures = await images(...pair);
    if (pair === latest) results.replaceChildren(pictures, table(...pair), curves(...pair)); // else another pair was chosen meanwhile
  }

  for (const list of [one, other]) list.addEventListener("change", show);
  document.addEventListener("taskct-compare", (event) => {
    make(box);
    [one.value, other.value] = event.detail;
    show();
  });
  whenNear(box, () => {
    fill(one, box.dataset.one);
    fill(other, box.dataset.other);
    show();
  });
})();
