"use strict";
// Filters of the timeline: a row is shown when its kind is checked.
const boxes = document.querySelectorAll("input[data-kind]");
function apply() {
  const shown = new Set([...boxes].filter((box) => box.checked).map((box) => box.dataset.kind));
  for (const row of document.querySelectorAll("tr[data-kind]")) {
    row.hidden = !shown.has(row.dataset.kind);
  }
}
for (const box of boxes) box.addEventListener("change", apply);
