/* A saliency map to paint, and five measures that follow. Maps are codes 0..255 by rows; truths are 0 or 1. */

const EPS = 2 ** -52;
const TASK = "Find a map with boundary F above 0.9 and F below 0.6.";

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** Salient pixels and others at or above each of the 256 levels. */
function countLevels(codes, truth) {
  const hits = new Float64Array(256);
  const alarms = new Float64Array(256);
  codes.forEach((code, i) => (truth[i] ? hits : alarms)[code]++);
  for (let k = 254; k >= 0; k--) {
    hits[k] += hits[k + 1];
    alarms[k] += alarms[k + 1];
  }
  return { hits, alarms, salient: hits[0], pixels: codes.length };
}

/** The F-measure at each level, β² = 0.3. */
function fCurve({ hits, alarms, salient }) {
  return Array.from(hits, (hit, k) => {
    if (!hit) return 0;
    const [precision, recall] = [hit / (hit + alarms[k]), hit / salient];
    return (1.3 * precision * recall) / (0.3 * precision + recall);
  });
}

/** The E-measure at each level. */
function eCurve({ hits, alarms, salient, pixels }) {
  const worth = (a, b) => (1 + (2 * a * b) / (a * a + b * b + EPS)) ** 2 / 4;
  return Array.from(hits, (hit, k) => {
    const alarm = alarms[k];
    const [a, b] = [(hit + alarm) / pixels, salient / pixels];
    const total = hit * worth(1 - a, 1 - b) + alarm * worth(1 - a, -b) +
      (salient - hit) * worth(-a, 1 - b) + (pixels - salient - alarm) * worth(-a, -b);
    return total / (pixels - 1 + EPS);
  });
}

/** Mean and sum of squared distances from it; taken from the first value, so that constant ones give exactly 0. */
function moments(values) {
  if (!values.length) return { count: 0, mean: 0, squares: 0 };
  const mean = sum(values.map((v) => v - values[0])) / values.length + values[0];
  const squares = values.every((v) => v === values[0]) ? 0 : sum(values.map((v) => (v - mean) ** 2));
  return { count: values.length, mean, squares };
}

const roundHalfEven = (v) => (v % 1 === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));

/** The S-measure, α = ½. */
function sMeasure(codes, truth, height, width) {
  const values = Array.from(codes, (c) => c / 255);
  const inside = values.filter((_, i) => truth[i]);
  const outside = values.filter((_, i) => !truth[i]).map((v) => 1 - v);
  const share = inside.length / values.length;
  const object = (list) => {
    const { count, mean, squares } = moments(list);
    return (2 * mean) / (mean ** 2 + 1 + Math.sqrt(squares / Math.max(count - 1, 1)) + EPS);
  };
  const places = values.map((_, i) => i).filter((i) => truth[i]);
  const cy = roundHalfEven(sum(places.map((i) => Math.floor(i / width))) / places.length) + 1;
  const cx = roundHalfEven(sum(places.map((i) => i % width)) / places.length) + 1;
  let region = 0;
  for (const [top, bottom] of [[0, cy], [cy, height]]) {
    for (const [left, right] of [[0, cx], [cx, width]]) {
      const here = [];
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) here.push(y * width + x);
      if (here.length) region += (here.length / values.length) * similarity(here.map((i) => values[i]), here.map((i) => truth[i]));
    }
  }
  return Math.max(0, (share * object(inside) + (1 - share) * object(outside)) / 2 + region / 2);
}

/** The structural similarity of two lists. */
function similarity(xs, ys) {
  const [x, y] = [moments(xs), moments(ys)];
  const free = Math.max(xs.length - 1, 1);
  const both = x.squares && y.squares ? sum(xs.map((v, i) => (v - x.mean) * (ys[i] - y.mean))) / free : 0;
  const above = 4 * x.mean * y.mean * both;
  const below = (x.mean ** 2 + y.mean ** 2) * ((x.squares + y.squares) / free);
  if (above === 0) return below === 0 ? 1 : 0;
  return above / (below + EPS);
}

