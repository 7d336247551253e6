// Learning curves of the best trials alone: choosing how many selects them, here and everywhere.

(() => {
  const box = document.getElementById("top-curves");
  if (!box || !STORE.objectives.length || !COLUMN[STORE.objectives[0]]) return;
  const list = box.querySelector("select");
  const objectives = STORE.objectives.map((key) => COLUMN[key]).filter(Boolean);
  const counts = [5, 10, 20].filter((count) => count < STORE.trials.length);
  box.hidden = false;
  list.append(element("option", "all trials drawn", { value: "" }));
  for (const column of objectives) {
    list.append(...counts.map((count) => element("option", `the best ${count} by ${column.title.split(" (")[0]}`, { value: `${count} ${column.key}` })));
  }
  list.append(element("option", "the front", { value: "front" }));

  function best(count, column) {
    const sign = STORE.directions[column.key] === "minimize" ? 1 : -1;
    const scored = Object.values(TRIALS).filter((trial) => trial.isComplete && typeof column.values[trial.row] === "number");
    return scored.sort((a, b) => sign * (column.values[a.row] - column.values[b.row])).slice(0, count).map((trial) => trial.number);
  }

  list.addEventListener("change", () => {
    if (list.value === "") return select(null);
    if (list.value === "front") return select(STORE.front);
    const [count, key] = list.value.split(" ");
    return select(best(Number(count), COLUMN[key]));
  });
  document.addEventListener("taskct-selection", () => { if (selected === null) list.value = ""; });
})();
