/* A box over the cells of a map: what RoIPool and RoIAlign read from under it. */

const roundHalfUp = (v) => Math.sign(v) * Math.floor(Math.abs(v) + 0.5);

/** The bins along one axis as [first, last) cells; `low` and `high` are the box's ends, in cells. */
function poolBins(low, high, bins) {
  const start = roundHalfUp(low);
  const size = Math.max(roundHalfUp(high) - start + 1, 1);
  return Array.from({ length: bins }, (_, k) => [start + Math.floor((k * size) / bins), start + Math.ceil(((k + 1) * size) / bins)]);
}

/** RoIPool: the maximum of the cells of each bin, by rows; `box` in cells. */
function roiPool({ values, rows, columns }, box, bins) {
  const clip = ([a, b], most) => [Math.min(Math.max(a, 0), most), Math.min(Math.max(b, 0), most)];
  const across = poolBins(box[0], box[2], bins).map((b) => clip(b, columns));
  const down = poolBins(box[1], box[3], bins).map((b) => clip(b, rows));
  return down.flatMap(([top, bottom]) =>
    across.map(([left, right]) => {
      let best = top < bottom && left < right ? -Infinity : 0;
      for (let r = top; r < bottom; r++) for (let c = left; c < right; c++) best = Math.max(best, values[r * columns + c]);
      return best;
    }),
  );
}

/** The points along one axis that RoIAlign reads, bin by bin, in cells. */
function alignPoints(low, high, bins, points) {
  const size = Math.max(high - low, 1) / bins;
  return Array.from({ length: bins * points }, (_, k) => low + ((k + 0.5) * size) / points);
}

/** A map read between its cells; a cell's value stands at its whole number, and beyond one cell outside is 0. */
function bilinear({ values, rows, columns }, x, y) {
  if (x < -1 || x > columns || y < -1 || y > rows) return 0;
  const along = (v, most) => {
    const at = Math.min(Math.max(v, 0), most - 1);
    const low = Math.floor(at);
    return [low, Math.min(low + 1, most - 1), at - low];
  };
  const [left, right, u] = along(x, columns);
  const [top, bottom, v] = along(y, rows);
  const row = (r) => (1 - u) * values[r * columns + left] + u * values[r * columns + right];
  return (1 - v) * row(top) + v * row(bottom);
}

/** RoIAlign: the mean of `points` × `points` readings of each bin, by rows; `box` in cells. */
function roiAlign(map, box, bins, points = 2) {
  const across = alignPoints(box[0], box[2], bins, points);
  const down = alignPoints(box[1], box[3], bins, points);
  const sums = new Array(bins * bins).fill(0);
  down.forEach((y, j) => across.forEach((x, i) => (sums[Math.floor(j / points) * bins + Math.floor(i / points)] += bilinear(map, x, y))));
  return sums.map((s) => s / points ** 2);
}

const meanChange = (a, b) => a.reduce((sum, v, k) => sum + Math.abs(v - b[k]), 0) / a.length;
const COLOUR = { pool: "#e69f00", align: "#0072b2" };
const STEP = 0.1; // px

