/* What is on show, and what buttons, keys, the slider and the address do to it. */

const $ = selector => document.querySelector(selector);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const OWN = ""; // of the reader's own order: no order has an empty name
const shown = { net: null, order: "", mode: "watch", step: 0, track: null, picked: null, drawn: null, frame: null, stepAt: null };
let timer = 0, animation = 0, focusOn = null, scrubbing = false, pointed = 0;

const tracks = new Map();
/* the states of an order, made once */
function trackOf(net, name) {
  const key = `${net.key}\n${name}`;
  if (!tracks.has(key)) tracks.set(key, replay(net, net.orders.find(o => o.name === name).steps.map(stepOf), net.itemsize));
  return tracks.get(key);
}
/* The order to beat: the fewest FLOPs as the reader's steps are counted, that is by equations and without copies. */
function bestOf(net) {
  if (!net.best) {
    const bare = net.orders.filter(o => !o.sliced).map(o => {
      const track = replay(net, o.steps.map(stepOf).map(({ of, inds, fn }) => ({ of, inds, fn })), net.itemsize);
      return { name: o.name, needed: track.total, bare: track.peak, track };
    });
    net.best = bare.reduce((a, b) => b.needed < a.needed ? b : a, bare[0]) ?? null;
  }
  return net.best;
}
const stepsInAll = () => shown.mode === "watch" ? shown.track.costs.length : singles(shown.net).length + shown.net.nodes.length - 1;
const left = () => shown.track.states.at(-1);

/* the room inside a figure; a page that is not laid out yet has none, and is drawn again once it has */
const widthOf = selector => Math.max($(selector).clientWidth - 2, 200);

/* ---- the picture, and its motion ---- */
function spotsAt(track, k) {
  track.spots ??= new Map();
  const key = `${k} ${shown.frame.width}`;
  if (!track.spots.has(key)) track.spots.set(key, spotsOf(shown.net, shown.frame, track.states[k]));
  return track.spots.get(key);
}
function gameState() {
  if (shown.mode !== "play") return null;
  const items = left(), taken = items.find(item => item.slot === shown.picked), near = new Map();
  if (taken) for (const other of items) if (other !== taken && other.inds.some(i => taken.inds.includes(i))) near.set(other.slot, pairCost(shown.net, items, taken, other));
  return { picked: shown.picked, near };
}
function drawStill() {
  const { net, frame, track, step, mode } = shown, items = track.states[step];
  shown.drawn = step;
  $("#network").innerHTML = sceneOf(net, frame, items, spotsAt(track, step), mode === "play" ? null : track.costs[step], gameState(), false);
  if (focusOn !== null) $(`#network [data-slot="${focusOn}"]`)?.focus({ preventScroll: true });
  focusOn = null;
}
/* From one state to another: the finer of the two is drawn, its tensors on the way to where they are in the coarser one. */
function draw(from) {
  cancelAnimationFrame(animation);
  const { net, frame, track, step } = shown;
  if (from === null || from === step || !track.states[from] || calm.matches || track.states[0].length > MANY) return drawStill();
  const on = step > from, fine = track.states[on ? from : step], coarse = track.states[on ? step : from];
  const starts = spotsAt(track, on ? from : step), ends = spotsAt(track, on ? step : from);
  const host = new Map(fine.map(item => [item.slot, coarse.find(c => c.leaves.includes(item.leaves[0])).slot]));
  const one = Math.abs(step - from) === 1, busy = one && shown.mode === "watch" ? track.costs[Math.min(step, from)] : null;
  const began = performance.now(), lasts = one ? 520 : 380, eased = t => t < .5 ? 4 * t ** 3 : 1 - (2 - 2 * t) ** 3 / 2;
  const tick = now => {
    const t = Math.max(0, Math.min(1, (now - began) / lasts)), u = on ? eased(t) : 1 - eased(t);
    if (t >= 1) return drawStill();
    const spots = new Map(fine.map(item => {
      const a = starts.get(item.slot), b = ends.get(host.get(item.slot));
      return [item.slot, { x: a.x + (b.x - a.x) * u, y: a.y + (b.y - a.y) * u, r: a.r + (host.get(item.slot) === item.slot ? 0 : (b.r - a.r) * u * .6) }];
    }));
    $("#network").innerHTML = sceneOf(net, frame, fine, spots, busy, null, true);
    animation = requestAnimationFrame(tick);
  };
  animation = requestAnimationFrame(tick);
}

