/* Tree, memory and FLOPs: three views of the same steps on one time axis, with one playhead. */

/* Up to so many steps, every joint of the tree has a dot. */
const DOTTED = 300;

/* nodes in the order of the tree, so that its lines do not cross */
function leafOrder(net, track) {
  const children = new Map(track.costs.map((cost, k) => [net.nodes.length + k, cost.of.map(item => item.slot)]));
  const found = [], todo = track.states.at(-1).map(item => item.slot).sort((a, b) => a - b);
  while (todo.length) {
    const slot = todo.pop();
    if (children.has(slot)) todo.push(...[...children.get(slot)].reverse());
    else found.push(slot);
  }
  return { found, children };
}

function treeDrawn(net, track, axes, step, mode) {
  const { found, children } = leafOrder(net, track), { left, mid, classOf, top, rowHeight } = axes;
  const y = new Map(found.map((s, k) => [s, top + rowHeight * (k + .5)])), x = new Map(found.map(s => [s, left - 6]));
  const lit = mode === "watch" ? (track.costs[step]?.of ?? []).map(item => item.slot) : [];
  const every = Math.ceil(10 / rowHeight), size = Math.min(11, Math.max(8, rowHeight - 2));
  const name = s => tag("text", { class: `leaf halo${lit.includes(s) ? " lit" : ""}`, x: left - 11, y: rounded(y.get(s) + 3.5), "text-anchor": "end", style: `font-size:${size}px` }, escaped(axes.leafText(s)));
  const names = on => found.filter((s, k) => lit.includes(s) === on && (on || k % every === 0)).map(name).join("");
  const lines = { "": "", past: "", now: "" };
  let joints = names(false);
  track.costs.forEach((cost, k) => {
    const slot = net.nodes.length + k, own = children.get(slot), px = mid(k), kind = classOf(k);
    const py = own.reduce((t, s) => t + y.get(s), 0) / own.length;
    y.set(slot, py);
    x.set(slot, px);
    lines[kind] += own.map(s => `M${rounded(x.get(s))} ${rounded(y.get(s))}H${rounded(px)}V${rounded(py)}`).join("");
    if (track.costs.length > DOTTED && !cost.fn && kind !== "now") return;
    joints += cost.fn
      ? tag("rect", { class: `joint function ${kind}`, x: rounded(px - 4), y: rounded(py - 4), width: 8, height: 8, transform: `rotate(45 ${rounded(px)} ${rounded(py)})` })
        + tag("text", { class: "function-name halo", x: rounded(px), y: rounded(py - 9) }, escaped(cost.fn))
      : tag("circle", { class: `joint ${kind}`, cx: rounded(px), cy: rounded(py), r: kind === "now" ? 5.5 : Math.min(3.4, axes.stepWidth) });
  });
  if (mode === "play") for (const item of track.states.at(-1)) lines[""] += `M${rounded(x.get(item.slot))} ${rounded(y.get(item.slot))}H${rounded(Math.max(x.get(item.slot), axes.at(track.costs.length)))}`;
  const style = rowHeight < 4 ? `stroke-width:${Math.max(.25, rowHeight * .4)}px` : undefined; // so that many lines stay lines
  const drawn = Object.entries(lines).map(([kind, d]) => d && tag("path", { class: `branch ${kind}`, d, style: kind === "now" ? undefined : style }));
  return drawn.join("") + joints + names(true);
}

/* a staircase: what is alive while each step runs */
const stairs = (costs, at, y) => costs.map((cost, k) => `${k ? "L" : "M"}${rounded(at(k))} ${rounded(y(cost.live))}H${rounded(at(k + 1))}`).join("");

