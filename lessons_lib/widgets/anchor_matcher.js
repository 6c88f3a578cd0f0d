/* Anchors of all levels over a picture, coloured by what they have to learn. */

/** All anchors of all levels, with their overlaps with every object. */
function makeAnchors({ height, width }, strides, shapes, boxes) {
  const anchors = [];
  strides.forEach((stride, level) => {
    const rows = Math.ceil(height / stride);
    const columns = Math.ceil(width / stride);
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        shapes[level].forEach(([w, h], kind) => {
          const [x, y] = [column * stride, row * stride];
          const box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
          anchors.push({ level, row, column, kind, x, y, box, iou: boxes.map((b) => overlap(box, b)) });
        });
  });
  return anchors;
}

function overlap(a, b) {
  const side = (k) => Math.max(0, Math.min(a[k + 2], b[k + 2]) - Math.max(a[k], b[k]));
  const area = (c) => (c[2] - c[0]) * (c[3] - c[1]);
  const shared = side(0) * side(1);
  return shared / (area(a) + area(b) - shared);
}

/** What each anchor learns: index of an object, -1 background, -2 ignored. */
function matchAnchors(anchors, count, high, low, keepBest) {
  const top = Array.from({ length: count }, (_, k) => Math.max(...anchors.map((a) => a.iou[k])));
  return anchors.map(({ iou }) => {
    const best = Math.max(...iou);
    const owner = iou.indexOf(best);
    if (best >= high || (keepBest && iou.some((v, k) => v > 0 && v === top[k]))) return owner;
    return best < low ? -1 : -2;
  });
}

const KINDS = { object: "#0072b2", ignored: "#e69f00", background: "#8a8f98" };
const kindOf = (match) => (match >= 0 ? "object" : match === -2 ? "ignored" : "background");

