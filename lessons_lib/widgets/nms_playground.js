/* Two boxes to drag; scored boxes under a threshold. */

const HANDLE = 14; // CSS px round a corner that take hold of it
const LEAST = 4; // px, the shortest side of a dragged box
const HIT = 0.5; // IoU with an object from which a box finds it

const side = (low, high) => Math.max(0, high - low);
const area = ([x1, y1, x2, y2]) => side(x1, x2) * side(y1, y2);

/** Shared area, union, hull, IoU and generalised IoU of two boxes. */
function overlap(a, b) {
  const shared = side(Math.max(a[0], b[0]), Math.min(a[2], b[2])) * side(Math.max(a[1], b[1]), Math.min(a[3], b[3]));
  const union = area(a) + area(b) - shared;
  const hull = side(Math.min(a[0], b[0]), Math.max(a[2], b[2])) * side(Math.min(a[1], b[1]), Math.max(a[3], b[3]));
  const iou = union > 0 ? shared / union : 0;
  return { shared, union, hull, iou, giou: hull > 0 ? iou - (hull - union) / hull : 0 };
}

/** For boxes by falling score: −1 for one that stays, else the row of the box that dropped it. */
function suppress(boxes, threshold) {
  const dropped = [];
  boxes.forEach((box, k) => {
    dropped[k] = boxes.findIndex((better, j) => j < k && dropped[j] < 0 && overlap(better, box).iou > threshold);
  });
  return dropped;
}

