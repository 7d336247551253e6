// A table beside each chart, for readers who cannot see it: made from the chart's own data when it is opened.

(() => {
  const MOST_ROWS = 1000;

  // What a position on an axis stands for; see analysis/axis_scales.py.
  function valueAt(position, scale) {
    if (!scale || typeof position !== "number") return position;
    if (scale.kind === "log") return 10 ** position;
    if (scale.kind !== "logit") return position;
    const logit = (p) => Math.log(p / (1 - p));
    if (position < logit(scale.low) - 1e-6) return 0;
    if (position > logit(scale.high) + 1e-6) return 1;
    return 1 / (1 + Math.exp(-position));
  }

  const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : value ?? "");
  const plain = (text) => String(text ?? "").replace(/<br ?\/?>/gi, ", ").replace(/<\/?b>/gi, "").replaceAll("&lt;", "<").trim();
  const title = (axis, other) => plain(axis?.title?.text) || other;

  function rowsOf(trace, layout) {
    const ticks = layout.yaxis?.ticktext && layout.yaxis?.tickvals;
    const named = (y) => {
      const place = ticks ? ticks.findIndex((at) => Math.abs(at - y) < 0.5) : -1;
      return place < 0 ? number(y) : layout.yaxis.ticktext[place];
    };
    return (trace.x ?? []).flatMap((x, i) => {
      const y = trace.y?.[i];
      if (x === null || y === null || y === undefined) return [];
      const trial = trace.customdata?.[i] ?? trace.customdata?.[0];
      const label = trial >= 0 && TRIALS[trial] ? `trial ${trial}` : plain(Array.isArray(trace.text) ? trace.text[i] : "");
      return [[plain(trace.name), label, plain(number(valueAt(x, layout.meta?.x_scale))), plain(named(y))]];
    });
  }

  function fill(details, script) {
    const { data, layout } = JSON.parse(script.textContent);
    const rows = data.filter((trace) => trace.fill !== "toself" && !["labels", "ring", "slider"].includes(trace.meta?.role))
      .flatMap((trace) => rowsOf(trace, layout));
    const table = element("table");
    const head = element("thead");
    const line = (texts, tag) => {
      const made = element("tr");
      made.append(...texts.map((text) => element(tag, text)));
      return made;
    };
    head.append(line(["series", "point", title(layout.xaxis, "horizontal"), title(layout.yaxis, "vertical")], "th"));
    const body = element("tbody");
    body.append(...rows.slice(0, MOST_ROWS).map((texts) => line(texts, "td")));
    table.append(head, body);
    const scroll = element("div", undefined, { className: "scroll", tabIndex: 0 });
    scroll.append(table);
    details.append(scroll);
    if (rows.length > MOST_ROWS) details.append(element("p", `The first ${MOST_ROWS} of ${rows.length} rows; all trials are in the table below.`));
  }

  for (const details of document.querySelectorAll("details.chart-table")) {
    const script = details.closest(".chart").querySelector("script[type='application/json']");
    details.addEventListener("toggle", () => fill(details, script), { once: true });
  }
})();
