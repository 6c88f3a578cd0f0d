/* k-means over the widths and heights of boxes, step by step. */

const MOST = 9;
const LONGEST = 60;

/** How near a box is to a shape: their IoU, or minus the squared distance. */
function closeness([w, h], [a, b], metric) {
  if (metric === "euclid") return -((w - a) ** 2 + (h - b) ** 2);
  const shared = Math.min(w, a) * Math.min(h, b);
  return shared / (w * h + a * b - shared);
}

/** k different rows of `count`, as Python draws them. */
function drawRows(count, k, start) {
  const chosen = [];
  let state = (start * 7919 + 12345) >>> 0;
  while (chosen.length < k) {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    const row = (state >>> 8) % count;
    if (!chosen.includes(row)) chosen.push(row);
  }
  return chosen;
}

function nearest(size, shapes, metric) {
  let best = 0;
  for (let j = 1; j < shapes.length; j++) if (closeness(size, shapes[j], metric) > closeness(size, shapes[best], metric)) best = j;
  return best;
}

/** The shapes of each iteration, the start first, until no box changes its shape. */
function iterate(sizes, k, metric, start) {
  let shapes = drawRows(sizes.length, k, start).map((row) => sizes[row]);
  const found = [shapes];
  let owner = [];
  while (found.length <= LONGEST) {
    const now = sizes.map((size) => nearest(size, shapes, metric));
    if (now.every((v, i) => v === owner[i])) break;
    owner = now;
    const sums = shapes.map(() => [0, 0, 0]);
    sizes.forEach((size, i) => {
      const sum = sums[owner[i]];
      [sum[0], sum[1], sum[2]] = [sum[0] + size[0], sum[1] + size[1], sum[2] + 1];
    });
    shapes = sums.map(([w, h, n], j) => (n ? [w / n, h / n] : shapes[j]));
    found.push(shapes);
  }
  return found;
}

