/* The picture of the tensors that are left: where they stand, their bonds, barriers and names. */

const rounded = x => x.toFixed(1);
function tag(name, attributes = {}, inner = "") {
  const written = Object.entries(attributes).filter(([, v]) => v !== undefined && v !== false).map(([k, v]) => ` ${k}="${escaped(v)}"`);
  return `<${name}${written.join("")}>${inner}</${name}>`;
}

/* From so many tensors on, nothing is pushed apart, nothing moves, and names are left out. */
const MANY = 160;

/* the scale of a network in a box of this width */
function framed(net, width) {
  const xs = net.nodes.map(n => n.at[0]).concat(net.boxes.flatMap(b => [b.at[0], b.at[2]]));
  const ys = net.nodes.map(n => n.at[1]).concat(net.boxes.flatMap(b => [b.at[1], b.at[3]]));
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const small = width < 500, side = small ? 30 : 52, edge = small ? 40 : 48, most = small ? 380 : 440;
  const unit = Math.min((width - 2 * side) / Math.max(right - left, 1), (most - 2 * edge) / Math.max(bottom - top, 1), 96);
  const height = Math.max(small ? 190 : 260, Math.min(most, (bottom - top) * unit + 2 * edge));
  const origin = [width / 2 - unit * (right + left) / 2, height / 2 - unit * (bottom + top) / 2];
  return { width, height, unit, place: at => at.map((c, d) => origin[d] + unit * c) };
}

function radiusOf(net, frame, item) {
  const grown = item.slot < net.nodes.length ? 0 : Math.max(0, 1.5 * Math.log2(Math.max(item.size, 1) / 8));
  return Math.min(Math.max(2, frame.unit * .36), Math.min(1, .32 + frame.unit / 95) * 15) + Math.min(grown, 14);
}

/* A merged tensor stands at the middle of its nodes; what would overlap is pushed apart, the same way every time. */
function spotsOf(net, frame, items) {
  const spots = items.map(item => {
    const at = item.leaves.map(k => frame.place(net.nodes[k].at)), n = at.length;
    return { x: at.reduce((t, p) => t + p[0], 0) / n, y: at.reduce((t, p) => t + p[1], 0) / n, r: radiusOf(net, frame, item), n };
  });
  for (let turn = 0; turn < 120 && items.length <= MANY; turn++) {
    let moved = false;
    for (let a = 0; a < spots.length; a++) for (let b = a + 1; b < spots.length; b++) {
      const p = spots[a], q = spots[b], n = p.n + q.n;
      if (n < 3) continue;
      const dx = q.x - p.x || .01, dy = q.y - p.y || .02, d = Math.hypot(dx, dy), want = p.r + q.r + 13;
      if (d >= want) continue;
      const push = (want - d) / d / n; // the larger one gives way less
      p.x -= dx * push * q.n; p.y -= dy * push * q.n; q.x += dx * push * p.n; q.y += dy * push * p.n;
      moved = true;
    }
    for (const s of spots) {
      s.x = Math.max(s.r + 5, Math.min(frame.width - s.r - 5, s.x));
      s.y = Math.max(s.r + 5, Math.min(frame.height - s.r - 5, s.y));
    }
    if (!moved) break;
  }
  return new Map(items.map((item, k) => [item.slot, spots[k]]));
}

/* a straight line, or a curve around the tensors that stand in its way */
function bowed(a, b, others) {
  const dx = b.x - a.x, dy = b.y - a.y, length = Math.hypot(dx, dy) || 1, nx = -dy / length, ny = dx / length;
  const clear = h => Math.min(20, ...others.flatMap(o => [.15, .3, .4, .5, .6, .7, .85].map(t => {
    const bend = h * 2 * t * (1 - t);
    return Math.hypot(a.x + dx * t + nx * bend - o.x, a.y + dy * t + ny * bend - o.y) - o.r - 4;
  })));
  const h = clear(0) >= 0 ? 0 : [36, -36, 64, -64, 96, -96, 130, -130].find(x => clear(x) >= 0) ?? 0;
  const middle = h ? `Q${rounded((a.x + b.x) / 2 + nx * h)} ${rounded((a.y + b.y) / 2 + ny * h)} ` : "L";
  return `M${rounded(a.x)} ${rounded(a.y)}${middle}${rounded(b.x)} ${rounded(b.y)}`;
}

/* which items have an index */
function holdersOf(items) {
  const holders = new Map();
  for (const item of items) for (const i of item.inds) holders.set(i, [...(holders.get(i) || []), item]);
  return holders;
}