function render({ model, el }) {
  const get = (name) => model.get(name);
  const picture = decodeWhole(get("picture"));
  const { height, width } = picture;
  const boxes = get("boxes");
  const strides = get("strides");
  const anchors = makeAnchors(picture, strides, get("shapes"), boxes);
  const painted = paintClasses(picture, new Uint8Array(height * width), 0);
  let matches = [];

  function change(values) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const stage = panel({
    title: "A dot for every cell",
    caption: "Click, or focus and use the arrow keys, to see the anchors of a cell. White: the objects.",
    label: "Cells of the feature maps over the picture",
    ratio: height / width,
    draw,
  });
  const high = slider({
    label: "object from", name: "object from", min: 0.3, max: 0.95, step: 0.05, value: get("high"),
    text: (v) => `IoU ${Number(v).toFixed(2)}`, onInput: (v) => change({ high: v, low: Math.min(v, get("low")) }),
  });
  const low = slider({
    label: "background below", name: "background below", min: 0.05, max: 0.7, step: 0.05, value: get("low"),
    text: (v) => `IoU ${Number(v).toFixed(2)}`, onInput: (v) => change({ low: v, high: Math.max(v, get("high")) }),
  });
  const best = toggle({
    label: "best anchor of each object counts always", name: "keep best", value: get("keep_best"),
    onChange: (v) => change({ keep_best: v }),
  });
  const level = choice({
    label: "Level", name: "level", value: String(get("level")),
    options: [["-1", "all"], ...strides.map((s, k) => [String(k), `stride ${s}`])],
    onChange: (v) => change({ level: Number(v), chosen: [] }),
  });
  const tiles = Object.fromEntries(
    [["object", "of an object"], ["ignored", "ignored"], ["background", "background"], ["missed", "objects without anchor"]].map(([name, text]) => [name, number(text)]),
  );
  for (const name of ["object", "ignored", "background"]) tiles[name].element.style.borderTop = `4px solid ${KINDS[name]}`;
  const table = make("div", { class: "pti-anchors" });
  const { root, stop } = figureRoot({
    model,
    name: "matcher",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-beside" }, stage.element, table),
      make("div", { class: "pti-readout" }, ...Object.values(tiles).map((t) => t.element)),
      make("div", { class: "pti-controls" }, high.element, low.element, best.element, level.element),
    ],
  });
  const announce = announcer(root);
  const shown = (anchor) => get("level") < 0 || anchor.level === get("level");
  const inCell = ({ level: l, row, column }) => {
    const [a, b, c] = get("chosen");
    return l === a && row === b && column === c;
  };

  function update() {
    matches = matchAnchors(anchors, boxes.length, get("high"), get("low"), get("keep_best"));
    const counts = { object: 0, ignored: 0, background: 0 };
    matches.forEach((m) => counts[kindOf(m)]++);
    const served = new Set(matches.filter((m) => m >= 0));
    counts.missed = boxes.length - served.size;
    for (const [name, tile] of Object.entries(tiles)) tile.value.textContent = counts[name];
    high.set(get("high"));
    low.set(get("low"));
    best.set(get("keep_best"));
    level.set(String(get("level")));
    list();
    Object.assign(root.dataset, {
      ...counts, high: get("high").toFixed(2), low: get("low").toFixed(2), level: get("level"), chosen: get("chosen").join(","),
    });
    paint();
  }

  /** The anchors of the chosen cell, with their best overlap. */
  function list() {
    const rows = anchors.map((a, i) => [a, matches[i]]).filter(([a]) => inCell(a));
    const heading = rows.length ? `Cell at ${rows[0][0].x}, ${rows[0][0].y} px, stride ${strides[rows[0][0].level]}` : "No cell chosen";
    table.replaceChildren(make("div", { class: "pti-title" }, heading));
    for (const [a, match] of rows) {
      const [w, h] = get("shapes")[a.level][a.kind];
      const chip = make("i", { class: "pti-chip" });
      chip.style.background = KINDS[kindOf(match)];
      const text = `${Math.round(w)} × ${Math.round(h)} px: IoU ${Math.max(...a.iou).toFixed(2)}, ${kindOf(match)}`;
      table.append(make("div", { class: "pti-anchor" }, chip, make("span", {}, text)));
    }
    return rows;
  }

  function draw(context, w) {
    const scale = w / width;
    context.imageSmoothingEnabled = false;
    context.drawImage(painted, 0, 0, w, height * scale);
    const rectangle = (box, colour, line, dash = []) => {
      context.setLineDash(dash);
      for (const [c, l] of [["rgb(0 0 0 / 0.7)", line + 2], [colour, line]]) {
        context.strokeStyle = c;
        context.lineWidth = l;
        context.strokeRect(box[0] * scale, box[1] * scale, (box[2] - box[0]) * scale, (box[3] - box[1]) * scale);
      }
      context.setLineDash([]);
    };
    boxes.forEach((box) => rectangle(box, "#fff", 2));
    const cells = new Map();
    anchors.forEach((a, i) => {
      if (!shown(a)) return;
      const key = `${a.level},${a.row},${a.column}`;
      const rank = { background: 0, ignored: 1, object: 2 }[kindOf(matches[i])];
      if (!cells.has(key) || cells.get(key).rank < rank) cells.set(key, { rank, x: a.x, y: a.y, level: a.level });
    });
    const ordered = [...cells.values()].sort((a, b) => a.rank - b.rank);
    for (const { rank, x, y, level: l } of ordered) {
      if (!rank && get("level") < 0 && l === 0 && strides.length > 1) continue; // too many to see through
      context.beginPath();
      context.arc(x * scale, y * scale, rank ? 3 + 1.2 * l : 1.5, 0, 2 * Math.PI);
      context.fillStyle = [KINDS.background, KINDS.ignored, KINDS.object][rank];
      context.fill();
      if (rank) {
        context.strokeStyle = "#fff";
        context.lineWidth = 1;
        context.stroke();
      }
    }
    anchors.forEach((a, i) => inCell(a) && rectangle(a.box, KINDS[kindOf(matches[i])], 2, [6, 4]));
    const one = anchors.find(inCell);
    if (one) drawRing(context, one.x * scale, one.y * scale, 7);
  }

  // ---- picking a cell

  const ofLevel = () => (get("level") < 0 ? get("chosen")[0] ?? strides.length - 1 : get("level"));
  function pick(l, row, column) {
    const [rows, columns] = [Math.ceil(height / strides[l]), Math.ceil(width / strides[l])];
    const clip = (v, n) => Math.max(0, Math.min(n - 1, v));
    change({ chosen: [l, clip(row, rows), clip(column, columns)] });
    announce(table.textContent);
  }
  stage.canvas.addEventListener("pointerdown", (event) => {
    const box = stage.canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    let l = ofLevel();
    if (get("level") < 0) {
      // among all levels the nearest cell that learns something
      let nearest = Infinity;
      anchors.forEach((a, i) => {
        const distance = Math.hypot(a.x - x, a.y - y) + (matches[i] >= 0 ? 0 : matches[i] === -2 ? 4 : 1000);
        if (distance < nearest) [nearest, l] = [distance, a.level];
      });
    }
    pick(l, Math.round(y / strides[l]), Math.round(x / strides[l]));
  });
  onArrow(stage.canvas, (dx, dy) => {
    if (dx === null) return change({ chosen: [] });
    const l = ofLevel();
    const [, row, column] = get("chosen").length ? get("chosen") : [l, 0, 0];
    pick(l, row + dy, column + dx);
  });

  const paint = onNextFrame(() => stage.paint());
  const silence = listen(model, { high: update, low: update, keep_best: update, level: update, chosen: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop].forEach((end) => end());
}

export { makeAnchors, matchAnchors };
export default { render };
