/* Selective search's merges on a slider: regions, boxes so far, and the objects they find. */

const FOUND = 0.5; // IoU from which an object counts as found

/** Intersection over union of two boxes. */
function overlap(a, b) {
  const side = (i) => Math.max(0, Math.min(a[i + 2], b[i + 2]) - Math.max(a[i], b[i]));
  const area = (box) => Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
  const shared = side(0) * side(1);
  return shared / Math.max(area(a) + area(b) - shared, 1e-12);
}

/** The node of each first region after so many merges. */
function nodesAfter(pairs, merges) {
  const leaves = pairs.length + 1;
  const node = Array.from({ length: leaves + merges }, (_, k) => k);
  for (let k = merges - 1; k >= 0; k--) for (const part of pairs[k]) node[part] = node[leaves + k];
  return node.slice(0, leaves);
}

/** The best overlap of each object with any of the first so many boxes, for every number of merges. */
function bestOverlaps(boxes, pairs, truth) {
  const leaves = pairs.length + 1;
  let best = truth.map((t) => Math.max(...boxes.slice(0, leaves).map((b) => overlap(b, t))));
  const rows = [best];
  for (let k = leaves; k < boxes.length; k++) {
    best = best.map((value, i) => Math.max(value, overlap(boxes[k], truth[i])));
    rows.push(best);
  }
  return rows;
}

/** How many different boxes there are for every number of merges. */
function countBoxes(boxes, leaves) {
  const seen = new Set();
  return boxes.map((box) => seen.add(box.join()).size).slice(leaves - 1);
}