function bondsDrawn(net, items, spots, lit) {
  const pair = lit && !lit.fn ? lit.of.map(item => item.slot) : [], many = items.length > MANY;
  const groups = new Map();
  let plain = "", summed = "";
  for (const [i, held] of holdersOf(items)) {
    const open = net.output.includes(i), own = new Set(held.map(item => item.slot));
    if (own.size === 2 && !open) {
      const key = [...own].sort((a, b) => a - b).join();
      groups.set(key, [...(groups.get(key) || []), i]);
    } else if (own.size > 1) { // a hyperedge: a dot between its ends
      const ends = [...own].map(s => spots.get(s)), x = ends.reduce((t, p) => t + p.x, 0) / ends.length, y = ends.reduce((t, p) => t + p.y, 0) / ends.length;
      const kind = lit && lit.summed.includes(i) && held.every(item => pair.includes(item.slot)) ? "bond summed" : "bond";
      plain += ends.map(p => tag("line", { class: kind, x1: rounded(x), y1: rounded(y), x2: rounded(p.x), y2: rounded(p.y), "stroke-width": 2.2 })).join("");
      plain += tag("circle", { class: "dot", cx: rounded(x), cy: rounded(y), r: many ? 2 : 4 });
    }
  }
  for (const [key, inds] of groups) {
    const ends = key.split(",").map(Number), [a, b] = ends.map(s => spots.get(s));
    const ending = ends.every(s => pair.includes(s)) ? inds.filter(i => lit.summed.includes(i)) : [];
    const others = many ? [] : [...spots].filter(([s]) => !ends.includes(s)).map(([, p]) => p);
    const thickness = some => 1.3 + (many ? .3 : 1.05) * Math.log2(product(some, net.sizes)), d = bowed(a, b, others);
    plain += tag("path", { class: "bond", d, "stroke-width": rounded(Math.min(thickness(inds), 12)) });
    if (ending.length) summed += tag("path", { class: "bond summed", d, "stroke-width": rounded(Math.min(thickness(ending) + 4, 16)) });
  }
  return plain + legsDrawn(net, items, spots) + summed;
}

/* open indices, fanned out where the network's legs point */
function legsDrawn(net, items, spots) {
  return items.map(item => {
    const open = [...new Set(item.inds)].filter(i => net.output.includes(i)), s = spots.get(item.slot);
    const aims = item.leaves.map(k => net.nodes[k].aim).filter(Boolean), aim = aims[0] || [0, 1], both = !aim[0] && !aim[1];
    return open.map((i, k) => {
      const [ux, uy] = both ? [0, k ? 1 : -1] : aim; // of an operator: the first up, the others down
      const turn = (k - (open.length - 1) / 2) * Math.min(.42, 2.2 / open.length), c = Math.cos(turn), n = Math.sin(turn);
      const dx = ux * c - uy * n, dy = ux * n + uy * c, far = s.r + Math.min(15, 6 + s.r);
      return tag("line", { class: "bond", x1: rounded(s.x), y1: rounded(s.y), x2: rounded(s.x + dx * far), y2: rounded(s.y + dy * far), "stroke-width": rounded(1.3 + .8 * Math.log2(net.sizes[i])) });
    }).join("");
  }).join("");
}

/* whether a region is another one, or inside it */
const within = (net, region, of) => { for (; region > 0; region = net.regions[region].parent) if (region === of) return true; return false; };

/* A barrier: what is between the brackets becomes one tensor before the function is applied. */
function barriersDrawn(net, frame, items, lit) {
  return net.boxes.map(box => {
    const own = net.regions.map((r, k) => k).filter(k => net.regions[k].barrier === box.name);
    const gone = !items.some(item => own.some(k => within(net, item.region, k)));
    const now = lit && lit.fn && own.includes(lit.of[0].region);
    const [x0, y0] = frame.place(box.at.slice(0, 2)), [x1, y1] = frame.place(box.at.slice(2)), tick = Math.min(12, (x1 - x0) / 5);
    const half = 4 * box.fn.length + 7, x = Math.max(half + 3, Math.min(frame.width - half - 3, x1));
    const bracket = (at, to) => `M${rounded(at + to)} ${rounded(y0)}H${rounded(at)}V${rounded(y1)}H${rounded(at + to)}`;
    return tag("g", { class: `barrier${now ? " lit" : ""}${gone ? " gone" : ""}` },
      tag("rect", { class: "inside", x: rounded(x0), y: rounded(y0), width: rounded(x1 - x0), height: rounded(y1 - y0) })
      + tag("path", { d: bracket(x0, tick) + bracket(x1, -tick) })
      + tag("rect", { class: "chip", x: rounded(x - half), y: rounded(y0 - 10), width: 2 * half, height: 20, rx: 10 })
      + tag("text", { x: rounded(x), y: rounded(y0 + 4) }, escaped(box.fn)));
  }).join("");
}

