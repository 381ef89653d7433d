"use strict";
// The page of the explorer.  It looks figures up in the tables of docs/rendering/explorer_tables.py and computes none of the package's.

const NAMES = {
  rows: "Rows", cols: "Columns", digits: "Digits a side", rank: "Rank", depth: "Depth", passes: "Passes", sites: "Sites", dim: "Size of a site",
};
const START = { rows: 256, cols: 256, digits: 3, rank: 4, depth: 3, passes: 1, sites: 8, dim: 2 };
const GROUPS = { weight: "Weights: rows x columns", state: "States: sites" };
const element = (id) => document.getElementById(id);
const state = { family: "mpo", settings: { ...START }, batch: 32 };

// -- what is looked up ------------------------------------------------------------------------------------------------
const family = () => explorer.families[state.family];
const axes = () => Object.entries(family().axes);
const nearest = (values, wanted) => values.reduce((a, b) => (Math.abs(Math.log(b / wanted)) < Math.abs(Math.log(a / wanted)) ? b : a));

function figuresAt(settings) {
  let place = 0;
  for (const [axis, values] of axes()) place = place * values.length + values.indexOf(settings[axis]);
  const [parameters, flops, largest, ...through] = explorer.tables[state.family].map((column) => column[place]);
  return { parameters, flops, largest, through };
}

function entriesOf(settings) {
  return family().kind === "weight" ? settings.rows * settings.cols : settings.dim ** settings.sites;
}

function spelled(settings) {
  return family().call.replace(/\{(\w+)\}/g, (_, name) => {
    const part = explorer.parts[name];
    return part ? part.values[part.of.map((axis) => settings[axis]).join(",")] : settings[name];
  });
}

// -- words ------------------------------------------------------------------------------------------------------------
const exact = (n) => n.toLocaleString("en-US");
function short(n, words = [" trillion", " billion", " million"]) {
  const k = [1e12, 1e9, 1e6].findIndex((size) => n >= size);
  return k < 0 ? exact(n) : (n / [1e12, 1e9, 1e6][k]).toPrecision(3) + words[k];
}
function ratio(entries, parameters) {
  const times = entries / parameters;
  return times >= 100 ? exact(Math.round(times)) : times.toPrecision(3);
}
function shape(settings) {
  return family().kind === "weight" ? `${settings.rows} x ${settings.cols}` : `${settings.sites} sites of size ${settings.dim}`;
}
function withCode(target, text) {
  target.replaceChildren(...text.split("`").map((part, k) => {
    if (k % 2 === 0) return part;
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  }));
}

// -- what is shown ----------------------------------------------------------------------------------------------------
function showSliders() {
  element("family").value = state.family;
  element("sliders").replaceChildren(...axes().map(([axis, values]) => {
    const field = document.createElement("p");
    field.className = "field";
    field.innerHTML = `<label for="${axis}">${NAMES[axis]}</label> <input type="range" id="${axis}" min="0" step="1"> <output for="${axis}"></output>`;
    const slider = field.querySelector("input");
    slider.max = values.length - 1;
    slider.addEventListener("input", () => {
      state.settings[axis] = values[slider.value];
      show();
    });
    return field;
  }));
  element("batch-field").hidden = family().kind !== "weight";
  element("batch").max = explorer.batches.length - 1;
}

function placeSlider(slider, values, value) {
  slider.value = values.indexOf(value);
  slider.setAttribute("aria-valuetext", exact(value));
  slider.parentElement.querySelector("output").textContent = exact(value);
}

function showFigures(found) {
  const entries = entriesOf(state.settings), what = family().kind;
  const rows = [
    ["Parameters", found.parameters, exact(found.parameters)],
    [`Entries of the ${what}`, entries, exact(entries)],
    ["Compression (entries / parameters)", entries / found.parameters, ratio(entries, found.parameters)],
    [`FLOPs that form the ${what}`, found.flops, short(found.flops)],
    ["Largest tensor on the way (entries)", found.largest, exact(found.largest)],
  ];
  if (what === "weight") {
    const at = explorer.batches.indexOf(state.batch), data = explorer.dense[`${state.settings.rows},${state.settings.cols}`][at];
    const ways = [["formed first", found.flops + data], ["through the network", found.through[at] || undefined], ["dense layer", data]];
    const fewest = Math.min(...ways.map(([, flops]) => flops ?? Infinity));
    for (const [way, flops] of ways) {
      const name = `FLOPs of ${exact(state.batch)} ${state.batch === 1 ? "row" : "rows"}: ${way}`;
      rows.push([name, flops ?? "none", flops === undefined ? "not possible" : short(flops), flops === fewest]);
    }
  }
  element("figures").replaceChildren(...rows.flatMap(([name, value, text, fewest]) => {
    const [term, told] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    told.textContent = text;
    told.dataset.exact = value;
    told.classList.toggle("fewest", Boolean(fewest));
    return [term, told];
  }));
  const times = entries / found.parameters;
  const said = times >= 1 ? `${ratio(entries, found.parameters)} times fewer than entries` : "more than entries: no compression";
  element("said").textContent = `${family().builder}, ${shape(state.settings)}: ${exact(found.parameters)} parameters, ${said}.`;
}

