/* A network and an order, replayed.

   A tensor that is alive is an item: its slot (the nodes first, then one a step), its indices, the nodes inside it, and the
   region it belongs to: the network itself (0), or the body of a nonlinear node.  A step of a plan is
   [operands' slots, result's indices, FLOPs, bytes moved, bytes alive, extras]. */

for (const net of DATA) {
  net.nodes = net.nodes.map(([name, label, inds, at, region, ...aim]) => ({ name, label, inds, at, region, aim: aim.length ? aim : null }));
}

const product = (inds, sizes) => inds.reduce((p, i) => p * sizes[i], 1);

function itemOf(net, slot, inds, leaves, region) {
  return { slot, inds, leaves, region, size: product(inds, net.sizes) };
}

const beginning = net => net.nodes.map((node, k) => itemOf(net, k, node.inds, [k], node.region));

/* the items after a step */
function advanced(net, items, step, slot) {
  const of = step.of.map(s => items.find(item => item.slot === s));
  const region = step.fn ? net.regions[of[0].region].parent : of[0].region;
  return [...items.filter(item => !of.includes(item)), itemOf(net, slot, step.inds, of.flatMap(item => item.leaves), region)];
}

const stepOf = ([of, inds, flops, moved, live, more]) => ({ of, inds, flops, moved, live, ...more });

/* what is summed, and the FLOPs of the equation: two a multiply-add, one where nothing is summed */
function countsOf(net, of, step) {
  const union = [...new Set(of.flatMap(item => item.inds))];
  const summed = union.filter(i => !step.inds.includes(i));
  const traced = of.some(item => new Set(item.inds).size < item.inds.length);
  const space = product(union, net.sizes);
  const flops = step.fn ? product(step.inds, net.sizes) : of.length < 2 ? (summed.length ? space : 0) : space * (summed.length ? 2 : 1);
  return { union, summed, traced, flops };
}

/* All states of a list of steps, and what each step does and costs.  The steps of a plan bring their costs with them; for the
   reader's own they are counted by the same rules, copies aside. */
function replay(net, steps, itemsize) {
  const inputs = net.nodes.length, states = [beginning(net)], costs = [];
  const given = net.given;
  let alive = 0, total = 0, peak = given;
  steps.forEach((step, k) => {
    const before = states[k], of = step.of.map(s => before.find(item => item.slot === s));
    const after = advanced(net, before, step, inputs + k), made = after.at(-1);
    const counts = countsOf(net, of, step);
    const read = of.reduce((t, item) => t + item.size, 0) * itemsize;
    const cost = {
      ...step, ...counts, of, made, needed: counts.flops,
      flops: step.flops ?? counts.flops,
      moved: step.moved ?? read + made.size * itemsize,
      live: step.live ?? given + (alive + made.size) * itemsize,
    };
    alive += made.size - of.filter(item => item.slot >= inputs).reduce((t, item) => t + item.size, 0);
    total += cost.flops;
    peak = Math.max(peak, cost.live);
    costs.push(cost);
    states.push(after);
  });
  return { steps, states, costs, total, peak };
}

/* the reader's step: an index stays if another tensor has it, or the output */
function pairOf(net, items, a, b) {
  const others = items.filter(item => item !== a && item !== b);
  const kept = i => net.output.includes(i) || others.some(item => item.inds.includes(i));
  return { of: [a.slot, b.slot], inds: [...new Set([...a.inds, ...b.inds])].filter(kept) };
}

/* what a plan does before any pair: traces, and sums over an index that one tensor alone has */
function singles(net) {
  const items = beginning(net), steps = [];
  for (const item of items) {
    const kept = [...new Set(item.inds)].filter(i => net.output.includes(i) || items.some(other => other !== item && other.inds.includes(i)));
    if (kept.length < item.inds.length) steps.push({ of: [item.slot], inds: kept });
  }
  return steps;
}

const pairCost = (net, items, a, b) => countsOf(net, [a, b], pairOf(net, items, a, b)).flops;

/* the pair that greedy takes: the least growth, then the least work */
function cheapest(net, items) {
  let found = null;
  items.forEach((a, k) => items.slice(k + 1).forEach(b => {
    const joined = a.inds.some(i => b.inds.includes(i));
    const growth = product(pairOf(net, items, a, b).inds, net.sizes) - a.size - b.size, cost = pairCost(net, items, a, b);
    const rank = [joined ? 0 : 1, growth, cost];
    const before = found && (rank.find((x, n) => x !== found.rank[n]) ?? 0) < (found.rank.find((x, n) => x !== rank[n]) ?? 0);
    if (!found || before) found = { a, b, rank, cost };
  }));
  return found;
}

/* ---- how figures and names read ---- */
const escaped = s => String(s).replace(/[&<>"]/g, c => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const UNITS = ["", "k", "M", "G", "T", "P", "E"];
function short(n) {
  for (const unit of UNITS) {
    if (n < 999.5) return `${unit && n < 99.95 ? +n.toPrecision(3) : Math.round(n)}${unit && "\u00a0" + unit}`;
    n /= 1000;
  }
  return (n * 1000 ** UNITS.length).toExponential(2);
}
const spaced = n => short(n) + (n >= 999.5 ? "" : "\u00a0");
const flopsText = n => spaced(n) + "FLOPs";
const bytesText = n => spaced(n) + "B";
const timesText = x => `${x < 10 ? +x.toFixed(1) : Math.round(x).toLocaleString("en")}×`;
const whole = n => Number.isSafeInteger(n) ? n.toLocaleString("en") : `about ${short(n)}`; // of more digits a number here knows the first ones
