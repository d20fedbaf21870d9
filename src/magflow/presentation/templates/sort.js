// Orders the rows of a table by the column whose head is clicked: up, down, and as they stood.
"use strict";
{
  const SECONDS = { ms: 1e-3, s: 1, min: 60, h: 3600, d: 86400 };
  const FIRST_NUMBER = /([-+\u2212]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?: (ms|s|min|h|d)$)?/i;
  const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
  const collator = new Intl.Collator("en", { numeric: true });
  const chosen = new Map(); // what the reader has asked for, by the key of the table: a renewed page keeps it
  let focused; // the head that has the focus while the page is renewed: key of its table, column

  // Of a cell: 12.3, 12.3 ± 0.4, (+2 %), 5 to 9, 3 min. NaN where there is none.
  function quantity(text) {
    const found = FIRST_NUMBER.exec(text);
    return found ? Number(found[1].replace("\u2212", "-")) * (SECONDS[found[2]] ?? 1) : NaN;
  }

  // Rows without a value come last, whichever way the others are ordered.
  function compared(a, b, sign) {
    if (a.missing || b.missing) return a.missing - b.missing || a.place - b.place;
    const order = a.value === undefined ? collator.compare(a.text, b.text) : a.value - b.value;
    return sign * order || a.place - b.place;
  }

  function keyed(row, place, column, numeric) {
    const text = row.cells[column].textContent.trim();
    const value = numeric ? quantity(text) : undefined;
    return { row, place, text, value, missing: Number(numeric ? Number.isNaN(value) : text === "" || text === "–") };
  }

  function order(table, { column, direction }) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    let rows = table.asWritten;
    if (direction !== "none") {
      heads[column].setAttribute("aria-sort", direction);
      const numeric = heads[column].classList.contains("num");
      const sign = direction === "ascending" ? 1 : -1;
      const keys = rows.map((row, place) => keyed(row, place, column, numeric));
      rows = keys.sort((a, b) => compared(a, b, sign)).map((key) => key.row);
    }
    table.tBodies[0].append(...rows);
  }

  function press(table, column) {
    const before = table.tHead.rows[0].cells[column].getAttribute("aria-sort") ?? "none";
    const wish = { column, direction: NEXT[before] };
    chosen.set(table.sortKey, wish);
    order(table, wish);
  }

  function prepare(table) {
    table.asWritten = Array.from(table.tBodies[0].rows);
    Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
      if (head.textContent.trim() === "") return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => press(table, column));
      head.append(button);
    });
    if (chosen.has(table.sortKey)) order(table, chosen.get(table.sortKey));
    if (focused?.key === table.sortKey) table.tHead.rows[0].cells[focused.column].querySelector("button").focus();
  }

  // Tables are known again after a renewal by their section, their heads, and their turn among those alike.
  function prepareAll() {
    const seen = new Map();
    for (const table of document.querySelectorAll("main table")) {
      if (!table.tHead || table.tBodies[0].rows.length < 2) continue;
      const name = `${table.closest("section[id]")?.id} ${table.tHead.textContent}`;
      seen.set(name, (seen.get(name) ?? 0) + 1);
      table.sortKey = `${name} ${seen.get(name)}`;
      prepare(table);
    }
  }

  function rememberFocus() {
    const head = document.activeElement?.closest("thead th");
    focused = head && { key: head.closest("table").sortKey, column: head.cellIndex };
  }

  document.addEventListener("renewing", rememberFocus);
  document.addEventListener("renewed", prepareAll);
  prepareAll();
}