function render({ model, el }) {
  const picture = decodeWhole(model.get("picture"));
  const { height, width, image } = picture;
  const first = decodeRuns(model.get("regions"), height * width);
  const [pairs, boxes, truth, names] = ["pairs", "boxes", "truth", "names"].map((name) => model.get(name));
  const leaves = pairs.length + 1;
  const best = bestOverlaps(boxes, pairs, truth);
  const counts = countBoxes(boxes, leaves);
  const get = (name) => model.get(name);
  const sums = meansOfNodes();
  const plain = paintColours((i, c) => image[3 * i + c]);
  let region = null; // of each pixel
  let painted = plain;
  let borders = new Path2D();

  function change(changes) {
    model.set(changes);
    model.save_changes();
  }

  /** Pixels and sums of the colours of every node. */
  function meansOfNodes() {
    const all = boxes.map(() => [0, 0, 0, 0]);
    first.forEach((k, i) => {
      all[k][3] += 1;
      for (let c = 0; c < 3; c++) all[k][c] += image[3 * i + c];
    });
    pairs.forEach(([a, b], k) => (all[leaves + k] = all[a].map((v, c) => v + all[b][c])));
    return all;
  }

  /** A small canvas of the picture's size. */
  function paintColours(valueAt) {
    const canvas = make("canvas", { width, height });
    const data = new ImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) data.data[4 * i + c] = valueAt(i, c);
      data.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  // ---- what the reader sees and moves

  const stage = panel({
    title: "Regions",
    caption: "Focus and use the arrow keys: left undoes a merge, right does one. Bright: the two regions that were merged last.",
    label: "The picture with its regions. Arrow keys undo and do merges.",
    ratio: height / width,
    draw: drawStage,
  });
  const boxed = panel({
    title: "Boxes so far",
    caption: "White: all boxes. In colour: for each object the best box, thick once it is found, and the true box, dashed.",
    label: "The picture with the boxes of all regions so far.",
    ratio: height / width,
    draw: drawBoxes,
    interactive: false,
  });
  const chart = panel({
    title: "Best IoU of each object",
    caption: "It can only rise: boxes stay, though their regions merge on. Point or drag to choose a merge.",
    label: "Best IoU of each object against the number of merges. Arrow keys undo and do merges.",
    ratio: (w) => (w < 450 ? 0.6 : 0.34),
    draw: drawChart,
  });
  const merged = slider({
    label: "Merges", name: "merges", min: 0, max: leaves - 1, step: 1, value: get("merges"),
    onInput: (k) => change({ merges: k }),
  });
  const colour = toggle({ label: "paint regions in their mean colour", name: "colour", value: get("colour"), onChange: (v) => change({ colour: v }) });
  const numbers = { regions: number("regions left"), boxes: number("different boxes"), found: number("objects found"), recall: number("recall at IoU 0.5") };
  const { root, stop } = figureRoot({
    model,
    name: "merging",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, stage.element, boxed.element),
      make("div", { class: "pti-readout" }, ...Object.values(numbers).map((n) => n.element)),
      make("div", { class: "pti-controls" }, merged.element, colour.element),
      chart.element,
    ],
  });
  const announce = announcer(root);

  // ---- from the setting to the regions

  function update() {
    const merges = get("merges");
    const nodes = nodesAfter(pairs, merges);
    region = Uint16Array.from(first, (k) => nodes[k] + 1);
    borders = outlines(picture, region);
    painted = get("colour") ? paintColours((i, c) => sums[region[i] - 1][c] / sums[region[i] - 1][3]) : plain;
    const found = best[merges].filter((v) => v >= FOUND).length;
    merged.set(merges);
    colour.set(get("colour"));
    numbers.regions.value.textContent = leaves - merges;
    numbers.boxes.value.textContent = counts[merges];
    numbers.found.value.textContent = `${found} of ${truth.length}`;
    numbers.recall.value.textContent = truth.length ? (found / truth.length).toFixed(2) : "–";
    Object.assign(root.dataset, { merges, regions: leaves - merges, boxes: counts[merges], found, colour: get("colour"), best: best[merges].map((v) => v.toFixed(4)).join() });
    announce(`${merges} merges, ${leaves - merges} regions, ${counts[merges]} boxes, ${found} of ${truth.length} objects found`);
    paint();
  }

  // ---- drawing

  /** A box in two lines, so that it shows on any ground. */
  function strokeBox(context, scale, [x1, y1, x2, y2], colour, line, dash = []) {
    context.setLineDash(dash);
    for (const [ink, extra] of [["rgb(0 0 0 / 0.7)", 1.6], [colour, 0]]) {
      context.strokeStyle = ink;
      context.lineWidth = line + extra;
      context.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
    }
    context.setLineDash([]);
  }

  function drawStage(context, w, h) {
    if (!region) return;
    drawPicture(context, w, h, painted, borders);
    const merges = get("merges");
    if (!merges) return;
    const scale = w / width;
    const newest = leaves + merges; // labels are nodes plus one
    context.fillStyle = "rgb(255 255 255 / 0.45)";
    region.forEach((k, i) => k === newest && context.fillRect((i % width) * scale, Math.floor(i / width) * scale, scale + 0.5, scale + 0.5));
    strokeBox(context, scale, boxes[newest - 1], "#fff", 2.5);
  }

  function drawBoxes(context, w, h) {
    if (!region) return;
    const scale = w / width;
    const merges = get("merges");
    drawPicture(context, w, h, plain, new Path2D());
    context.fillStyle = "rgb(0 0 0 / 0.35)";
    context.fillRect(0, 0, w, h);
    context.strokeStyle = "rgb(255 255 255 / 0.35)";
    context.lineWidth = 1;
    const shown = boxes.slice(0, leaves + merges);
    for (const [x1, y1, x2, y2] of shown) context.strokeRect(x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
    truth.forEach((t, k) => {
      const values = shown.map((b) => overlap(b, t));
      const at = values.indexOf(Math.max(...values));
      strokeBox(context, scale, t, colourOf(k + 1), 2, [5, 4]);
      strokeBox(context, scale, shown[at], colourOf(k + 1), values[at] >= FOUND ? 3.5 : 1);
    });
  }

  const LEFT = 34;
  const [TOP, BOTTOM] = [8, 22];
  const across = (k, w) => LEFT + (k / Math.max(1, leaves - 1)) * (w - LEFT - 8);

  function drawChart(context, w, h) {
    const up = (v) => h - BOTTOM - v * (h - TOP - BOTTOM);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    for (const v of [0, 0.5, 1]) {
      context.strokeStyle = ink(root, v === FOUND ? "soft" : "line");
      context.setLineDash(v === FOUND ? [4, 3] : []);
      line(context, [[LEFT, up(v)], [w - 8, up(v)]]);
      context.fillStyle = ink(root, "soft");
      context.fillText(String(v), 8, up(v) + 4);
    }
    context.setLineDash([]);
    context.fillText("merges", LEFT, h - 6);
    context.textAlign = "right";
    context.fillText(String(leaves - 1), w - 8, h - 6);
    context.textAlign = "left";
    truth.forEach((_, k) => {
      context.strokeStyle = colourOf(k + 1);
      context.lineWidth = 2.5;
      line(context, best.flatMap((row, i) => [[across(i, w), up(i ? best[i - 1][k] : row[k])], [across(i, w), up(row[k])]]));
    });
    let free = Infinity; // names stand above the beginnings of their lines, the lowest first, apart from each other
    context.fillStyle = ink(root, "ink");
    for (const k of truth.map((_, i) => i).sort((a, b) => best[0][a] - best[0][b])) {
      free = Math.min(up(best[0][k]) - 5, free - 13);
      context.fillText(names[k], LEFT + 4, Math.max(free, TOP + 8));
    }
    context.strokeStyle = ink(root, "accent");
    context.lineWidth = 2;
    line(context, [[across(get("merges"), w), TOP], [across(get("merges"), w), h - BOTTOM]]);
  }

  function line(context, points) {
    context.beginPath();
    points.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  }

  const clamp = (k) => Math.min(leaves - 1, Math.max(0, k));
  const step = (dx, dy) => dx !== null && change({ merges: clamp(get("merges") + dx - dy) });
  onArrow(stage.canvas, step);
  onArrow(chart.canvas, step);
  const choose = (event) => {
    const box = chart.canvas.getBoundingClientRect();
    const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - 8);
    change({ merges: clamp(Math.round(part * (leaves - 1))) });
  };
  chart.canvas.addEventListener("pointerdown", choose);
  chart.canvas.addEventListener("pointermove", (event) => event.buttons && choose(event));

  const paint = onNextFrame(() => [stage, boxed, chart].forEach((p) => p.paint()));
  const silence = listen(model, { merges: update, colour: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop, boxed.stop, chart.stop].forEach((end) => end());
}

export { bestOverlaps, nodesAfter, overlap };
export default { render };