/* ---- everything beside the picture ---- */
function drawOrders() {
  const { net, mode, order, track } = shown, least = Math.min(...net.orders.map(o => o.flops));
  const cards = net.orders.map(o => {
    const x = o.flops / Math.max(least, 1), best = o.flops === least;
    return `<label class="order"><input type="radio" name="order" value="${escaped(o.name)}"${mode === "watch" && order === o.name ? " checked" : ""}><div>
      <em class="${best ? "best" : x > 2 ? "over" : ""}">${net.orders.length < 2 ? "" : best ? "best" : timesText(x)}</em><b>${escaped(o.name)}</b>
      ${o.about && `<small class="wide">${escaped(o.about)}</small>`}<small>${flopsText(o.flops)}, peak ${bytesText(o.peak)}</small></div></label>`;
  });
  if (net.game) cards.push(`<label class="order"><input type="radio" name="order" value="${OWN}"${mode === "play" ? " checked" : ""}><div>
    <em>game</em><b>your own</b><small class="wide">choose every pair yourself</small><small>${mode === "play" && track.costs.length ? `${flopsText(track.total)}, peak ${bytesText(track.peak)}` : "can you match the best?"}</small></div></label>`);
  $("#orders").innerHTML = cards.join("");
}
function drawTimeline() {
  const { net, track, mode, step } = shown, least = net.orders.reduce((a, b) => b.flops < a.flops ? b : a);
  const rival = mode === "play" ? bestOf(net).track : least.name !== shown.order ? trackOf(net, least.name) : null;
  const made = timelineOf(net, track, rival, step, Math.max(stepsInAll(), rival && mode === "play" ? rival.costs.length : 0), mode, widthOf("#time"));
  $("#time").innerHTML = made.svg;
  shown.stepAt = made.stepAt;
}
function drawCard() {
  const { net, track, mode, step } = shown, over = mode === "play" && left().length < 2;
  const k = mode === "play" ? track.costs.length - 1 : step;
  $("#card").innerHTML = over && track.costs.length ? raceCard(track, bestOf(net), verdict())
    : track.costs[k] ? cardOf(net, track, k, mode === "play")
      : mode === "play" ? '<div class="what">Your order</div><p class="say">Each pair that you merge shows up here with its cost. The dashed curve is the memory of the best order.</p>'
        : doneCard(net, track);
}
function notes() {
  const o = shown.net.orders.find(x => x.name === shown.order), found = [];
  if (shown.mode === "watch" && o.widened) found.push("Some steps multiply a small matrix that is spread over neighbours, with zeros between: more FLOPs than their equation, and no copy of a large tensor.");
  if (shown.mode === "play") found.push("Your steps and the best order are counted alike: by their equations, without copies.");
  return found.join(" ");
}
function redraw(from, focus) {
  const { net, mode, track } = shown, play = mode === "play";
  if (play) shown.step = track.costs.length;
  const step = shown.step, steps = stepsInAll(), done = step >= steps;
  // who plays by keyboard finds the focus on the tensor that was made, once it has arrived
  focusOn = play && focus !== undefined ? focus : null;
  $("#player").hidden = play;
  $("#game").hidden = !play;
  if (!play) $("#say").innerHTML = done ? "Done: one tensor is left." : track.costs[step].fn ? "Lit: the tensor that goes through the function." : track.costs[step].of.length < 2 ? "Lit: the tensor that is summed or turned." : "Lit: the pair that merges next. Orange: the bonds that are summed.";
  $("#slider").max = steps;
  $("#slider").value = step;
  $("#slider").setAttribute("aria-valuetext", done ? "done" : `step ${step + 1} of ${steps}`);
  $("#count").textContent = done ? "done" : `step ${step + 1} of ${steps}`;
  $("#left").textContent = left().length > 1 ? `${left().length - 1} to merge` : "";
  $("#back").disabled = $("#first").disabled = step === 0;
  $("#next").disabled = $("#last").disabled = done;
  $("#undo").disabled = !mine().length;
  $("#hint").disabled = $("#finish").disabled = left().length < 2;
  $("#note").textContent = notes();
  drawOrders();
  drawTimeline();
  drawCard();
  draw(from);
  if (!play) $("#live").textContent = sentenceOf(net, track, step, steps);
  remember();
}
/* the address says what is on show, so that a link leads to a step */
function remember() {
  const { net, mode, order, step } = shown;
  const hash = `#${[net.key, mode === "play" ? OWN : order, mode === "play" ? mine().map(s => s.of.join("-")).join(".") : step].map(encodeURIComponent).join("/")}`;
  try { history.replaceState(null, "", hash); } catch { /* inside a notebook there is no address to change */ }
}