function memoryDrawn(net, track, axes, rival, mode) {
  const { left, right, width, at, mid } = axes, top = axes.memoryTop, height = 84, base = top + height;
  const most = Math.max(track.peak, net.given * 1.3, rival ? rival.peak : 0), y = v => top + height * (1 - v / most);
  let out = tag("text", { class: "title", x: 0, y: top - 24 }, "Memory while a step runs"), n = track.costs.length;
  if (n) {
    const k = track.costs.reduce((b, cost, j) => cost.live > track.costs[b].live ? j : b, 0), late = mid(k) > width * .6;
    out += tag("path", { class: "memory", d: `${stairs(track.costs, at, y)}V${base}H${at(0)}Z` })
      + tag("rect", { class: "floor", x: at(0), y: rounded(y(net.given)), width: rounded(at(n) - at(0)), height: rounded(base - y(net.given)) })
      + tag("path", { class: "memory-line", d: stairs(track.costs, at, y) })
      + tag("circle", { class: "peak", cx: rounded(mid(k)), cy: rounded(y(track.costs[k].live)), r: 4.5 })
      + tag("text", { class: "peak halo", x: rounded(mid(k) + (late ? -9 : 9)), y: rounded(y(track.costs[k].live) - 6), "text-anchor": late ? "end" : "start" }, `peak ${bytesText(track.peak)}`);
  }
  if (rival) {
    out += tag("path", { class: "rival-line", d: stairs(rival.costs, at, y) });
    if (mode === "play") out += tag("text", { class: "halo", x: width - right, y: rounded(Math.max(top - 4, y(rival.costs.at(-1)?.live ?? 0) - 6)), "text-anchor": "end" }, "best order");
  }
  return out + tag("text", { x: left - 11, y: rounded(Math.min(y(net.given) + 4, base)), "text-anchor": "end" }, "inputs")
    + tag("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base });
}

function flopsDrawn(track, axes, step, mode) {
  const { left, right, width, mid, classOf, steps } = axes, top = axes.flopsTop, height = 74, base = top + height;
  const most = Math.max(...track.costs.map(cost => cost.flops), 1), bar = Math.max(.6, axes.stepWidth - Math.min(3, axes.stepWidth / 3));
  let out = tag("text", { class: "title", x: 0, y: top - 24 }, "FLOPs of each step");
  const bars = { "": "", past: "", now: "" };
  track.costs.forEach((cost, k) => {
    const h = Math.max(1.5, height * cost.flops / most);
    bars[classOf(k)] += `M${rounded(mid(k) - bar / 2)} ${base}v${rounded(-h)}h${bar.toFixed(2)}v${rounded(h)}z`;
  });
  out += Object.entries(bars).map(([kind, d]) => d && tag("path", { class: `bar ${kind}`, d })).join("");
  const hot = mode === "watch" && step < track.costs.length ? step : track.costs.reduce((b, cost, j) => cost.flops > track.costs[b].flops ? j : b, 0);
  if (track.costs[hot]) {
    const side = mid(hot) < left + 40 ? "start" : mid(hot) > width - right - 40 ? "end" : "middle";
    out += tag("text", { class: "halo", x: rounded(mid(hot)), y: rounded(base - height * track.costs[hot].flops / most - 6), "text-anchor": side, style: "font-weight:650;fill:var(--ink)" }, short(track.costs[hot].flops));
  }
  out += tag("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base });
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find(n => n * axes.stepWidth >= 26) ?? 2000;
  for (let k = 0; k < steps; k++) if (k === 0 || (k + 1) % every === 0) out += tag("text", { x: rounded(mid(k)), y: base + 15, "text-anchor": "middle" }, k + 1);
  return out + tag("text", { x: left - 11, y: base + 15, "text-anchor": "end" }, "step");
}

/* the three of them, and where a click lands */
function timelineOf(net, track, rival, step, steps, mode, width) {
  const leaves = net.nodes.length, rowHeight = leaves > 60 ? 560 / leaves : Math.min(16, Math.max(9.3, 300 / leaves));
  const names = net.nodes.map(node => node.label), longest = Math.max(...names.map(name => name.length));
  const left = 66, right = 10, stepWidth = (width - left - right) / Math.max(steps, 1), top = 22;
  const at = k => left + stepWidth * k, memoryTop = top + rowHeight * leaves + 50, flopsTop = memoryTop + 84 + 52;
  const axes = {
    left, right, width, at, mid: k => at(k + .5), steps, stepWidth, top, rowHeight, memoryTop, flopsTop,
    classOf: k => mode === "play" ? "past" : k < step ? "past" : k === step ? "now" : "",
    leafText: s => longest > 8 ? names[s].slice(0, 8) : names[s],
  };
  const height = flopsTop + 74 + 24;
  const head = mode === "watch" && step < track.costs.length ? tag("line", { class: "playhead", x1: rounded(axes.mid(step)), x2: rounded(axes.mid(step)), y1: top - 2, y2: flopsTop + 74 }) : "";
  const inside = tag("text", { class: "title", x: 0, y: 12 }, "Contraction tree") + head
    + treeDrawn(net, track, axes, step, mode) + memoryDrawn(net, track, axes, rival, mode) + flopsDrawn(track, axes, step, mode);
  const label = `Contraction tree, memory and FLOPs over ${steps} steps: peak ${bytesText(track.peak)}, ${flopsText(track.total)} in all`;
  const svg = tag("svg", { class: mode === "watch" ? "watched" : "", viewBox: `0 0 ${width} ${rounded(height)}`, height: rounded(height), role: "img", "aria-label": label }, inside);
  return { svg, stepAt: x => Math.floor((x - left) / stepWidth) };
}