/** Pixels of a mask with a neighbour, of four, that is not in it: their indices. */
function outlineOf(mask, height, width) {
  const found = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      if (!mask[i]) continue;
      if ((y && !mask[i - width]) || (y + 1 < height && !mask[i + width]) || (x && !mask[i - 1]) || (x + 1 < width && !mask[i + 1])) found.push(i);
    }
  }
  return found;
}

/** F of the outlines of the map at ½ and of the truth, which agree within a radius, px. */
function boundaryF(codes, truth, height, width, radius) {
  const ours = outlineOf(Array.from(codes, (c) => c / 255 >= 0.5), height, width);
  const theirs = outlineOf(truth, height, width);
  if (!ours.length || !theirs.length) return Number(ours.length === theirs.length);
  const reach = Math.floor(radius);
  const near = (some, others) => {
    const there = new Set(others);
    const hit = (i) => {
      const [y, x] = [Math.floor(i / width), i % width];
      for (let dy = -reach; dy <= reach; dy++) {
        for (let dx = -reach; dx <= reach; dx++) {
          const inside = x + dx >= 0 && x + dx < width && y + dy >= 0 && y + dy < height;
          if (inside && Math.hypot(dx, dy) <= radius && there.has((y + dy) * width + x + dx)) return true;
        }
      }
      return false;
    };
    return some.filter(hit).length / some.length;
  };
  const [precision, recall] = [near(ours, theirs), near(theirs, ours)];
  return precision + recall ? (2 * precision * recall) / (precision + recall) : 0;
}

/** All five, and the two curves. */
function measure(codes, truth, height, width, radius) {
  const counts = countLevels(codes, truth);
  const [f, e] = [fCurve(counts), eCurve(counts)];
  const mae = sum(Array.from(codes, (c, i) => Math.abs(c / 255 - truth[i]))) / codes.length;
  const values = {
    mae, f: Math.max(...f), s: sMeasure(codes, truth, height, width), e: Math.max(...e),
    boundary: boundaryF(codes, truth, height, width, radius),
  };
  return { values, f, e };
}

/** A mean over 3 × 3 pixels, of those that there are. */
function blur(codes, height, width) {
  return Uint8Array.from(codes, (_, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    const around = [];
    for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) around.push(codes[v * width + u]);
    }
    return Math.round(sum(around) / around.length);
  });
}

const ROWS = [
  ["mae", "MAE (less is better)", "#969696"], ["f", "F, best threshold", "#e69f00"], ["s", "S", "#009e73"],
  ["e", "E, best threshold", "#56b4e9"], ["boundary", "boundary F", "#cc79a7"],
];

