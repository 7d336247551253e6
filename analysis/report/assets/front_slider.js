// The slider over alpha: moves the ring on the chart of continuous fronts, the image and its mask.

(() => {
  const data = document.getElementById("front-data");
  if (!data) return;
  const sliders = JSON.parse(data.textContent);
  const alpha = document.getElementById("front-alpha");
  const trial = document.getElementById("front-trial");
  const plot = document.querySelector("#continuous_front .plot");

  function show() {
    const front = sliders[trial.value];
    const at = Number(alpha.value);
    const [dice, psnr] = front.labels;
    const scores = `alpha ${front.alphas[at]}: ${dice} ${front.y[at].toFixed(3)}, ${psnr} ${front.x[at].toFixed(2)} dB`;
    document.getElementById("front-scores").textContent = scores;
    alpha.setAttribute("aria-valuetext", scores);
    for (const [id, sources] of [["front-image", front.images], ["front-mask", front.masks]]) {
      const image = document.getElementById(id);
      image.hidden = !sources.length;
      if (sources.length) image.src = sources[at];
    }
    moveRing(front.x[at], front.y[at]);
  }

  function moveRing(x, y) {
    const traces = drawn.get(plot); // as written: a filter puts them back as they are there
    if (!traces) return;
    const ring = traces.findIndex((trace) => trace.meta?.role === "slider");
    Object.assign(traces[ring], { x: [x], y: [y] });
    Plotly.restyle(plot, { x: [[x]], y: [[y]] }, [ring]);
  }

  function choose() {
    const front = sliders[trial.value];
    alpha.max = front.alphas.length - 1;
    alpha.value = Math.min(alpha.value, alpha.max);
    document.getElementById("front-caption").textContent = front.caption;
    document.getElementById("front-validity").textContent = front.validity;
    show();
  }

  alpha.addEventListener("input", show);
  trial.addEventListener("change", choose);
  choose();
  plot?.addEventListener("taskct-drawn", show); // a chart is drawn when it comes into view
})();