function showPicture() {
  const { builder, pictured, drawn } = family();
  element("picture").src = `pictures/${[state.family, ...pictured.map((axis) => state.settings[axis])].join("-")}.svg`;
  const other = Object.entries(drawn).map(([axis, value]) => `${value} ${NAMES[axis].toLowerCase()}`).join(", ");
  const key = "A circle is a tensor, a line an index, a free end an open index, a dot an index of three ends or more, a box an activation.";
  element("picture").alt = `Picture of ${builder}${pictured.map((axis) => `, ${NAMES[axis].toLowerCase()} ${state.settings[axis]}`).join("")}`;
  element("caption").textContent = (other ? `Drawn with ${other}. ` : "") + key;
}

function showAlong() {
  const [axis, values] = axes()[axes().length - 1];
  const heads = [NAMES[axis], "Parameters", "Compression", "FLOPs"];
  element("along-head").textContent = `If only ${NAMES[axis].toLowerCase()} changes`;
  const row = (cells, kind) => {
    const line = document.createElement("tr");
    line.append(...cells.map((text, k) => {
      const cell = document.createElement(kind === "th" || k === 0 ? "th" : "td");
      cell.scope = kind === "th" ? "col" : "row";
      cell.textContent = text;
      return cell;
    }));
    return line;
  };
  element("along").tHead.replaceChildren(row(heads, "th"));
  element("along").tBodies[0].replaceChildren(...values.map((value) => {
    const settings = { ...state.settings, [axis]: value }, found = figuresAt(settings);
    const line = row([exact(value), exact(found.parameters), ratio(entriesOf(settings), found.parameters), short(found.flops, [" T", " G", " M"])], "td");
    if (value === state.settings[axis]) line.setAttribute("aria-current", "true");
    return line;
  }));
}

function show() {
  for (const [axis, values] of axes()) placeSlider(element(axis), values, state.settings[axis]);
  placeSlider(element("batch"), explorer.batches, state.batch);
  showFigures(figuresAt(state.settings));
  showPicture();
  showAlong();
  element("call").textContent = spelled(state.settings);
  for (const words of ["formula", "holds", "limits"]) withCode(element(words), family()[words]);
  element("to-gallery").href = `../gallery.html#${family().anchor}`;
  const told = { family: state.family, ...Object.fromEntries(axes().map(([axis]) => [axis, state.settings[axis]])), batch: state.batch };
  history.replaceState(null, "", `#${new URLSearchParams(told)}`);
}

// -- choices ----------------------------------------------------------------------------------------------------------
function choose(name) {
  state.family = name;
  for (const [axis, values] of axes()) state.settings[axis] = nearest(values, state.settings[axis]);
  showSliders();
  if (explorer.tables[name]) return show();
  const script = document.createElement("script");
  script.src = `tables/${name}.js`;
  script.onload = () => state.family === name && show();
  script.onerror = () => { element("said").textContent = `The table of ${name} is not there.`; };
  document.head.append(script);
}

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const axis of Object.keys(START)) if (Number(given.get(axis)) > 0) state.settings[axis] = Number(given.get(axis));
  if (Number(given.get("batch")) > 0) state.batch = nearest(explorer.batches, Number(given.get("batch")));
  choose(Object.hasOwn(explorer.families, given.get("family") ?? "") ? given.get("family") : state.family);
}

for (const [kind, label] of Object.entries(GROUPS)) {
  const group = document.createElement("optgroup");
  group.label = label;
  for (const [name, one] of Object.entries(explorer.families)) {
    if (one.kind === kind) group.append(new Option(`${one.builder}: ${one.title}`, name));
  }
  element("family").append(group);
}
element("family").addEventListener("change", () => choose(element("family").value));
element("batch").addEventListener("input", () => { state.batch = explorer.batches[element("batch").value]; show(); });
element("choices").addEventListener("submit", (event) => event.preventDefault());
element("copy").addEventListener("click", () => navigator.clipboard?.writeText(element("call").textContent));
element("theme").addEventListener("click", () => {
  const dark = element("theme").textContent === "dark";
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  element("theme").textContent = dark ? "light" : "dark";
});
if (matchMedia("(prefers-color-scheme: dark)").matches) element("theme").textContent = "light";
addEventListener("hashchange", read);
read();