function render({ model, el }) {
  const get = (name) => model.get(name);
  const [height, width, radius] = ["height", "width", "radius"].map(get);
  const size = height * width;
  const packed = bytes(get("truth"));
  const truth = Array.from({ length: size }, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
  const readyMaps = bytes(get("ready"));
  const names = get("names");
  const borders = outlines({ height, width, pointAt: Int32Array.from(truth, (_, i) => i) }, truth.map((t) => t + 1));
  let codes = Uint8Array.from(bytes(get("codes")));
  let [value, side, cursor, before, now] = [1, 3, null, null, null];
  const undone = [];

  // ---- what the reader sees and moves

  const keys = "Keys: arrows move the brush (with shift by five), space paints, U takes back.";
  const stage = panel({
    title: "Paint a prediction", caption: "Orange: the true object's outline. Drag to paint.",
    label: `A saliency map to paint. ${keys}`, ratio: height / width, draw: drawStage,
  });
  const curves = panel({
    title: "At each threshold", caption: "F orange, E blue; the dots are the maxima.", label: "F and E against the threshold", ratio: 0.5,
    draw: drawCurves, interactive: false,
  });
  const rows = Object.fromEntries(ROWS.map(([name, text, colour]) => {
    const [bar, shown, change] = [make("i"), make("b"), make("em")];
    bar.style.background = colour;
    const row = make("div", { class: "pti-measure" }, make("span", {}, text), make("div", { class: "pti-bar" }, bar), shown, change);
    return [name, { row, bar, shown, change }];
  }));
  const brush = slider({ label: "Brush paints", name: "brush", min: 0, max: 1, step: 0.05, value, text: (v) => Number(v).toFixed(2), onInput: (v) => (value = v) });
  const sides = choice({ label: "Brush", name: "side", options: [["1", "1 px"], ["3", "3 px"], ["7", "7 px"]], value: "3", onChange: (v) => { side = Number(v); paint(); } });
  const button = (text, action) => {
    const element = make("button", { type: "button", class: "pti-button" }, text);
    element.addEventListener("click", action);
    return element;
  };
  const undo = button("Undo", takeBack);
  const ready = names.map((name, k) => button(name, () => replace(readyMaps.slice(k * size, (k + 1) * size))));
  const task = make("p", { class: "pti-note" });
  const { root, stop } = figureRoot({
    model,
    name: "painter",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, stage.element,
        make("div", {}, make("div", { class: "pti-title" }, "Five measures"), ...Object.values(rows).map((r) => r.row), curves.element)),
      make("div", { class: "pti-controls" }, brush.element, sides.element,
        make("div", { class: "pti-row" }, undo, button("Blur", () => replace(blur(codes, height, width))))),
      make("div", { class: "pti-row pti-ready" }, make("span", {}, "Ready-made:"), ...ready),
      task,
    ],
  });
  const announce = announcer(root);

  // ---- changing the map

  /** Puts what the reader did into the model, which the kernel and other copies hear of. */
  function store() {
    model.set("codes", new DataView(codes.slice().buffer));
    model.save_changes();
    update();
  }

  function remember() {
    undone.push(codes.slice());
    if (undone.length > 100) undone.shift();
    before = now?.values ?? null;
  }

  function replace(next) {
    remember();
    codes = Uint8Array.from(next);
    store();
  }

  function takeBack() {
    if (!undone.length) return;
    before = now.values;
    codes = undone.pop();
    store();
  }

  /** Paints a square round a pixel. */
  function dab(x, y) {
    const half = (side - 1) / 2;
    for (let v = Math.max(0, y - half); v <= Math.min(height - 1, y + half); v++) {
      for (let u = Math.max(0, x - half); u <= Math.min(width - 1, x + half); u++) codes[v * width + u] = Math.round(255 * value);
    }
  }

  function update() {
    now = measure(codes, truth, height, width, radius);
    for (const [name, { bar, shown, change }] of Object.entries(rows)) {
      const v = now.values[name];
      const step = before ? v - before[name] : 0;
      bar.style.width = `${100 * Math.min(1, v)}%`;
      shown.textContent = v.toFixed(3);
      change.textContent = Math.abs(step) < 0.0005 ? "" : `${step > 0 ? "+" : "−"}${Math.abs(step).toFixed(3)}`;
      root.dataset[name] = v.toFixed(6);
    }
    const solved = now.values.boundary > 0.9 && now.values.f < 0.6;
    task.dataset.solved = solved;
    task.textContent = solved ? `Done: boundary F is ${now.values.boundary.toFixed(2)}, F only ${now.values.f.toFixed(2)}.` : TASK;
    undo.disabled = !undone.length;
    Object.assign(root.dataset, { solved, steps: undone.length, total: sum(Array.from(codes)) });
    announce(ROWS.map(([name, text]) => `${text} ${now.values[name].toFixed(2)}`).join(", "));
    paint();
  }

  // ---- drawing

  function drawStage(context, w, h) {
    const picture = make("canvas", { width, height });
    const data = new ImageData(width, height);
    codes.forEach((c, i) => data.data.set([c, c, c, 255], 4 * i));
    picture.getContext("2d").putImageData(data, 0, 0);
    const scale = w / width;
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, w, h);
    context.save();
    context.scale(scale, scale);
    for (const [colour, line] of [["rgb(0 0 0 / 0.7)", 3.5], ["#e69f00", 1.8]]) {
      context.strokeStyle = colour;
      context.lineWidth = line / scale;
      context.stroke(borders);
    }
    if (cursor) {
      const half = (side - 1) / 2;
      for (const [colour, line] of [["#000", 4], ["#fff", 1.8]]) {
        context.strokeStyle = colour;
        context.lineWidth = line / scale;
        context.strokeRect(cursor[0] - half, cursor[1] - half, side, side);
      }
    }
    context.restore();
  }

  function drawCurves(context, w, h) {
    if (!now) return;
    const [left, right, top, bottom] = [30, w - 10, 8, h - 20];
    const at = (k) => left + (k / 255) * (right - left);
    const place = (v) => bottom - Math.min(1, v) * (bottom - top);
    context.strokeStyle = ink(root, "line");
    context.strokeRect(left, top, right - left, bottom - top);
    for (const [curve, colour] of [[now.e, "#56b4e9"], [now.f, "#e69f00"]]) {
      context.beginPath();
      curve.forEach((v, k) => context[k ? "lineTo" : "moveTo"](at(k), place(v)));
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = 2.2;
      context.stroke();
      const best = curve.indexOf(Math.max(...curve));
      context.beginPath();
      context.arc(at(best), place(curve[best]), 4, 0, 2 * Math.PI);
      context.fill();
    }
    context.fillStyle = ink(root, "soft");
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    for (const v of [0, 1]) context.fillText(String(v), left - 5, place(v) + 4);
    for (const v of [0, 1]) {
      context.textAlign = v ? "right" : "left";
      context.fillText(String(v), at(255 * v), h - 5);
    }
    context.textAlign = "center";
    context.fillText("threshold", (left + right) / 2, h - 5);
  }

  // ---- painting

  const { canvas } = stage;
  let last = null;
  const pixel = (event) => {
    const box = canvas.getBoundingClientRect();
    const clip = (v, most) => Math.max(0, Math.min(most - 1, Math.floor(v)));
    return [clip(((event.clientX - box.left) / box.width) * width, width), clip(((event.clientY - box.top) / box.height) * height, height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    remember();
    last = pixel(event);
    dab(...last);
    updateSoon();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = pixel(event);
    const far = Math.max(Math.abs(next[0] - last[0]), Math.abs(next[1] - last[1]));
    for (let k = 1; k <= far; k++) dab(...[0, 1].map((c) => Math.round(last[c] + ((next[c] - last[c]) * k) / far)));
    last = next;
    updateSoon();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, () => {
      if (last) store();
      last = null;
    });
  }
  onArrow(canvas, (dx, dy) => {
    const clip = (v, most) => Math.max(0, Math.min(most - 1, v));
    const [x, y] = cursor ?? [Math.floor(width / 2), Math.floor(height / 2)];
    cursor = dx === null ? null : [clip(x + dx, width), clip(y + dy, height)];
    root.dataset.cursor = cursor ? cursor.join(",") : "";
    if (cursor) announce(`Column ${cursor[0]}, row ${cursor[1]}, painted ${(codes[cursor[1] * width + cursor[0]] / 255).toFixed(2)}, ${truth[cursor[1] * width + cursor[0]] ? "in" : "outside"} the object`);
    paint();
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "u" || event.key === "U") return takeBack();
    if ((event.key !== " " && event.key !== "Enter") || !cursor) return;
    event.preventDefault();
    remember();
    dab(...cursor);
    store();
  });

  const paint = onNextFrame(() => [stage, curves].forEach((p) => p.paint()));
  const updateSoon = onNextFrame(update);
  const silence = listen(model, {
    codes: () => {
      const next = bytes(get("codes"));
      if (next.every((c, i) => c === codes[i])) return;
      codes = Uint8Array.from(next);
      update();
    },
  });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop, curves.stop].forEach((end) => end());
}

export { measure, blur };
export default { render };
