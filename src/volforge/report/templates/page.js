"use strict";
const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
const viewer = document.getElementById("viewer");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const image = button.querySelector("img");
    viewer.querySelector("img").src = image.src;
    viewer.querySelector("img").alt = image.alt;
    viewer.querySelector("p").textContent = image.alt;
    viewer.showModal();
  });
}
viewer.querySelector("button").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th").forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      const text = (row) => row.cells[column].textContent.trim();
      const value = (row) => parseFloat(text(row).replace("∞", "Infinity"));
      const rank = (row) => (/^(–|)($| \()/.test(text(row)) ? 2 : Number.isNaN(value(row)) ? 1 : 0);
      const sign = down ? -1 : 1;
      rows.sort((a, b) => {
        if (rank(a) !== rank(b)) return rank(a) === 2 || rank(b) === 2 ? rank(a) - rank(b) : sign * (rank(a) - rank(b));
        if (rank(a) === 0 && value(a) !== value(b)) return sign * (value(a) - value(b));
        return sign * text(a).localeCompare(text(b), "en", { numeric: true });
      });
      table.tBodies[0].append(...rows);
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  });
}
for (const input of document.querySelectorAll(".filter")) {
  const rows = [...input.parentElement.querySelectorAll("tbody tr")];
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));

// Surfaces to turn: the library's text is compiled when the first of them is opened.
const stage = document.getElementById("stage");
const unpack = (text, kind) => new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const every = (values, start, step) => Array.from({ length: Math.floor(values.length / step) }, (_, i) => values[step * i + start]);
function surface(part, name, side, widest) {
  const v = unpack(part.vertices, Float32Array), f = unpack(part.faces, Uint32Array);
  const trace = {
    type: "mesh3d", name: `${side} ${name}`, showlegend: true, visible: true, hoverinfo: "name",
    x: every(v, 0, 3), y: every(v, 1, 3), z: every(v, 2, 3), i: every(f, 0, 3), j: every(f, 1, 3), k: every(f, 2, 3),
    lighting: { ambient: 0.55, diffuse: 0.7, specular: 0.15, roughness: 0.8 }, flatshading: false,
  };
  const look = { condyle: ["#e69f00", 0.4], barrier: ["#d9d2c5", 0.35] }[name] || ["#56b4e9", 0.15];
  if (!part.width) return { ...trace, color: look[0], opacity: look[1] };
  const width = Array.from(unpack(part.width, Float32Array));
  return {
    ...trace, intensity: width, cmin: 0, cmax: widest, colorscale: "Viridis",
    opacity: 0.9, colorbar: { title: { text: "joint space, mm" }, len: 0.6 },
    text: width.map((w) => `${w.toFixed(1)} mm`), hoverinfo: "name+text",
  };
}
for (const button of document.querySelectorAll(".turn")) {
  button.addEventListener("click", () => {
    if (!window.Plotly) {
      const library = document.createElement("script");
      library.textContent = document.getElementById("plotly").textContent;
      document.head.append(library);
    }
    const view = JSON.parse(button.nextElementSibling.content.textContent);
    const box = stage.querySelector("div"), choice = stage.querySelector("select");
    stage.querySelector("p").textContent = button.dataset.caption;
    choice.replaceChildren(...Object.keys(view.sides).map((side) => new Option(side, side)));
    const show = () => {
      const parts = Object.entries(view.sides[choice.value]);
      const traces = parts.map(([name, part]) => surface(part, name, choice.value, view.widest_mm));
      const axis = (title) => ({ title: { text: title }, showspikes: false });
      window.Plotly.react(box, traces, {
        margin: { l: 0, r: 0, t: 0, b: 0 }, legend: { x: 0, y: 1 }, paper_bgcolor: "white",
        scene: {
          aspectmode: "data", xaxis: axis("right, mm"), yaxis: axis("anterior, mm"), zaxis: axis("superior, mm"),
          camera: { eye: { x: choice.value === "left" ? -1.4 : 1.4, y: 1.1, z: 0.5 } },
        },
      }, { responsive: true, displaylogo: false });
    };
    choice.onchange = show;
    stage.showModal();
    show();
  });
}
if (stage) {
  stage.querySelector("button").addEventListener("click", () => stage.close());
  stage.addEventListener("close", () => window.Plotly && window.Plotly.purge(stage.querySelector("div")));
}
