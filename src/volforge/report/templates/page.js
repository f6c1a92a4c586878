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