/* the names of the bonds that are summed, beside the line between the pair, where there is most room */
function summedNamed(net, frame, spots, lit) {
  if (!lit || lit.fn || lit.of.length < 2 || !lit.summed.length) return "";
  const [a, b] = lit.of.map(item => spots.get(item.slot)), inds = lit.summed;
  const text = inds.length > 3 ? `${inds.slice(0, 2).map(i => net.indices[i]).join(", ")} … ${inds.length} bonds` : inds.map(i => `${net.indices[i]}: ${net.sizes[i]}`).join(", ");
  const half = text.length * 3.6 + 3, length = Math.hypot(b.x - a.x, b.y - a.y) || 1, nx = -(b.y - a.y) / length, ny = (b.x - a.x) / length;
  const tries = [.5, .35, .65, .2, .8].flatMap(t => [1, -1, 1.8, -1.8, 3, -3].map(side => [
    Math.max(half + 3, Math.min(frame.width - half - 3, a.x + (b.x - a.x) * t + side * nx * (14 + half * Math.abs(nx)))),
    Math.max(12, Math.min(frame.height - 6, a.y + (b.y - a.y) * t + side * ny * 17)),
  ]));
  const all = [...spots.values()];
  const room = ([x, y]) => Math.min(14, ...all.map(s => Math.hypot(Math.max(0, Math.abs(s.x - x) - half), s.y - y) - s.r - 5));
  const [x, y] = tries.find(q => room(q) >= 3) || tries.reduce((p, q) => room(q) > room(p) ? q : p);
  return tag("text", { class: "bonds-named halo", x: rounded(x), y: rounded(y + 4) }, escaped(text));
}

function nodesDrawn(net, items, spots, lit, game) {
  const pair = lit ? lit.of.map(item => item.slot) : [], many = items.length > MANY;
  return items.map(item => {
    const s = spots.get(item.slot), on = pair.includes(item.slot) || (game && game.picked === item.slot);
    const cost = game?.near.get(item.slot), open = game && items.length > 1;
    const label = `${nameOf(net, item.slot)}, shape ${item.inds.map(i => net.sizes[i]).join(" by ") || "a number"}${cost === undefined ? "" : `, costs ${whole(cost)} FLOPs with the one taken`}`;
    const classes = ["node", item.slot >= net.nodes.length && "made", on && "lit", open && "pickable", cost !== undefined && "near"].filter(Boolean).join(" ");
    const reached = open ? { tabindex: 0, role: "button", "aria-label": label, "aria-pressed": String(game.picked === item.slot) } : {};
    const size = Math.min(11.5, s.r * .78 + (s.r < 9 ? 0 : 1));
    return tag("g", { class: classes, transform: `translate(${rounded(s.x)} ${rounded(s.y)})`, "data-slot": item.slot, ...reached },
      (on ? tag("circle", { class: "glow", r: rounded(s.r + 9) }) : "")
      + tag("circle", { r: rounded(s.r) })
      + (many && !on ? "" : tag("circle", { class: "ring", r: rounded(s.r + 4) }))
      + (size < 6 ? "" : tag("text", { class: "name", y: 4, style: `font-size:${rounded(size)}px` }, escaped(labelOf(net, item.slot))))
      + (cost === undefined ? "" : tag("text", { class: "cost halo", y: rounded(-s.r - 7) }, short(cost))));
  }).join("");
}

const nameOf = (net, slot) => slot < net.nodes.length ? net.nodes[slot].name : `#${slot - net.nodes.length}`;
const labelOf = (net, slot) => slot < net.nodes.length ? net.nodes[slot].label : `#${slot - net.nodes.length}`;

/* the whole picture; `lit` is the step that comes next, or null */
function sceneOf(net, frame, items, spots, lit, game, moving) {
  const was = items.filter(item => item.leaves.length > 1).flatMap(item => item.leaves).map(k => {
    const [x, y] = frame.place(net.nodes[k].at);
    return tag("circle", { class: "was", cx: rounded(x), cy: rounded(y), r: Math.min(3, frame.unit / 6 + 1) });
  }).join("");
  const inside = barriersDrawn(net, frame, items, lit) + was + bondsDrawn(net, items, spots, lit)
    + nodesDrawn(net, items, spots, lit, game) + (moving ? "" : summedNamed(net, frame, spots, lit));
  const label = `${net.title}: ${items.length} ${items.length === 1 ? "tensor" : "tensors"} left`;
  return tag("svg", { viewBox: `0 0 ${frame.width} ${rounded(frame.height)}`, height: rounded(frame.height), role: game ? "group" : "img", "aria-label": label }, inside);
}