/** How many objects a set of boxes finds, and how many boxes find none or one that is found already. */
function judge(boxes, truth) {
  const taken = new Set();
  let wrong = 0;
  for (const box of boxes) {
    const best = truth.map((t) => overlap(t, box).iou).reduce((m, v, i, all) => (v > all[m] ? i : m), 0);
    if (truth.length && overlap(truth[best], box).iou >= HIT && !taken.has(best)) taken.add(best);
    else wrong++;
  }
  return { found: taken.size, wrong };
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const [fieldWidth, fieldHeight] = get("field");
  const picture = decodeWhole(get("picture"));
  const { height, width } = picture;
  const [boxes, scores, truth] = [get("boxes"), get("scores"), get("truth")];
  const plain = paintClasses(picture, new Uint8Array(height * width), 0);
  const colours = [colourOf(5), colourOf(6)];
  let active = 0; // the box of the pair that the keys move
  let held = null; // what the pointer drags

  function change(changes) {
    model.set(changes);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const field = panel({
    title: "Two boxes",
    caption: "Drag a box or a corner. With keys: arrows move the box with the thick line, Alt and arrows its lower right corner, Enter changes the box.",
    label: "Two boxes. Arrow keys move one of them, Alt and arrows resize it, Enter changes to the other.",
    ratio: fieldHeight / fieldWidth,
    draw: drawPair,
  });
  const stage = panel({
    title: "Scored boxes",
    caption: "Thick: survivors. Thin and dashed: dropped. Click a box, or press arrow keys, to see its score and what dropped it.",
    label: "Picture with scored boxes. Arrow keys choose a box.",
    ratio: height / width,
    draw: drawBoxes,
  });
  const iou = number("IoU");
  const giou = number("GIoU");
  const sum = make("p", { class: "pti-note" });
  const limit = slider({
    label: "NMS threshold", name: "NMS threshold", min: 0, max: 1, step: 0.01, value: get("threshold"),
    text: (v) => Number(v).toFixed(2), onInput: (v) => change({ threshold: v }),
  });
  const kept = number("boxes survive");
  const found = number(`of ${truth.length} objects found`);
  const wrong = number("of the survivors are wrong");
  const note = make("p", { class: "pti-note" });
  const { root, stop } = figureRoot({
    model,
    name: "nms",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" },
        make("div", {}, field.element, make("div", { class: "pti-readout" }, iou.element, giou.element), sum),
        make("div", {}, stage.element, make("div", { class: "pti-controls" }, limit.element),
          make("div", { class: "pti-readout" }, kept.element, ...(truth.length ? [found.element, wrong.element] : [])), note)),
    ],
  });
  const announce = announcer(root);

  function update() {
    const [a, b] = get("pair");
    const o = overlap(a, b);
    iou.value.textContent = o.iou.toFixed(3);
    giou.value.textContent = o.giou.toFixed(3).replace("-", "−");
    sum.textContent = `IoU = ${o.shared} / (${area(a)} + ${area(b)} − ${o.shared}) = ${o.shared} / ${o.union} px²; GIoU = IoU − (${o.hull} − ${o.union}) / ${o.hull}.`;
    const dropped = suppress(boxes, get("threshold"));
    const survivors = boxes.filter((_, k) => dropped[k] < 0);
    const verdict = judge(survivors, truth);
    limit.set(get("threshold"));
    kept.value.textContent = survivors.length;
    found.value.textContent = verdict.found;
    wrong.value.textContent = verdict.wrong;
    const k = get("chosen");
    note.textContent = k < 0 ? "" : `Box ${k + 1}, score ${scores[k].toFixed(2)}: ` +
      (dropped[k] < 0 ? "survives." : `dropped by box ${dropped[k] + 1}, score ${scores[dropped[k]].toFixed(2)}, IoU ${overlap(boxes[k], boxes[dropped[k]]).iou.toFixed(2)}.`);
    Object.assign(root.dataset, {
      iou: o.iou.toFixed(6), giou: o.giou.toFixed(6), kept: survivors.length, found: verdict.found, wrong: verdict.wrong,
      chosen: k, threshold: get("threshold"), pair: get("pair").flat().join(","),
    });
    announce(`IoU ${o.iou.toFixed(2)}, generalised ${o.giou.toFixed(2)}. ${survivors.length} boxes survive. ${note.textContent}`);
    paint();
  }

  // ---- drawing

  function frame(context, box, scale, colour, line, dash = []) {
    context.setLineDash(dash);
    for (const [ink, extra] of [["rgb(0 0 0 / 0.6)", 1.5], [colour, 0]]) {
      context.strokeStyle = ink;
      context.lineWidth = line + extra;
      context.strokeRect(box[0] * scale, box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
    }
    context.setLineDash([]);
  }

  function drawPair(context, w) {
    const scale = w / fieldWidth;
    const [a, b] = get("pair");
    const hull = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
    const shared = [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
    if (shared[2] > shared[0] && shared[3] > shared[1]) {
      context.fillStyle = "rgb(0 158 115 / 0.35)";
      context.fillRect(shared[0] * scale, shared[1] * scale, (shared[2] - shared[0]) * scale, (shared[3] - shared[1]) * scale);
    }
    context.setLineDash([5, 4]);
    context.strokeStyle = ink(root, "soft");
    context.lineWidth = 1;
    context.strokeRect(hull[0] * scale, hull[1] * scale, (hull[2] - hull[0]) * scale, (hull[3] - hull[1]) * scale);
    context.setLineDash([]);
    [a, b].forEach((box, k) => {
      context.strokeStyle = context.fillStyle = colours[k];
      context.lineWidth = k === active ? 4 : 2;
      context.strokeRect(box[0] * scale, box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
      for (const x of [box[0], box[2]]) for (const y of [box[1], box[3]]) context.fillRect(x * scale - 4, y * scale - 4, 8, 8);
    });
  }

  function drawBoxes(context, w, h) {
    const scale = w / width;
    context.imageSmoothingEnabled = false;
    context.drawImage(plain, 0, 0, w, h);
    const dropped = suppress(boxes, get("threshold"));
    const k = get("chosen");
    boxes.forEach((box, i) => dropped[i] >= 0 && i !== k && frame(context, box, scale, "rgb(255 255 255 / 0.75)", 0.8, [4, 4]));
    boxes.forEach((box, i) => dropped[i] < 0 && frame(context, box, scale, "#f0c03c", 2.6));
    if (k < 0) return;
    if (dropped[k] >= 0) frame(context, boxes[dropped[k]], scale, "#ff6f3c", 3.4);
    frame(context, boxes[k], scale, "#56b4e9", 3.4, dropped[k] < 0 ? [] : [6, 4]);
  }

  // ---- pointing

  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  function place(event) {
    const bounds = field.canvas.getBoundingClientRect();
    return [((event.clientX - bounds.left) / bounds.width) * fieldWidth, ((event.clientY - bounds.top) / bounds.height) * fieldHeight];
  }

  /** Moves or resizes a box of the pair: `corner` names the entries of x and y that move, null all. */
  function moved(box, corner, dx, dy) {
    if (!corner) {
      const [x, y] = [clamp(Math.round(dx), -box[0], fieldWidth - box[2]), clamp(Math.round(dy), -box[1], fieldHeight - box[3])];
      return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
    }
    const result = [...box];
    const [x, y] = corner;
    result[x] = x === 0 ? clamp(Math.round(box[0] + dx), 0, box[2] - LEAST) : clamp(Math.round(box[2] + dx), box[0] + LEAST, fieldWidth);
    result[y] = y === 1 ? clamp(Math.round(box[1] + dy), 0, box[3] - LEAST) : clamp(Math.round(box[3] + dy), box[1] + LEAST, fieldHeight);
    return result;
  }

  const replace = (k, box) => change({ pair: get("pair").map((old, i) => (i === k ? box : old)) });

  field.canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = place(event);
    const reach = (HANDLE * fieldWidth) / field.canvas.clientWidth;
    const pair = get("pair");
    for (const k of [active, 1 - active]) {
      const box = pair[k];
      const corner = [0, 2].flatMap((i) => [1, 3].map((j) => [i, j])).find(([i, j]) => Math.hypot(box[i] - x, box[j] - y) < reach);
      if (!corner && !(x > box[0] && x < box[2] && y > box[1] && y < box[3])) continue;
      active = k;
      held = { k, corner, from: [x, y], box };
      field.canvas.setPointerCapture(event.pointerId);
      return paint();
    }
  });
  field.canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = place(event);
    replace(held.k, moved(held.box, held.corner, x - held.from[0], y - held.from[1]));
  });
  for (const end of ["pointerup", "pointercancel"]) field.canvas.addEventListener(end, () => (held = null));
  field.canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    active = 1 - active;
    root.dataset.active = active;
    paint();
  });
  let resizing = false;
  field.canvas.addEventListener("keydown", (event) => (resizing = event.altKey), true);
  onArrow(field.canvas, (dx, dy) => dx !== null && replace(active, moved(get("pair")[active], resizing ? [2, 3] : null, dx, dy)));

  stage.canvas.addEventListener("click", (event) => {
    const bounds = stage.canvas.getBoundingClientRect();
    const [x, y] = [((event.clientX - bounds.left) / bounds.width) * width, ((event.clientY - bounds.top) / bounds.height) * height];
    const away = (box) => Math.min(...[x - box[0], box[2] - x, y - box[1], box[3] - y].map(Math.abs));
    const hits = boxes.map((box, k) => [away(box), k]).filter(([, k]) => {
      const box = boxes[k];
      return x > box[0] - 2 && x < box[2] + 2 && y > box[1] - 2 && y < box[3] + 2;
    });
    change({ chosen: hits.length ? hits.sort((p, q) => p[0] - q[0])[0][1] : -1 });
  });
  onArrow(stage.canvas, (dx, dy) => {
    if (dx === null) return change({ chosen: -1 });
    const step = Math.sign(dx + dy);
    const k = get("chosen");
    change({ chosen: k < 0 ? (step > 0 ? 0 : boxes.length - 1) : (k + step + boxes.length) % boxes.length });
  });

  const paint = onNextFrame(() => [field, stage].forEach((p) => p.paint()));
  const soon = onNextFrame(update);
  const silence = listen(model, { pair: soon, threshold: soon, chosen: soon });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, field.stop, stage.stop].forEach((end) => end());
}

export { judge, overlap, suppress };
export default { render };
