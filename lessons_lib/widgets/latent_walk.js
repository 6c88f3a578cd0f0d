/* A walk through the plane of latent numbers: the decoder runs here. */

const SIDE = 8;
const PIXELS = SIDE * SIDE;
const REACH = 3; // of the plane of a question, whose coordinates are noise
const INK = 16;
const CORNERS = [[-1, 1], [1, 1], [-1, -1], [1, -1]]; // other noises, whose answers are shown small
const TILES = 12; // decoded digits along a side of the plane

/** Numbers of four bytes; the buffer may begin anywhere, so it is copied. */
const floats = (buffer) => new Float32Array(bytes(buffer).slice().buffer);

/** Rows of numbers as latent_walk.py packs them, each column over its own range. */
function unpackRows(stored) {
  const [low, high] = [floats(stored.low), floats(stored.high)];
  return { values: dequantise(stored.codes, low, high), columns: low.length };
}

/** A dense layer: weights by rows, one for each input. */
function openLayer(stored) {
  const { values, columns } = unpackRows(stored);
  return { weight: values, outputs: columns, bias: floats(stored.bias) };
}

/** The decoder: dense layers with ReLUs between them, and a sigmoid; `start` replaces the first bias. */
function decode(layers, code, start = null) {
  let values = code;
  layers.forEach(({ weight, outputs, bias }, k) => {
    const next = Float64Array.from(k || !start ? bias : start);
    for (let i = 0; i < values.length; i++) {
      if (values[i] === 0) continue;
      for (let o = 0; o < outputs; o++) next[o] += values[i] * weight[i * outputs + o];
    }
    if (k < layers.length - 1) for (let o = 0; o < outputs; o++) next[o] = Math.max(0, next[o]);
    values = next;
  });
  return Array.from(values, (v) => 1 / (1 + Math.exp(-v)));
}

/** The plane of an encoder: its decoder, the digits' places, and a square window round them. */
function openPlane({ name, layers, points }) {
  const { values } = unpackRows(points);
  const count = values.length / 2;
  const place = Array.from({ length: count }, (_, i) => [values[2 * i], values[2 * i + 1]]);
  const ends = [0, 1].map((c) => [Math.min(...place.map((p) => p[c])), Math.max(...place.map((p) => p[c]))]);
  const half = 0.54 * Math.max(...ends.map(([low, high]) => high - low)) || 1;
  const middle = ends.map(([low, high]) => (low + high) / 2);
  const opened = layers.map(openLayer);
  return { name, place, middle, half, start: place[0], answer: (code) => decode(opened, code) };
}