/** The mean over all boxes of the IoU with their best shape. */
function score(sizes, shapes) {
  const best = (size) => Math.max(...shapes.map((shape) => closeness(size, shape, "iou")));
  return sizes.reduce((sum, size) => sum + best(size), 0) / sizes.length;
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const codes = bytes(get("codes"));
  const sizes = Array.from({ length: codes.length / 2 }, (_, i) => [codes[2 * i] * get("unit"), codes[2 * i + 1] * get("unit")]);
  const most = Math.max(...sizes.flat());
  const hand = get("hand");
  const ofHand = hand.length ? score(sizes, hand) : 0;
  const METRICS = { iou: "1 − IoU", euclid: "straight line" };
  let runs = [];
  let curves = {};
  let last = "";
  let figure = null; // the root, once it is there: the player asks for it earlier

  function change(values) {
    model.set(values);
    model.save_changes();
  }
  const again = (values) => change({ ...values, step: 0 });
  const at = () => Math.min(get("step"), runs.length - 1);

  // ---- what the reader sees and moves

  const plane = panel({
    title: "Boxes by width and height",
    caption: "A dot is a box. Crosses are the shapes, each also drawn as the box that it is, from the lower left corner. Arrow keys: one iteration on or back.",
    label: "Boxes as points of width and height with the shapes of the clusters. Left and right arrow keys step through the iterations.",
    ratio: 1,
    draw: drawPlane,
  });
  const chart = panel({
    title: "Mean best IoU, by number of shapes",
    caption: "Where the iterations end, from this start, for both distances.",
    label: "Mean best IoU against the number of shapes",
    ratio: 1,
    interactive: false,
    draw: drawChart,
  });
  const k = slider({
    label: "shapes k", name: "shapes", min: 1, max: MOST, step: 1, value: get("k"), onInput: (v) => again({ k: v }),
  });
  const metric = choice({
    label: "Distance", name: "distance", value: get("metric"), options: Object.entries(METRICS), onChange: (v) => again({ metric: v }),
  });
  const step = slider({
    label: "iteration", name: "iteration", min: 0, max: 1, step: 1, value: 0, onInput: (v) => change({ step: v }),
  });
  const other = make("button", { type: "button", class: "pti-button" }, "Another start");
  other.addEventListener("click", () => again({ start: get("start") + 1 }));
  const play = player({
    root: () => figure,
    pause: 350,
    start: () => at() === runs.length - 1 && change({ step: 0 }),
    step: () => {
      if (at() >= runs.length - 1) return false;
      change({ step: at() + 1 });
      return at() < runs.length - 1;
    },
  });
  const now = number("mean best IoU now");
  const end = number("at the end");
  const own = number(`of the ${hand.length} shapes by hand`);
  const { root, stop } = figureRoot({
    model,
    name: "clusters",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, plane.element, chart.element),
      make("div", { class: "pti-readout" }, now.element, end.element, ...(hand.length ? [own.element] : [])),
      make("div", { class: "pti-controls" }, k.element, metric.element, step.element, make("div", { class: "pti-row" }, play.element, other)),
    ],
  });
  figure = root;
  const announce = announcer(root);

  function update() {
    const key = [get("k"), get("metric"), get("start")].join();
    if (key !== last) {
      runs = iterate(sizes, get("k"), get("metric"), get("start"));
      const ends = (m) => Array.from({ length: MOST }, (_, i) => score(sizes, iterate(sizes, i + 1, m, get("start")).at(-1)));
      if (!last || last.split(",")[2] !== String(get("start"))) curves = { iou: ends("iou"), euclid: ends("euclid") };
      last = key;
      step.input.max = runs.length - 1;
    }
    const value = score(sizes, runs[at()]);
    const final = score(sizes, runs.at(-1));
    now.value.textContent = value.toFixed(3);
    end.value.textContent = final.toFixed(3);
    own.value.textContent = ofHand.toFixed(3);
    k.set(get("k"));
    metric.set(get("metric"));
    step.set(at());
    Object.assign(root.dataset, {
      k: get("k"), metric: get("metric"), start: get("start"), step: at(), steps: runs.length - 1,
      now: value.toFixed(4), end: final.toFixed(4), hand: ofHand.toFixed(4),
    });
    announce(`${get("k")} shapes, iteration ${at()} of ${runs.length - 1}: mean best IoU ${value.toFixed(3)}.`);
    paint();
  }

  // ---- drawing

  function text(context, words, x, y, align = "center") {
    context.fillStyle = ink(root, "soft");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = align;
    context.fillText(words, x, y);
  }

  function drawPlane(context, w, h) {
    const [left, bottom] = [26, h - 20];
    const scale = Math.min(w - left - 8, bottom - 8) / (1.02 * most);
    const x = (v) => left + v * scale;
    const y = (v) => bottom - v * scale;
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    const grid = [5, 10, 20, 50, 100, 200].find((g) => most / g <= 6) ?? 500;
    for (let v = 0; v <= most; v += grid) {
      context.beginPath();
      context.moveTo(x(v), y(0));
      context.lineTo(x(v), y(most));
      context.moveTo(x(0), y(v));
      context.lineTo(x(most), y(v));
      context.stroke();
      text(context, v, x(v), bottom + 14);
      if (v) text(context, v, left - 4, y(v) + 4, "right");
    }
    text(context, "width, px", x(most), bottom - 6, "right");
    text(context, "height, px", left + 6, y(most) + 12, "left");
    const shapes = runs[at()];
    for (const size of sizes) {
      context.beginPath();
      context.arc(x(size[0]), y(size[1]), 2.6, 0, 2 * Math.PI);
      context.fillStyle = colourOf(nearest(size, shapes, get("metric")) + 1);
      context.fill();
    }
    for (const [a, b] of hand) {
      context.strokeStyle = ink(root, "ink");
      context.lineWidth = 1.5;
      context.strokeRect(x(a) - 3, y(b) - 3, 6, 6);
    }
    shapes.forEach(([a, b], j) => {
      context.strokeStyle = colourOf(j + 1);
      context.lineWidth = 2;
      context.strokeRect(x(0), y(b), x(a) - x(0), y(0) - y(b));
      // where the shape has been
      context.beginPath();
      runs.slice(0, at() + 1).forEach((old) => context.lineTo(x(old[j][0]), y(old[j][1])));
      context.strokeStyle = ink(root, "ink");
      context.lineWidth = 1;
      context.stroke();
      for (const [colour, line] of [[ink(root, "panel"), 6], [ink(root, "ink"), 2.5]]) {
        context.beginPath();
        context.moveTo(x(a) - 6, y(b));
        context.lineTo(x(a) + 6, y(b));
        context.moveTo(x(a), y(b) - 6);
        context.lineTo(x(a), y(b) + 6);
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.stroke();
      }
    });
  }

  function drawChart(context, w, h) {
    const [left, right, top, bottom] = [34, w - 12, 12, h - 36];
    const values = [...curves.iou, ...curves.euclid, ...(hand.length ? [ofHand] : [])];
    const low = Math.floor(10 * Math.min(...values)) / 10;
    const x = (n) => left + ((n - 1) / (MOST - 1)) * (right - left);
    const y = (v) => bottom - ((v - low) / (1 - low)) * (bottom - top);
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    for (let v = low; v < 1.001; v += 0.1) {
      context.beginPath();
      context.moveTo(left, y(v));
      context.lineTo(right, y(v));
      context.stroke();
      text(context, v.toFixed(1), left - 6, y(v) + 4, "right");
    }
    for (let n = 1; n <= MOST; n++) text(context, n, x(n), bottom + 15);
    const line = (name, colour, dash) => {
      context.setLineDash(dash);
      context.strokeStyle = colour;
      context.lineWidth = get("metric") === name ? 3 : 1.5;
      context.beginPath();
      curves[name].forEach((v, i) => context.lineTo(x(i + 1), y(v)));
      context.stroke();
      context.setLineDash([]);
    };
    line("euclid", "#d55e00", [6, 4]);
    line("iou", "#0072b2", []);
    if (hand.length && hand.length <= MOST) {
      context.strokeStyle = ink(root, "ink");
      context.lineWidth = 1.5;
      context.strokeRect(x(hand.length) - 4, y(ofHand) - 4, 8, 8);
    }
    drawRing(context, x(get("k")), y(score(sizes, runs[at()])), 6);
    text(context, `solid: 1 − IoU; dashed: straight line${hand.length ? "; square: by hand" : ""}`, (left + right) / 2, h - 4);
  }

  // ---- keys

  onArrow(plane.canvas, (dx, dy) => {
    if (dx === null) return change({ step: 0 });
    change({ step: Math.max(0, Math.min(runs.length - 1, at() + Math.sign(dx - dy))) });
  });

  const paint = onNextFrame(() => [plane, chart].forEach((p) => p.paint()));
  const silence = listen(model, { k: update, metric: update, step: update, start: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, play.stop, plane.stop, chart.stop].forEach((end_) => end_());
}

export { drawRows, iterate, score };
export default { render };
