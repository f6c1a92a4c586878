"use strict";
const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// Pictures, long tables and views are kept once, by key, and opened where they are looked at.
const kept = JSON.parse(document.getElementById("kept").textContent);
const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const opened = async (text) => new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
const keptText = (key) => opened(kept[key].slice(3)); // after "gz:"
const addresses = {};
async function addressOf(key) {
  if (!kept[key].startsWith("svg:")) return kept[key];
  addresses[key] ??= opened(kept[key].slice(4)).then((svg) => URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" })));
  return addresses[key];
}
async function show(image) {
  const key = image.dataset.kept;
  if (!key) return;
  delete image.dataset.kept;
  if (kept[key].startsWith("svg:")) image.classList.add("svg");
  image.src = await addressOf(key);
}
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); show(entry.target); }
}, { rootMargin: "800px" });
document.querySelectorAll("img[data-kept]").forEach((image) => seen.observe(image));

const viewer = document.getElementById("viewer");
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", async () => {
    const image = button.querySelector("img"), large = viewer.querySelector("img");
    await show(image);
    large.src = image.src;
    large.alt = image.alt;
    large.className = image.className;
    viewer.querySelector("p").textContent = image.alt;
    viewer.showModal();
  });
}
viewer.querySelector("button").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

// Values sort as numbers, what has none goes last.
const isBlank = (text) => /^(–|)($| \()/.test(text);
const numberOf = (text) => parseFloat(text.replace("∞", "Infinity"));
function compare(a, b, sign) {
  const rank = (text) => (isBlank(text) ? 2 : Number.isNaN(numberOf(text)) ? 1 : 0);
  const ra = rank(a), rb = rank(b);
  if (ra !== rb) return ra === 2 || rb === 2 ? ra - rb : sign * (ra - rb);
  if (ra === 0 && numberOf(a) !== numberOf(b)) return sign * (numberOf(a) - numberOf(b));
  return sign * a.localeCompare(b, "en", { numeric: true });
}

// A long table is an array of rows; those that fit the filter are built, so many at most.
const MOST = 300;
for (const block of document.querySelectorAll(".block")) {
  const table = block.querySelector("table"), body = table.tBodies[0], input = block.querySelector(".filter");
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  let rows = null, order = null;
  const isLong = "rows" in block.dataset;
  const read = async () => { rows ??= JSON.parse(await keptText(block.dataset.rows)); };
  const build = async () => {
    await read();
    const wanted = input ? input.value.toLowerCase() : "";
    const found = wanted ? rows.filter((r) => r.join("\t").toLowerCase().includes(wanted)) : rows;
    if (order) found.sort((a, b) => compare(a[order.column], b[order.column], order.sign));
    body.replaceChildren(...found.slice(0, MOST).map((r) => {
      const line = document.createElement("tr");
      line.append(...r.map((v) => Object.assign(document.createElement("td"), { textContent: v })));
      return line;
    }));
    block.querySelector(".more").textContent =
      found.length > MOST ? `${MOST} of ${found.length} rows; filter or sort to see others` : `${found.length} rows`;
  };
  if (isLong) {
    const holder = block.closest("details");
    if (holder) holder.addEventListener("toggle", () => { if (holder.open && !rows) build(); });
    else build();
  }
  if (input) {
    const lines = [...body.rows];
    const texts = lines.map((line) => line.textContent.toLowerCase());
    input.addEventListener("input", () => {
      if (isLong) return build();
      const wanted = input.value.toLowerCase();
      lines.forEach((line, i) => { line.hidden = !texts[i].includes(wanted); });
    });
  }
  heads.forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      order = { column, sign };
      if (isLong) return build();
      const text = (line) => line.cells[column].textContent.trim();
      body.append(...[...body.rows].sort((a, b) => compare(text(a), text(b), sign)));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}

// A link into a closed part opens it; paper shows what stands on the page, with all pictures of it.
const reveal = () => {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch { /* a percent sign that is none */ }
  const target = name && document.getElementById(name);
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
};
addEventListener("hashchange", reveal);
reveal();
const printed = () => [...document.querySelectorAll("img[data-kept]")].filter((image) => !image.closest("details:not([open])"));
addEventListener("beforeprint", () => printed().forEach(show));
// drawn figures take a moment to open: they are ready before anybody prints
addEventListener("load", () => (window.requestIdleCallback || setTimeout)(async () => {
  for (const image of printed()) if (kept[image.dataset.kept]?.startsWith("svg:")) await show(image);
}));

// Surfaces to turn: the library's text is compiled when the first of them is opened.
const stage = document.getElementById("stage");
const every = (values, start, step) => Array.from({ length: Math.floor(values.length / step) }, (_, i) => values[step * i + start]);
const summed = (values) => { let sum = 0; return values.map((v) => (sum += v)); }; // each number is kept less the one before
function surface(part, name, side, view) {
  const f = summed(part.faces);
  const along = (axis) => summed(every(part.vertices, axis, 3)).map((v) => v * view.step_mm);
  const trace = {
    type: "mesh3d", name: `${side} ${name}`, showlegend: true, visible: true, hoverinfo: "name",
    x: along(0), y: along(1), z: along(2), i: every(f, 0, 3), j: every(f, 1, 3), k: every(f, 2, 3),
    lighting: { ambient: 0.55, diffuse: 0.7, specular: 0.15, roughness: 0.8 }, flatshading: false,
  };
  const look = { condyle: ["#e69f00", 0.4], barrier: ["#d9d2c5", 0.35] }[name] || ["#56b4e9", 0.15];
  if (!part.width) return { ...trace, color: look[0], opacity: look[1] };
  const width = part.width.map((w) => w * view.step_mm);
  return {
    ...trace, intensity: width, cmin: 0, cmax: view.widest_mm, colorscale: "Viridis",
    opacity: 0.9, colorbar: { title: { text: "joint space, mm" }, len: 0.6 },
    text: width.map((w) => `${w.toFixed(1)} mm`), hoverinfo: "name+text",
  };
}
for (const button of document.querySelectorAll(".turn")) {
  button.addEventListener("click", async () => {
    if (!window.Plotly) {
      const library = document.createElement("script");
      library.textContent = await opened(document.getElementById("plotly").textContent);
      document.head.append(library);
    }
    const view = JSON.parse(await keptText(button.dataset.view));
    const box = stage.querySelector("div"), choice = stage.querySelector("select");
    stage.querySelector("p").textContent = button.dataset.caption;
    choice.replaceChildren(...Object.keys(view.sides).map((side) => new Option(side, side)));
    const draw = () => {
      const parts = Object.entries(view.sides[choice.value]);
      const traces = parts.map(([name, part]) => surface(part, name, choice.value, view));
      const axis = (title) => ({ title: { text: title }, showspikes: false });
      window.Plotly.react(box, traces, {
        margin: { l: 0, r: 0, t: 0, b: 0 }, legend: { x: 0, y: 1 }, paper_bgcolor: "white",
        scene: {
          aspectmode: "data", xaxis: axis("right, mm"), yaxis: axis("anterior, mm"), zaxis: axis("superior, mm"),
          camera: { eye: { x: choice.value === "left" ? -1.4 : 1.4, y: 1.1, z: 0.5 } },
        },
      }, { responsive: true, displaylogo: false });
    };
    choice.onchange = draw;
    stage.showModal();
    draw();
  });
}
if (stage) {
  stage.querySelector("button").addEventListener("click", () => stage.close());
  stage.addEventListener("close", () => window.Plotly && window.Plotly.purge(stage.querySelector("div")));
}
