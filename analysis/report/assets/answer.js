// The first screen: moving over a point of the front puts its images in the last column; pressing keeps them there.

(() => {
  const data = document.getElementById("answer-data");
  if (!data) return;
  const { sources, start } = JSON.parse(data.textContent);
  const box = document.querySelector(".answer-images");
  const plot = document.querySelector("#answer .plot");
  const choice = document.getElementById("answer-trial");
  const columns = [...box.querySelectorAll("figure.chosen")];

  function show(number) {
    const source = sources[number];
    columns.forEach((figure, row) => {
      const cell = source?.cells[row];
      const name = number === start ? "Recommended" : source?.name ?? `trial ${number}`;
      figure.querySelector("strong").textContent = name;
      figure.querySelector(".quiet").textContent = cell ? scores(cell.scores) : "its images are not kept";
      const image = figure.querySelector("img");
      image.style.visibility = cell ? "visible" : "hidden";
      if (cell) Object.assign(image, { src: cell.picture, alt: name });
    });
  }

  const scores = (texts) => texts.map((text, i) => (i ? text.replace("Dice ", "") : text)).join(" · ");
  const chosen = () => Number(choice.value);
  const pointed = (event) => event.points[0].customdata;

  choice.addEventListener("change", () => show(chosen()));
  for (const button of box.querySelectorAll("[data-row]")) {
    button.addEventListener("click", () => {
      box.dataset.shown = button.dataset.row;
      for (const other of box.querySelectorAll("[data-row]")) other.setAttribute("aria-pressed", other === button);
    });
  }
  plot?.addEventListener("taskct-drawn", () => {
    plot.on("plotly_hover", (event) => { if (pointed(event) !== undefined) show(pointed(event)); });
    plot.on("plotly_click", (event) => {
      if (!sources[pointed(event)]) return;
      choice.value = pointed(event);
      show(chosen());
    });
    plot.addEventListener("mouseleave", () => show(chosen()));
  });
})();
