"use strict";
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex;
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)];
      const numbers = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
      return sign * (numbers ? x - y : x < y ? -1 : x > y ? 1 : 0);
    };
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    body.append(...[...body.rows].sort(order));
  });
}
for (const when of ["beforeprint", "afterprint"]) {
  window.addEventListener(when, () => {
    for (const part of document.querySelectorAll("details")) {
      if (when === "beforeprint") { part.dataset.was = part.open ? "open" : ""; part.open = true; }
      else part.open = part.dataset.was === "open";
    }
  });
}
