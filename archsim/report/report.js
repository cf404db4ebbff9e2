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
for (const table of document.querySelectorAll("table.filterable")) {
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
  const rows = [...table.tBodies[0].rows];
  const label = document.createElement("label");
  const field = document.createElement("input");
  const said = document.createElement("output");
  field.type = "search";
  field.placeholder = `words, ${heads[0]}=..., ${heads[1]}>...`;
  label.textContent = "Filter";
  const value = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const test = (term) => {
    const parts = term.match(/^([^<>=]+)(<=|>=|<|>|=)([^<>=]+)$/);
    const place = parts ? heads.indexOf(parts[1]) : -1;
    if (place < 0) return (row) => row.textContent.toLowerCase().includes(term.toLowerCase());
    const wanted = parts[3], number = Number(wanted);
    return (row) => {
      const text = value(row.cells[place]), own = Number(text);
      if (parts[2] === "=") return text === wanted || row.cells[place].textContent.trim() === wanted || (text !== "" && own === number);
      if (text === "" || isNaN(own) || isNaN(number)) return false;
      return parts[2] === "<" ? own < number : parts[2] === ">" ? own > number : parts[2] === "<=" ? own <= number : own >= number;
    };
  };
  const apply = () => {
    const tests = field.value.split(/\s+/).filter(Boolean).map(test);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !tests.every((keeps) => keeps(row));
      shown += row.hidden ? 0 : 1;
    }
    said.value = `${shown} of ${rows.length} rows`;
  };
  field.addEventListener("input", apply);
  label.append(" ", field);
  const bar = document.createElement("p");
  bar.className = "filter";
  bar.append(label, said);
  table.closest(".scroll").before(bar);
  apply();
}
for (const when of ["beforeprint", "afterprint"]) {
  window.addEventListener(when, () => {
    for (const part of document.querySelectorAll("details")) {
      if (when === "beforeprint") { part.dataset.was = part.open ? "open" : ""; part.open = true; }
      else part.open = part.dataset.was === "open";
    }
  });
}
for (const svg of document.querySelectorAll("svg.zoom")) {
  const plot = svg.querySelector("svg.plot");
  const [left, top, width, height] = plot.getAttribute("viewBox").split(" ").map(Number);
  const end = Number(svg.dataset.end);
  const ticks = [...svg.querySelectorAll("g.tick text")];
  const layers = [...plot.querySelectorAll("path")].map((path) => {
    const points = path.getAttribute("d").match(/[\d.]+ [\d.]+/g).map((pair) => pair.split(" ").map(Number));
    const upper = points.slice(0, points.length / 2);
    return { name: path.querySelector("title").textContent, upper, lower: points.slice(points.length / 2).reverse() };
  });
  let [from, to, began] = [0, 1, null];
  const time = (seconds) => {
    if (seconds === 0) return "0";
    const [unit, factor] = seconds >= 1 ? ["s", 1] : seconds >= 1e-3 ? ["ms", 1e3] : ["us", 1e6];
    return `${Number((seconds * factor).toPrecision(to - from < 0.05 ? 6 : 3))} ${unit}`;
  };
  const said = document.createElement("output");
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  cursor.setAttribute("class", "cursor");
  for (const [name, value] of [["y", top], ["height", height], ["width", 0]]) cursor.setAttribute(name, value);
  svg.append(cursor);
  const show = (low, high) => {
    const span = Math.min(1, Math.max(high - low, 1e-4));
    from = Math.min(Math.max(low, 0), 1 - span);
    to = from + span;
    plot.setAttribute("viewBox", `${left + from * width} ${top} ${span * width} ${height}`);
    ticks.forEach((tick, number) => { tick.textContent = time(end * (from + span * number / (ticks.length - 1))); });
    said.value = `${time(end * from)} to ${time(end * to)}`;
  };
  const read = (share) => {
    const x = left + (from + share * (to - from)) * width;
    const height_at = (points) => { let y = points[0][1]; for (const [px, py] of points) { if (px > x) break; y = py; } return y; };
    const shares = layers.map((layer) => `${layer.name} ${(100 * (height_at(layer.lower) - height_at(layer.upper)) / height).toFixed(1)} %`);
    said.value = `${time(end * (from + share * (to - from)))}: ${shares.join("; ")}`;
  };
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width * svg.viewBox.baseVal.width - left) / width;
  };
  const inside = (share) => Math.min(Math.max(share, 0), 1);
  svg.addEventListener("pointerdown", (event) => { began = inside(place(event)); });
  svg.addEventListener("pointermove", (event) => {
    const share = place(event);
    if (began === null && (share < 0 || share > 1)) return;
    const [low, high] = began === null ? [share, share] : [Math.min(began, inside(share)), Math.max(began, inside(share))];
    cursor.setAttribute("x", left + low * width);
    cursor.setAttribute("width", Math.max((high - low) * width, 1));
    read(inside(share));
  });
  svg.addEventListener("pointerup", (event) => {
    const [low, high] = [began ?? 0, inside(place(event))].sort((a, b) => a - b);
    if (began !== null && high - low > 0.01) show(from + low * (to - from), from + high * (to - from));
    began = null;
    cursor.setAttribute("width", 0);
  });
  svg.addEventListener("pointerleave", () => { began = null; cursor.setAttribute("width", 0); });
  svg.addEventListener("dblclick", () => show(0, 1));
  const bar = document.createElement("p");
  bar.className = "zoomer";
  const around = (factor) => { const middle = (from + to) / 2, half = (to - from) * factor / 2; show(middle - half, middle + half); };
  const step = (share) => { const by = (to - from) * share; show(from + by, to + by); };
  for (const [name, act] of [["Zoom in", () => around(0.5)], ["Zoom out", () => around(2)], ["Earlier", () => step(-0.5)],
    ["Later", () => step(0.5)], ["Whole run", () => show(0, 1)]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", act);
    bar.append(button);
  }
  bar.append(said);
  svg.closest("figure").append(bar);
}