/* ---- watching ---- */
function goTo(k) {
  const to = Math.max(0, Math.min(stepsInAll(), k)), from = shown.step;
  if (to === from) return;
  shown.step = to;
  redraw(from);
}
function stop() {
  clearInterval(timer);
  timer = 0;
  $("#play").textContent = "Play";
}
function play() {
  if (timer) return stop();
  if (shown.step >= stepsInAll()) goTo(0);
  $("#play").textContent = "Pause";
  timer = setInterval(() => { goTo(shown.step + 1); if (shown.step >= stepsInAll()) stop(); }, 1100);
}
function setOrder(name) {
  stop();
  shown.picked = null;
  if (name === OWN) {
    shown.mode = "play";
    shown.track = replay(shown.net, singles(shown.net), shown.net.itemsize);
    say(HELLO);
  } else {
    shown.mode = "watch";
    shown.order = name;
    shown.track = trackOf(shown.net, name);
    shown.step = Math.min(shown.step, shown.track.costs.length);
  }
  redraw(null);
}
function setNetwork(key) {
  stop();
  const net = DATA.find(n => n.key === key) || DATA[0];
  Object.assign(shown, { net, order: net.orders[0].name, mode: "watch", step: 0, picked: null, track: trackOf(net, net.orders[0].name) });
  $("#about").textContent = net.about;
  shown.frame = framed(net, widthOf("#network"));
  redraw(null);
}

/* ---- the game: choose the next pair yourself ---- */
const HELLO = "Take a tensor, then its partner.";
/* the reader's own steps: those that a plan does before any pair are done for them */
const mine = () => shown.mode === "play" ? shown.track.steps.slice(singles(shown.net).length) : [];
function say(html) {
  $("#say").innerHTML = html;
  $("#live").textContent = $("#say").textContent;
}
function verdict() {
  const best = bestOf(shown.net), x = shown.track.total / Math.max(best.needed, 1), against = `${flopsText(shown.track.total)} against ${flopsText(best.needed)}`;
  if (x < .995) return `You beat the best order: ${against}`;
  return x < 1.005 ? `As good as the best order: ${flopsText(shown.track.total)}` : `${timesText(x)} the FLOPs of the best order: ${against}`;
}
function score() {
  if (left().length < 2) return `<b>${verdict()}.</b>`;
  const best = bestOf(shown.net);
  return `<b>${flopsText(shown.track.total)}</b> so far (best order: ${flopsText(best.needed)} in all), peak ${bytesText(shown.track.peak)} (${bytesText(best.bare)}).`;
}
function take(slot) {
  const items = left(), b = items.find(item => item.slot === slot), a = items.find(item => item.slot === shown.picked);
  if (!b) return;
  if (a && a !== b) return merge(a, b);
  shown.picked = a ? null : slot;
  say(a ? HELLO : `<b>${escaped(nameOf(shown.net, slot))}</b> taken. Now its partner; green figures are the FLOPs.`);
  redraw(null, slot);
}
function merge(a, b) {
  const from = shown.track.costs.length;
  shown.track = replay(shown.net, [...shown.track.steps, pairOf(shown.net, left(), a, b)], shown.net.itemsize);
  shown.step = shown.track.costs.length;
  shown.picked = null;
  say(score());
  redraw(from, left().at(-1).slot);
}
function undo() {
  if (!mine().length) return;
  shown.track = replay(shown.net, shown.track.steps.slice(0, -1), shown.net.itemsize);
  shown.picked = null;
  say(mine().length ? score() : HELLO);
  redraw(null);
}
function hint() {
  const found = cheapest(shown.net, left());
  if (!found) return;
  shown.picked = found.a.slot;
  say(`Try <b>${escaped(nameOf(shown.net, found.a.slot))}</b> with <b>${escaped(nameOf(shown.net, found.b.slot))}</b>: ${flopsText(found.cost)}. The least growth first, so not always the best.`);
  redraw(null);
}
function finish() {
  let steps = shown.track.steps;
  while (left().length > 1) {
    const { a, b } = cheapest(shown.net, left());
    steps = [...steps, pairOf(shown.net, left(), a, b)];
    shown.track = replay(shown.net, steps, shown.net.itemsize);
  }
  shown.picked = null;
  say(score());
  redraw(null);
}
/* the reader's order as opt_einsum's path: positions in a list from which pairs are taken, and to which results are added */
function ownPath() {
  const live = shown.net.nodes.map((node, k) => k), found = [];
  shown.track.steps.forEach((step, k) => {
    const at = step.of.map(s => live.indexOf(s)).sort((a, b) => a - b), slot = shown.net.nodes.length + k;
    if (at.length < 2) { live[at[0]] = slot; return; }
    found.push(at);
    for (const p of [...at].reverse()) live.splice(p, 1);
    live.push(slot);
  });
  return found;
}

