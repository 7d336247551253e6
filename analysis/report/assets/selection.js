// The bar that says what is selected, and how to leave it.

(() => {
  const bar = document.getElementById("selection");
  if (!bar) return;
  const text = bar.querySelector("output");

  document.addEventListener("taskct-selection", () => {
    bar.hidden = selected === null;
    if (selected !== null) text.textContent = `${selected.size} of ${STORE.trials.length} trials selected, in every chart and in the table.`;
  });
  bar.querySelector("[data-clear]").addEventListener("click", () => select(null));
  bar.querySelector("[data-compare]").addEventListener("click", () => {
    const [one, other] = [...selected];
    document.dispatchEvent(new CustomEvent("taskct-compare", { detail: [one, other ?? one] }));
    document.getElementById("side-by-side").scrollIntoView();
  });
})();
