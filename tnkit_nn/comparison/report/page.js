"use strict";
/* All figures and statistics are in the page: this pins a family, sorts tables and keeps the switches in the address. */
const $ = (s, of = document) => of.querySelector(s), $$ = (s, of = document) => [...of.querySelectorAll(s)];
const select = $("#family"), readout = $("#readout"), hint = readout.textContent;
const visible = g => g.getClientRects().length > 0;

/* -- one family alone -- */
let pinned = "";
function say(name) {
  const g = name && $$(".plot .fam").find(g => g.dataset.name === name && visible(g));
  if (!g) { readout.textContent = hint; return; }
  const text = $("title", g).textContent, bold = document.createElement("b");
  bold.textContent = name;
  readout.replaceChildren(bold, text.slice(name.length));
}
function pin(name, keep = true) {
  pinned = name;
  select.value = name;
  for (const g of $$(".plot .fam")) { const on = g.dataset.name === name; g.classList.toggle("on", on); g.setAttribute("aria-pressed", on); }
  for (const tr of $$("#rows tbody tr")) tr.classList.toggle("on", !!name && $("th", tr).textContent.trim() === name);
  say(name);
  if (keep) store();
}
for (const g of $$(".plot .fam")) {
  g.setAttribute("aria-pressed", "false");
  g.addEventListener("click", () => pin(pinned === g.dataset.name ? "" : g.dataset.name));
  g.addEventListener("keydown", e => {
    if (e.key === "Enter" || e.key === " ") { e.preventDefault(); pin(pinned === g.dataset.name ? "" : g.dataset.name); }
  });
  for (const [on, off] of [["pointerenter", "pointerleave"], ["focus", "blur"]]) {
    g.addEventListener(on, () => say(g.dataset.name));
    g.addEventListener(off, () => say(pinned));
  }
}
document.addEventListener("keydown", e => { if (e.key === "Escape" && pinned) pin(""); });
select.addEventListener("change", () => pin(select.value));
$("#families").hidden = false;

/* -- switches in the address, so that a setting can be linked to -- */
const NAMES = ["shown", "against", "budget"];
function store() {
  const found = new URLSearchParams(NAMES.map(n => [n, $(`[name=${n}]:checked`)?.value ?? ""]).filter(([, v]) => v));
  if (pinned) found.set("family", pinned);
  try { history.replaceState(null, "", `#${found}`); } catch { /* a page within another has no address */ }
}
function restore() {
  const found = new URLSearchParams(location.hash.slice(1));
  for (const n of NAMES) { const box = $$(`[name=${n}]`).find(b => b.value === found.get(n)); if (box) box.checked = true; }
  const name = found.get("family") ?? "";
  pin([...select.options].some(o => o.value === name) ? name : "", false);
}
addEventListener("hashchange", restore);
document.addEventListener("change", e => { if (NAMES.includes(e.target.name)) { say(pinned); store(); } });
restore();

/* -- tables are sorted by their headers, within their groups -- */
const value = (tr, k) => { const text = tr.cells[k].textContent.trim(), n = parseFloat(text.replace(/,/g, "")); return isNaN(n) ? text : n; };
const order = (x, y) => typeof x === typeof y ? (x > y) - (x < y) : typeof x === "number" ? -1 : 1;
for (const table of $$("table.sorts")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((th, k) => {
    if (!th.textContent.trim()) return;
    if (!$(".sort", th)) { const b = document.createElement("button"); b.type = "button"; b.className = "sort"; b.append(...th.childNodes); th.append(b); }
    $(".sort", th).addEventListener("click", () => {
      const up = th.getAttribute("aria-sort") !== "ascending";
      heads.forEach(h => h.removeAttribute("aria-sort"));
      th.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter(tr => !tr.classList.contains("group"));
        rows.sort((a, b) => order(value(a, k), value(b, k)) * (up ? 1 : -1)).forEach(tr => body.append(tr));
      }
    });
  });
}