function render({ model, el }) {
  const get = (name) => model.get(name);
  const picture = decodeWhole(get("picture"));
  const { height, width } = picture;
  const [stride, reach, low, high] = ["stride", "reach", "low", "high"].map(get);
  const [rows, columns] = [Math.floor(height / stride), Math.floor(width / stride)];
  const map = { rows, columns, values: Array.from(bytes(get("codes")), (c) => low + (c / 255) * (high - low)) };
  const painted = paintClasses(picture, new Uint8Array(height * width), 0);
  const boxAt = (x, y) => get("box").map((v, k) => v + (k % 2 ? y : x));
  const inCells = (box) => box.map((v) => v / stride);
  const ways = { pool: roiPool, align: roiAlign };
  let grids = {};

  function move(x, y) {
    const clip = (v) => Math.round(Math.min(Math.max(v, -reach), reach) / STEP) * STEP;
    model.set({ x: Number(clip(x).toFixed(3)), y: Number(clip(y).toFixed(3)) });
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const keys = "Drag the box, or focus and use the arrow keys: 0.1 px each, with shift 0.5.";
  const stage = panel({
    title: "Picture, in the cells of the map", caption: `Blue: the box, and the points RoIAlign reads. Orange: what RoIPool reads. ${keys}`,
    label: `A box over cells. ${keys}`, ratio: height / width, draw: drawStage,
  });
  const gridPanel = (name, title) => panel({ title, label: `The grid that ${title} makes`, ratio: 1, draw: (c, w) => drawGrid(c, w, name), interactive: false });
  const pooled = gridPanel("pool", "RoIPool");
  const aligned = gridPanel("align", "RoIAlign");
  const curve = panel({ title: "One bin while the box moves to the right", caption: "Of the bin with a frame. The line: where the box is.", label: "Value of one bin against the way of the box", ratio: 0.5, draw: drawCurve, interactive: false });
  const text = (v) => `${Number(v) >= 0 ? "+" : "−"}${Math.abs(v).toFixed(1)} px`;
  const limits = { min: -reach, max: reach, step: STEP, text };
  const right = slider({ label: "to the right", name: "to the right", value: get("x"), ...limits, onInput: (v) => move(v, get("y")) });
  const down = slider({ label: "down", name: "down", value: get("y"), ...limits, onInput: (v) => move(get("x"), v) });
  const bins = choice({
    label: "Bins a side", name: "bins", value: String(get("bins")), options: ["2", "4", "7"].map((v) => [v, v]),
    onChange: (v) => { model.set({ bins: Number(v) }); model.save_changes(); },
  });
  const tiles = {
    slip: number("px: farthest corner of what RoIPool reads from the box"),
    pool: number("change of RoIPool's grid since the start"),
    align: number("change of RoIAlign's grid since the start"),
  };
  for (const name of ["pool", "align"]) tiles[name].element.style.borderTop = `4px solid ${COLOUR[name]}`;
  const { root, stop } = figureRoot({
    model,
    name: "roi",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, stage.element,
        make("div", {}, make("div", { class: "pti-pair" }, pooled.element, aligned.element), curve.element)),
      make("div", { class: "pti-readout" }, ...Object.values(tiles).map((t) => t.element)),
      make("div", { class: "pti-controls" }, right.element, down.element, bins.element),
    ],
  });
  const announce = announcer(root);
  let watched = { bin: 0, low, high, curves: {} };

  /** What the curve shows: the bin in which RoIPool jumps most along the way, and both its curves. */
  function watch() {
    const n = get("bins");
    const places = Array.from({ length: 161 }, (_, k) => -reach + (2 * reach * k) / 160);
    const along = (way) => places.map((x) => way(map, inCells(boxAt(x, get("y"))), n));
    const all = { pool: along(roiPool), align: along(roiAlign) };
    const range = (k) => Math.max(...all.pool.map((g) => g[k])) - Math.min(...all.pool.map((g) => g[k]));
    const bin = Array.from({ length: n * n }, (_, k) => k).reduce((a, b) => (range(b) > range(a) + 1e-9 ? b : a), 0);
    const curves = Object.fromEntries(Object.entries(all).map(([name, grids_]) => [name, grids_.map((g) => g[bin])]));
    const values = [...curves.pool, ...curves.align];
    watched = { bin, places, curves, low: Math.min(...values), high: Math.max(...values) };
  }

  /** The box that RoIPool reads, px. */
  function snapped() {
    const [x1, y1, x2, y2] = inCells(boxAt(get("x"), get("y"))).map(roundHalfUp);
    return [x1, y1, Math.max(x2, x1) + 1, Math.max(y2, y1) + 1].map((v) => v * stride);
  }

  function update() {
    const n = get("bins");
    const box = boxAt(get("x"), get("y"));
    const changes = {};
    for (const [name, way] of Object.entries(ways)) {
      grids[name] = way(map, inCells(box), n);
      changes[name] = meanChange(grids[name], way(map, inCells(boxAt(0, 0)), n));
      tiles[name].value.textContent = changes[name].toFixed(3);
    }
    watch();
    const read = snapped();
    const slip = Math.max(...read.map((v, k) => Math.abs(v - box[k])));
    tiles.slip.value.textContent = slip.toFixed(1);
    right.set(get("x"));
    down.set(get("y"));
    bins.set(String(n));
    Object.assign(root.dataset, { x: get("x").toFixed(1), y: get("y").toFixed(1), bins: n, slip: slip.toFixed(1), read: read.join(","), pool: changes.pool.toFixed(4), align: changes.align.toFixed(4) });
    announce(`RoIPool's grid changed by ${changes.pool.toFixed(3)}, RoIAlign's by ${changes.align.toFixed(3)}.`);
    paint();
  }

  // ---- drawing

  function drawStage(context, w, h) {
    const scale = w / width;
    const side = stride * scale;
    context.imageSmoothingEnabled = false;
    context.drawImage(painted, 0, 0, w, h);
    context.strokeStyle = "rgb(255 255 255 / 0.3)";
    context.lineWidth = 1;
    for (let k = 1; k < columns; k++) context.strokeRect(k * side, -2, 0, h + 4);
    for (let k = 1; k < rows; k++) context.strokeRect(-2, k * side, w + 4, 0);
    const frame = ([x1, y1, x2, y2], colour, line) => {
      for (const [c, l] of [["rgb(0 0 0 / 0.7)", line + 2], [colour, line]]) {
        context.strokeStyle = c;
        context.lineWidth = l;
        context.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
      }
    };
    const n = get("bins");
    const box = boxAt(get("x"), get("y"));
    const cells = inCells(box);
    const inPixels = (spans) => spans.map((s) => s.map((v) => v * stride));
    const across = inPixels(poolBins(cells[0], cells[2], n));
    const along = inPixels(poolBins(cells[1], cells[3], n));
    context.fillStyle = "rgb(230 159 0 / 0.25)";
    along.forEach(([t, b], j) => across.forEach(([l, r], i) => (i + j) % 2 || context.fillRect(l * scale, t * scale, (r - l) * scale, (b - t) * scale)));
    frame(snapped(), COLOUR.pool, 2.5);
    frame(box, "#56b4e9", 2.5);
    context.fillStyle = "#56b4e9";
    context.strokeStyle = "#000";
    context.lineWidth = 0.7;
    for (const y of alignPoints(cells[1], cells[3], n, 2)) {
      for (const x of alignPoints(cells[0], cells[2], n, 2)) {
        context.beginPath();
        // a cell's value stands at its upper left corner, for both ways of pooling
        context.arc(x * side, y * side, Math.max(1.5, w / 220), 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      }
    }
  }

  function drawGrid(context, w, name) {
    const n = get("bins");
    const side = w / n;
    const span = high - low || 1;
    grids[name].forEach((v, k) => {
      const tone = Math.round((255 * (v - low)) / span);
      const [x, y] = [(k % n) * side, Math.floor(k / n) * side];
      context.fillStyle = `rgb(${tone} ${tone} ${tone})`;
      context.fillRect(x, y, side + 0.5, side + 0.5);
      if (n > 4) return;
      context.fillStyle = tone > 127 ? "#000" : "#fff";
      context.font = `${Math.min(13, side / 3)}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(v.toFixed(2), x + side / 2, y + side / 2);
    });
    const k = watched.bin;
    context.strokeStyle = COLOUR[name];
    context.lineWidth = 3;
    context.strokeRect((k % n) * side + 1.5, Math.floor(k / n) * side + 1.5, side - 3, side - 3);
  }

  function drawCurve(context, w, h) {
    const { places, curves, low: least, high: most } = watched;
    const [left, end, top, bottom] = [38, w - 10, 10, h - 22];
    const at = (x) => left + ((x + reach) / (2 * reach)) * (end - left);
    const place = (v) => bottom - 4 - ((v - least) / (most - least || 1)) * (bottom - top - 8);
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    context.strokeRect(left, top, end - left, bottom - top);
    for (const name of ["pool", "align"]) {
      context.beginPath();
      curves[name].forEach((v, k) => context[k ? "lineTo" : "moveTo"](at(places[k]), place(v)));
      context.strokeStyle = COLOUR[name];
      context.lineWidth = 2.5;
      context.stroke();
    }
    context.strokeStyle = context.fillStyle = ink(root, "soft");
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(at(get("x")), top);
    context.lineTo(at(get("x")), bottom);
    context.stroke();
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "alphabetic";
    for (const [v, align] of [[-reach, "left"], [0, "center"], [reach, "right"]]) {
      context.textAlign = align;
      context.fillText(text(v), at(v), h - 6);
    }
    context.textAlign = "right";
    for (const v of [least, most]) context.fillText(v.toFixed(2), left - 5, place(v) + 4);
  }

  // ---- moving the box

  let held = null;
  const pixel = (event) => {
    const box = stage.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  stage.canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = pixel(event);
    const [x1, y1, x2, y2] = boxAt(get("x"), get("y"));
    if (x < x1 || x > x2 || y < y1 || y > y2) return;
    held = [x - get("x"), y - get("y")];
    stage.canvas.setPointerCapture(event.pointerId);
  });
  stage.canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = pixel(event);
    move(x - held[0], y - held[1]);
  });
  for (const name of ["pointerup", "pointercancel"]) stage.canvas.addEventListener(name, () => (held = null));
  onArrow(stage.canvas, (dx, dy) => (dx === null ? move(0, 0) : move(get("x") + STEP * dx, get("y") + STEP * dy)));

  const paint = onNextFrame(() => [stage, pooled, aligned, curve].forEach((p) => p.paint()));
  const silence = listen(model, { x: update, y: update, bins: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, ...[stage, pooled, aligned, curve].map((p) => p.stop)].forEach((end) => end());
}

export { roiPool, roiAlign };
export default { render };
