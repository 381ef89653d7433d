/* The step in words and figures: for the eye, and one plain sentence for a screen reader. */

/* sizes in order, equal neighbours as a power */
function shapeText(net, inds) {
  const runs = [];
  for (const i of inds) {
    const size = net.sizes[i], last = runs.at(-1);
    if (last && last[0] === size) last[1]++;
    else runs.push([size, 1]);
  }
  return runs.map(([size, n]) => n > 1 ? `${size}<sup>${n}</sup>` : size).join("×") || "a number";
}

/* a name and its indices, those that are summed marked; of very many, the first and the last */
function termText(net, item, cost) {
  const marked = i => tag("i", { class: cost?.summed.includes(i) ? "summed" : cost?.sliced?.includes(i) ? "sliced" : undefined }, escaped(net.indices[i]));
  const inds = item.inds.length > 24 ? [...item.inds.slice(0, 12).map(marked), `… ${item.inds.length - 16} more …`, ...item.inds.slice(-4).map(marked)] : item.inds.map(marked);
  return `<b>${escaped(nameOf(net, item.slot))}</b>[${inds.join(" ")}]`;
}

const counted = (n, one, many) => `${n} ${n === 1 ? one : many}`;

function actionOf(net, cost) {
  if (cost.fn) return `${cost.fn} on every entry`;
  if (cost.of.length < 2) return cost.traced ? "Trace" : cost.summed.length ? `Sum over ${counted(cost.summed.length, "index", "indices")}` : "New order of the axes";
  if (cost.summed.length) return `Contract over ${counted(cost.summed.length, "index", "indices")}`;
  return cost.of[0].inds.some(i => cost.of[1].inds.includes(i)) ? "Multiply, nothing summed" : "Outer product";
}

/* FLOPs as a product: 2·4^3 */
function powersText(net, cost) {
  const counts = new Map();
  for (const i of cost.union) counts.set(net.sizes[i], (counts.get(net.sizes[i]) || 0) + 1);
  const text = [...counts].filter(([size]) => size > 1).sort((a, b) => a[0] - b[0]).map(([size, n]) => n > 1 ? `${size}<sup>${n}</sup>` : size).join("·") || "1";
  return cost.of.length > 1 && cost.summed.length ? `2·${text}` : text;
}

const figure = (title, value, note = "") => `<div><dt>${title}</dt><dd>${value}${note && ` <small>${note}</small>`}</dd></div>`;

function flopsNote(net, cost) {
  const notes = [];
  if (cost.fn) notes.push("one an entry");
  else if (cost.needed) notes.push(powersText(net, cost));
  if (cost.widened) notes.push(`${cost.widened} times the equation: a small matrix is spread over neighbours, which spares a copy`);
  if (cost.times) notes.push(`runs ${whole(cost.times)} times, once for each value of ${cost.sliced.map(i => escaped(net.indices[i])).join(" ")}`);
  if (cost.group && !cost.times) notes.push(cost.group === "chain" ? "in a chain of steps that share their buffers" : "run again in backward");
  return notes.join("; ");
}

function cardOf(net, track, k, mine) {
  const cost = track.costs[k];
  const signed = cost.fn ? `${escaped(cost.fn)}(${cost.of.map(item => termText(net, item, cost)).join(", ")})` : cost.of.map(item => termText(net, item, cost)).join('<span class="sign">·</span>');
  const share = cost.live === track.peak ? "the peak" : `${Math.round(100 * cost.live / track.peak)} % of the peak`;
  return `<div class="what">${mine ? "Your step" : "Step"} ${k + 1}: ${escaped(actionOf(net, cost))}</div>
    <div class="equation">${signed}<span class="sign">→</span>${termText(net, cost.made)}</div>
    <dl class="figures">${figure("FLOPs", whole(cost.flops), flopsNote(net, cost))}
    ${figure("Shapes", cost.of.map(item => shapeText(net, item.inds)).join(", "), `→ ${shapeText(net, cost.made.inds)}`)}
    ${figure("Bytes moved", bytesText(cost.moved), "read and written")}
    ${figure("Memory now", bytesText(cost.live), share)}</dl>`;
}

function doneCard(net, track) {
  const [last] = track.states.at(-1);
  return `<div class="what">Done</div><div class="equation">${termText(net, last)}</div>
    <dl class="figures">${figure("FLOPs in all", whole(track.total))}${figure("Peak memory", bytesText(track.peak))}${figure("Result", shapeText(net, last.inds))}</dl>`;
}

/* the end of the game: two bars each for FLOPs and memory */
function raceCard(track, best, verdict) {
  const bar = (who, value, most, text, kind) => `<b>${who}</b><span class="${kind}" style="width:${(100 * value / most).toFixed(1)}%"></span><small>${text}</small>`;
  const pair = (mine, other, text) => { const most = Math.max(mine, other); return bar("you", mine, most, text(mine), "") + bar("best", other, most, text(other), "rival"); };
  return `<div class="what">${verdict}</div><div class="race"><h2>FLOPs</h2>${pair(track.total, best.needed, flopsText)}<h2>Peak memory</h2>${pair(track.peak, best.bare, bytesText)}</div>`;
}

/* what a screen reader says of a step */
function sentenceOf(net, track, k, steps) {
  const cost = track.costs[k];
  if (!cost) return `Done. ${whole(track.total)} FLOPs in all, peak memory ${bytesText(track.peak)}.`;
  const names = cost.of.map(item => nameOf(net, item.slot)).join(" and ");
  const over = cost.summed.length && !cost.fn ? ` over ${cost.summed.length > 4 ? counted(cost.summed.length, "index", "indices") : cost.summed.map(i => net.indices[i]).join(", ")}` : "";
  const what = cost.fn ? `${cost.fn} of ${names}` : cost.of.length < 2 ? `Sum or trace of ${names}${over}` : `${cost.summed.length ? "Contract" : "Multiply"} ${names}${over}`;
  const shape = cost.made.inds.map(i => net.sizes[i]).join(" by ") || "a number";
  return `Step ${k + 1} of ${steps}. ${what}. Result ${nameOf(net, cost.made.slot)}, shape ${shape}. ${whole(cost.flops)} FLOPs, ${bytesText(cost.live)} in memory.`;
}
