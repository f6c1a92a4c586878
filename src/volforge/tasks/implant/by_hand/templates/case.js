"use strict";
const root = document.documentElement;
const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
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

const library = document.createElement("script");
library.textContent = document.getElementById("plotly").textContent;
document.head.append(library);
const unpack = (text, kind) => new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const every = (values, start) => Array.from({ length: values.length / 3 }, (_, i) => values[3 * i + start]);
const view = JSON.parse(document.getElementById("view").textContent);
const box = document.getElementById("turned"), colour = document.getElementById("colour");
const opacity = document.getElementById("opacity"), meaning = document.getElementById("meaning");
const parts = view.surfaces.map((part) => {
  const v = unpack(part.vertices, Float32Array), f = unpack(part.faces, Uint32Array);
  const maps = Object.fromEntries(Object.entries(part.maps).map(([k, text]) => [k, Array.from(unpack(text, Float32Array))]));
  return { name: part.name, middle: part.middle, maps, x: every(v, 0), y: every(v, 1), z: every(v, 2), i: every(f, 0), j: every(f, 1), k: every(f, 2) };
});
const light = { ambient: 0.45, diffuse: 0.75, specular: 0.12, roughness: 0.85, fresnel: 0.05 };
// Values that are not known are drawn grey: half a step of the scale below its least value.
const scaleOf = (map) => {
  const stops = { Viridis: ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"], Plasma: ["#0d0887", "#7e03a8", "#cc4778", "#f89540", "#f0f921"], RdBu: ["#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b"] }[map.scale];
  const step = 0.04, shown = stops.map((c, n) => [step + (1 - step) * n / (stops.length - 1), c]);
  return { low: map.low - step / (1 - step) * (map.high - map.low), scale: [[0, "#b8b8b8"], [step * 0.98, "#b8b8b8"], ...shown] };
};
const ends = (key) => { // not Math.min(...values): that many arguments are too many
  let low = Infinity, high = -Infinity;
  for (const part of parts) for (const v of part[key]) { if (v < low) low = v; if (v > high) high = v; }
  return [low, high];
};
const ranges = [ends("x"), ends("y"), ends("z")];
const centre = ranges.map(([low, high]) => (low + high) / 2);
const way = (() => { // out of the head, through the first implant
  const found = parts[1] ? parts[1].middle.map((v, n) => v - centre[n]) : [1, 1, 0.3], length = Math.hypot(...found) || 1;
  return found.map((v) => v / length);
})();
const half = (() => { // the faces of the skull about the implant: what is seen from inside
  const part = parts[0], near = part.x.map((x, n) => (x - centre[0]) * way[0] + (part.y[n] - centre[1]) * way[1] + (part.z[n] - centre[2]) * way[2] > 0);
  const kept = part.i.map((i, n) => near[i] && near[part.j[n]] && near[part.k[n]]);
  return Object.fromEntries(["i", "j", "k"].map((key) => [key, part[key].filter((_, n) => kept[n])]));
})();
let isHalf = false;
function traces() {
  const chosen = colour.value, lamp = { x: 1e4 * camera.eye.x, y: 1e4 * camera.eye.y, z: 1e4 * (camera.eye.z + 0.6) };
  return parts.map((part, n) => {
    const trace = {
      type: "mesh3d", name: part.name, hoverinfo: "name", flatshading: false, lighting: light, lightposition: lamp,
      x: part.x, y: part.y, z: part.z, i: part.i, j: part.j, k: part.k, showscale: false,
    };
    if (n === 0) return { ...trace, ...(isHalf ? half : {}), color: "#d9d2c5", opacity: Number(opacity.value) / 100, visible: Number(opacity.value) > 0 };
    const values = part.maps[chosen];
    if (!chosen || !values) return { ...trace, color: "#e69f00" };
    const map = view.maps[chosen], { low, scale } = scaleOf(map);
    const ink = getComputedStyle(root).getPropertyValue("--ink");
    return {
      ...trace, intensity: values.map((v) => Number.isNaN(v) ? low : Math.min(Math.max(v, map.low), map.high)), cmin: low, cmax: map.high,
      colorscale: scale, showscale: n === 1, colorbar: { title: { text: map.title, font: { color: ink } }, tickfont: { color: ink }, len: 0.6, thickness: 14, x: 1 },
      text: values.map((v) => Number.isNaN(v) ? "not known" : `${v.toFixed(2)} mm`), hoverinfo: "name+text",
    };
  });
}
const lookOf = { front: [0, 1, 0.15], right: [1, 0, 0.15], left: [-1, 0, 0.15], behind: [0, -1, 0.15], above: [0, 0.05, 1] };
function eye(name) {
  const chosen = name === "outside" ? way : name === "inside" ? way.map((v) => -v) : lookOf[name];
  const size = Math.hypot(...chosen), far = 1.5;
  return { eye: { x: far * chosen[0] / size, y: far * chosen[1] / size, z: far * chosen[2] / size }, up: { x: 0, y: 0, z: 1 } };
}
function layout(camera) {
  const soft = getComputedStyle(root).getPropertyValue("--soft"), line = getComputedStyle(root).getPropertyValue("--line");
  const axis = (title) => ({ title: { text: title, font: { color: soft, size: 11 } }, tickfont: { color: soft, size: 10 }, gridcolor: line, zerolinecolor: line, showbackground: false, showspikes: false, nticks: 5 });
  return {
    margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", uirevision: "kept",
    scene: { aspectmode: "data", xaxis: axis("right"), yaxis: axis("front"), zaxis: axis("up"), ...(camera ? { camera } : {}) },
  };
}
let camera = eye("outside");
const draw = () => {
  meaning.textContent = colour.selectedOptions[0].dataset.meaning || "";
  return window.Plotly.react(box, traces(), layout(camera), { responsive: true, displaylogo: false });
};
const drawn = draw();
Promise.resolve(drawn).then(() => {
  box.on("plotly_relayout", (change) => { if (change["scene.camera"]) camera = change["scene.camera"]; });
  box.dataset.ready = "1";
});
colour.addEventListener("change", draw);
opacity.addEventListener("change", draw);
for (const button of document.querySelectorAll(".look")) {
  button.addEventListener("click", () => {
    camera = eye(button.dataset.look);
    isHalf = button.dataset.look === "inside";
    window.Plotly.relayout(box, { "scene.camera": camera });
    draw();
  });
}
document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; draw(); });