/* ---- buttons, keys, pointer ---- */
$("#networks-field").hidden = DATA.length < 2;
$("#networks").innerHTML = DATA.map((n, k) => `<label><input type="radio" name="network" value="${escaped(n.key)}"${k ? "" : " checked"}><span>${escaped(n.title)}</span></label>`).join("");
$("#networks").onchange = event => setNetwork(event.target.value);
addEventListener("pointerdown", event => { pointed = event.timeStamp; });
// who chose with the pointer gets the arrow keys for the steps; who chose with the keys stays on the choice
$("#orders").onchange = event => {
  const value = event.target.value, keys = event.timeStamp - pointed > 800;
  setOrder(value);
  if (keys) document.querySelectorAll("#orders input").forEach(input => { if (input.value === value) input.focus(); });
};
$("#slider").oninput = event => { stop(); goTo(+event.target.value); };
const clicks = {
  play, undo, hint, finish, again: () => setOrder(OWN), next: () => { stop(); goTo(shown.step + 1); }, back: () => { stop(); goTo(shown.step - 1); },
  first: () => { stop(); goTo(0); }, last: () => { stop(); goTo(stepsInAll()); },
};
for (const [id, action] of Object.entries(clicks)) $(`#${id}`).onclick = action;
$("#network").onclick = event => {
  const node = event.target.closest("[data-slot]");
  if (node && shown.mode === "play") take(+node.dataset.slot);
};
function scrub(event) {
  const box = $("#time").getBoundingClientRect();
  goTo(shown.stepAt(event.clientX - box.left));
}
$("#time").onpointerdown = event => {
  if (shown.mode !== "watch") return;
  stop();
  scrubbing = event.pointerType === "mouse";
  scrub(event);
};
addEventListener("pointermove", event => { if (scrubbing) scrub(event); });
addEventListener("pointerup", () => { scrubbing = false; });
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const on = event.target, node = on.closest?.("[data-slot]");
  if (shown.mode === "play") {
    if (node && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      take(+node.dataset.slot);
    } else if (event.key === "u") undo();
    else if (event.key === "Escape") {
      shown.picked = null;
      say(HELLO);
      redraw(null, node ? +node.dataset.slot : undefined);
    }
    return;
  }
  const own = on.matches?.("[type=radio]") || (on.matches?.("button") && event.key === " ") || (on.type === "range" && event.key.startsWith("Arrow"));
  if (own) return;
  const to = { ArrowRight: shown.step + 1, ArrowLeft: shown.step - 1, Home: 0, End: stepsInAll() }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    stop();
    goTo(to);
  } else if (event.key === " ") {
    event.preventDefault();
    play();
  }
});
let widthBefore = 0;
new ResizeObserver(() => {
  const width = widthOf("#network");
  if (width === widthBefore || !shown.net) return;
  widthBefore = width;
  shown.frame = framed(shown.net, width);
  redraw(null);
}).observe($("#network"));

/* a link names network, order and step: #net/greedy/7; of the reader's own order, its pairs: #net//0-1.4-2 */
function restore() {
  let parts = [];
  try { parts = location.hash.slice(1).split("/").map(decodeURIComponent); } catch { /* no such link */ }
  const [key, name, at] = parts;
  setNetwork(key);
  document.querySelectorAll("#networks input").forEach(input => { input.checked = input.value === shown.net.key; });
  if (name === OWN && shown.net.game) {
    setOrder(OWN);
    for (const [a, b] of (at || "").split(".").filter(Boolean).map(pair => pair.split("-").map(Number))) {
      const items = left(), of = [a, b].map(s => items.find(item => item.slot === s));
      if (of.every(Boolean) && a !== b) merge(...of);
    }
  } else if (shown.net.orders.some(o => o.name === name)) {
    setOrder(name);
    goTo(+at || 0);
  }
}
addEventListener("hashchange", restore);
restore();