/** The plane of the questions: noise, which the prior of each turns into z. */
function openQuestions(stored) {
  const layers = stored.layers.map(openLayer);
  const { values: starts, columns } = unpackRows(stored.starts);
  const [priors, truths, pictures, bits] = [floats(stored.priors), floats(stored.truths), bytes(stored.pictures), bytes(stored.visible)];
  const seen = (q, i) => (bits[(q * PIXELS + i) >> 3] >> (7 - (i & 7))) & 1;
  const picture = (q) => Array.from({ length: PIXELS }, (_, i) => pictures[q * PIXELS + i] / INK);
  const answer = (noise, q) => {
    const code = noise.map((v, c) => priors[4 * q + c] + priors[4 * q + 2 + c] * v);
    const drawn = decode(layers, code, starts.subarray(q * columns, (q + 1) * columns));
    return picture(q).map((v, i) => (seen(q, i) ? v : drawn[i]));
  };
  const truth = (q) => [truths[2 * q], truths[2 * q + 1]];
  return { name: "CVAE", place: [], middle: [0, 0], half: REACH, start: [0, 0], answer, seen, picture, truth, count: pictures.length / PIXELS };
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const labels = bytes(get("labels"));
  const planes = get("planes").map(openPlane);
  const asked = Object.keys(get("questions")).length ? openQuestions(get("questions")) : null;
  if (asked) planes.push(asked);
  const current = () => planes[get("plane")];
  const asking = () => current() === asked;
  const step = () => current().half / 50;
  let shown = "digits";
  let tiles = null; // the plane decoded, as long as plane and question stay
  let drawn = new Array(PIXELS).fill(0);

  function change(values) {
    model.set(values);
    model.save_changes();
  }

  function move(x, y) {
    const { middle, half } = current();
    const clip = (v, c) => Number(Math.min(Math.max(v, middle[c] - half), middle[c] + half).toFixed(3));
    change({ x: clip(x, 0), y: clip(y, 1) });
  }

  // ---- what the reader sees and moves

  const keys = "Drag the ring, or focus the plane and use the arrow keys.";
  const map = panel({ title: "Two latent numbers", caption: keys, label: `The plane of two latent numbers. ${keys}`, ratio: 1, draw: drawMap });
  const digit = panel({ title: "What the decoder makes of the point", caption: " ", label: "The decoded digit, 8 by 8 pixels", ratio: 1, draw: drawDigit, interactive: false });
  const captions = [map, digit].map((p) => p.element.querySelector(".pti-caption"));
  const which = choice({
    label: "Model", name: "plane", value: String(get("plane")), options: planes.map((p, k) => [String(k), p.name]),
    onChange: (v) => {
      const [x, y] = planes[Number(v)].start.map((n) => Number(n.toFixed(3)));
      change({ plane: Number(v), x, y });
    },
  });
  const look = choice({
    label: "Plane shows", name: "look", value: shown, options: [["digits", "encoded digits"], ["decoded", "decoded digits"]],
    onChange: (v) => { shown = v; update(); },
  });
  const pick = slider({
    label: "Question", name: "question", min: 1, max: asked ? asked.count : 1, step: 1, value: get("question") + 1,
    onInput: (v) => change({ question: v - 1 }),
  });
  const readout = { point: number("the point"), near: number("") };
  const { root, stop } = figureRoot({
    model,
    name: "walk",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, map.element, digit.element),
      make("div", { class: "pti-readout" }, ...Object.values(readout).map((t) => t.element)),
      make("div", { class: "pti-controls" }, which.element, look.element, ...(asked ? [pick.element] : [])),
    ],
  });
  const announce = announcer(root);

  /** The encoded digit nearest to the point: its label, and how far it is. */
  function nearest([x, y]) {
    const away = current().place.map(([a, b]) => Math.hypot(a - x, b - y));
    const best = away.reduce((k, d, i) => (d < away[k] ? i : k), 0);
    return [labels[best], away[best]];
  }

  function update() {
    const plane = current();
    const point = [get("x"), get("y")];
    const q = get("question");
    drawn = plane.answer(point, q);
    const key = `${get("plane")} ${asking() ? q : ""}`;
    if (shown === "decoded" && tiles?.key !== key) tiles = { key, canvas: decodeTiles(plane, q) };
    which.set(String(get("plane")));
    pick.set(q + 1);
    pick.element.style.display = asking() ? "" : "none";
    readout.point.value.textContent = point.map((v) => v.toFixed(2)).join(", ");
    if (asking()) {
      const [a, b] = plane.truth(q);
      readout.point.text.textContent = "the noise; its circles hold 39 % and 86 % of the draws";
      readout.near.value.textContent = Math.hypot(point[0] - a, point[1] - b).toFixed(2);
      readout.near.text.textContent = "from the cross: where the posterior, which saw the answer, would look";
      captions[1].textContent = "On one side of the line what is shown, on the other the answer. Below: the answers to the noises (±1, ±1).";
    } else {
      const [label, away] = nearest(point);
      readout.point.text.textContent = "the point, two latent numbers";
      readout.near.value.textContent = `${label}, ${(away / plane.half).toFixed(2)}`;
      readout.near.text.textContent = "the nearest encoded digit, and how far it is in half widths of the plane";
      captions[1].textContent = "Each pixel between no ink and full ink.";
    }
    const ink = drawn.reduce((sum, v) => sum + v, 0);
    Object.assign(root.dataset, { plane: get("plane"), question: q, x: get("x").toFixed(3), y: get("y").toFixed(3), look: shown, ink: ink.toFixed(3) });
    announce(`${plane.name}, point ${readout.point.value.textContent}. ${asking() ? "" : `Nearest digit: ${readout.near.value.textContent}.`}`);
    paint();
  }

  // ---- drawing

  /** Digits decoded on a grid over the whole plane, dark ink on white: a small canvas to be scaled up. */
  function decodeTiles({ middle, half, answer }, q) {
    const canvas = make("canvas", { width: TILES * SIDE, height: TILES * SIDE });
    const data = new ImageData(TILES * SIDE, TILES * SIDE);
    const along = (k) => ((k + 0.5) / TILES) * 2 - 1;
    for (let row = 0; row < TILES; row++) {
      for (let column = 0; column < TILES; column++) {
        const values = answer([middle[0] + half * along(column), middle[1] - half * along(row)], q);
        values.forEach((v, i) => {
          const at = 4 * ((row * SIDE + Math.floor(i / SIDE)) * TILES * SIDE + column * SIDE + (i % SIDE));
          const tone = 255 * (1 - v);
          data.data.set([tone, tone, tone, 255], at);
        });
      }
    }
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  function drawMap(context, w) {
    const { middle, half, place } = current();
    const x = (v) => w / 2 + ((v - middle[0]) / half) * (w / 2);
    const y = (v) => w / 2 - ((v - middle[1]) / half) * (w / 2);
    if (shown === "decoded" && tiles) {
      context.drawImage(tiles.canvas, 0, 0, w, w);
      context.strokeStyle = "#8a8f98";
      context.lineWidth = 0.5;
      context.beginPath();
      for (let k = 1; k < TILES; k++) {
        context.moveTo((k * w) / TILES, 0);
        context.lineTo((k * w) / TILES, w);
        context.moveTo(0, (k * w) / TILES);
        context.lineTo(w, (k * w) / TILES);
      }
      context.stroke();
    }
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x(0), 0);
    context.lineTo(x(0), w);
    context.moveTo(0, y(0));
    context.lineTo(w, y(0));
    context.stroke();
    if (shown === "digits") {
      context.font = "600 12px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      place.forEach(([a, b], i) => {
        context.fillStyle = colourOf(labels[i] + 1);
        context.fillText(labels[i], x(a), y(b));
      });
    }
    if (asking()) {
      context.strokeStyle = ink(root, "soft");
      context.setLineDash([4, 4]);
      for (const r of [1, 2]) {
        context.beginPath();
        context.arc(x(0), y(0), (r / half) * (w / 2), 0, 2 * Math.PI);
        context.stroke();
      }
      context.setLineDash([]);
      const [a, b] = current().truth(get("question")).map((v) => Math.min(Math.max(v, -0.97 * half), 0.97 * half));
      for (const [colour, line] of [["#000", 5], ["#e69f00", 2.5]]) {
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.beginPath();
        for (const s of [-1, 1]) {
          context.moveTo(x(a) - 7, y(b) - 7 * s);
          context.lineTo(x(a) + 7, y(b) + 7 * s);
        }
        context.stroke();
      }
    }
    drawRing(context, x(get("x")), y(get("y")), 8);
  }

  /** A digit in a square of the canvas, dark ink on white whatever the page. */
  function drawInk(context, values, left, top, size) {
    const cell = size / SIDE;
    values.forEach((v, i) => {
      const tone = Math.round(255 * (1 - v));
      context.fillStyle = `rgb(${tone} ${tone} ${tone})`;
      context.fillRect(left + (i % SIDE) * cell, top + Math.floor(i / SIDE) * cell, cell + 0.5, cell + 0.5);
    });
  }

  function drawDigit(context, w) {
    const size = asking() ? 0.78 * w : w; // beside an answer, the truth is shown small
    drawInk(context, drawn, 0, 0, size);
    if (!asking()) return;
    const q = get("question");
    const cell = size / SIDE;
    context.strokeStyle = "#d55e00";
    context.lineWidth = 3;
    context.beginPath();
    for (let i = 0; i < PIXELS; i++) {
      const [r, c] = [Math.floor(i / SIDE), i % SIDE];
      if (r && asked.seen(q, i) !== asked.seen(q, i - SIDE)) {
        context.moveTo(c * cell, r * cell);
        context.lineTo((c + 1) * cell, r * cell);
      }
      if (c && asked.seen(q, i) !== asked.seen(q, i - 1)) {
        context.moveTo(c * cell, r * cell);
        context.lineTo(c * cell, (r + 1) * cell);
      }
    }
    context.stroke();
    const small = 0.2 * w;
    drawInk(context, asked.picture(q), w - small, 0, small);
    context.fillStyle = ink(root, "soft");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText("as written", w - small / 2, small + 16);
    CORNERS.forEach((noise, k) => drawInk(context, current().answer(noise, q), k * 0.26 * w, w - small, small));
  }

  // ---- the pointer and the keys

  let held = false;
  const follow = (event) => {
    const box = map.canvas.getBoundingClientRect();
    const { middle, half } = current();
    const along = (v, size) => (2 * v) / size - 1;
    move(middle[0] + half * along(event.clientX - box.left, box.width), middle[1] - half * along(event.clientY - box.top, box.height));
  };
  map.canvas.addEventListener("pointerdown", (event) => {
    held = true;
    map.canvas.setPointerCapture(event.pointerId);
    follow(event);
  });
  map.canvas.addEventListener("pointermove", (event) => held && follow(event));
  for (const end of ["pointerup", "pointercancel"]) map.canvas.addEventListener(end, () => (held = false));
  onArrow(map.canvas, (right, down) => {
    if (right === null) return move(...current().start);
    move(get("x") + right * step(), get("y") - down * step());
  });

  const paint = onNextFrame(() => [map, digit].forEach((p) => p.paint()));
  const soon = onNextFrame(update);
  const silence = listen(model, { plane: soon, question: soon, x: soon, y: soon });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, map.stop, digit.stop].forEach((end) => end());
}

export { decode, openPlane, openQuestions };
export default { render };
