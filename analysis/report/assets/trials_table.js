// The table of all trials: sorted by any column, filtered with the charts, its rows made as they are asked for.

(() => {
  const table = document.getElementById("trials-table");
  if (!table) return;
  const columns = COLUMNS.filter((column) => column.inTable);
  const more = document.getElementById("more-trials");
  const ROWS = 200;
  let shown = ROWS;
  let order = { column: -1, descending: false }; // -1: the trial's number

  const sortKey = (trial) => (order.column < 0 ? trial.number : columns[order.column].values[trial.row]);

  function compared(one, other) {
    const [a, b] = [sortKey(one), sortKey(other)];
    if (a === null || b === null) return (a === null) - (b === null); // the empty ones last
    const both = typeof a === "number" && typeof b === "number";
    return (both ? a - b : String(a).localeCompare(String(b))) * (order.descending ? -1 : 1);
  }

  function row(trial) {
    const line = element("tr");
    line.dataset.trial = trial.number;
    const name = element("th", undefined, { scope: "row" });
    const button = element("button", String(trial.number), { type: "button" });
    button.dataset.open = trial.number;
    name.append(button, FRONT.has(trial.number) ? " ●" : "");
    line.append(name);
    for (const column of columns) {
      const cell = element("td", trial.text(column));
      cell.dataset.sort = column.values[trial.row] ?? "";
      line.append(cell);
    }
    return line;
  }

  function render() {
    if (waiting.has(table)) return;
    const trials = Object.values(TRIALS).filter((trial) => isShown(trial.number) && isSelected(trial.number));
    if (order.column >= -1) trials.sort(compared);
    table.tBodies[0].replaceChildren(...trials.slice(0, shown).map(row));
    more.hidden = trials.length <= shown;
    more.textContent = `Show ${Math.min(ROWS, trials.length - shown)} more of ${trials.length} trials`;
  }

  function sort(column, descending) {
    order = { column, descending };
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      if (place === column + 1) cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    render();
  }

  const heads = ["trial", ...columns.map((column) => column.title)].map((title, place) => {
    const cell = element("th", undefined, { scope: "col" });
    const button = element("button", title, { type: "button" });
    button.addEventListener("click", () => sort(place - 1, cell.getAttribute("aria-sort") === "ascending"));
    cell.append(button);
    return cell;
  });
  table.tHead.rows[0].replaceChildren(...heads);
  more.addEventListener("click", () => { shown += ROWS; render(); });
  for (const event of ["taskct-selection", "taskct-filters"]) document.addEventListener(event, render);
  table.addEventListener("taskct-sort", (event) => sort(event.detail.column, event.detail.descending));
  whenIdle(table, render);
})();
