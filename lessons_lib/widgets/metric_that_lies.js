/* Spoils a perfect prediction and watches four metrics. */

const REACH = 3; // px, the farthest a border moves: no grown pixel lies farther outside the scene

const TASK = "Can you bring pixel accuracy to 95 % or more while mean IoU is below 50 %?";

/** Class of each object, by its id. */
function classesOf(truth, ids) {
  const classes = [0];
  ids.forEach((id, i) => id && truth[i] !== 255 && (classes[id] = truth[i]));
  return classes;
}

/** A map with a border of zeros around it. */
function framed(values, height, width, border) {
  const wide = width + 2 * border;
  const result = new Uint8Array(wide * (height + 2 * border));
  for (let y = 0; y < height; y++) result.set(values.subarray(y * width, (y + 1) * width), (y + border) * wide + border);
  return result;
}

/** Calls back with each of a pixel's up to four neighbours. */
function neighbours(i, height, width, callback) {
  const x = i % width;
  if (i >= width) callback(i - width);
  if (x > 0) callback(i - 1);
  if (x + 1 < width) callback(i + 1);
  if (i + width < height * width) callback(i + width);
}

/** The ids after every object grew (or shrank) by one pixel; of several, the smallest takes a pixel. */
function moveBorders(ids, height, width, outwards) {
  const next = ids.slice();
  ids.forEach((id, i) => {
    if (outwards && !id) {
      neighbours(i, height, width, (j) => ids[j] && (!next[i] || ids[j] < next[i]) && (next[i] = ids[j]));
    } else if (!outwards && id) {
      neighbours(i, height, width, (j) => ids[j] !== id && (next[i] = 0));
    }
  });
  return next;
}

/** The prediction: classes in the frame of a scene whose objects are partly lost and moved. */
function predict(truth, ids, height, width, { lost, grow, stuff }) {
  const gone = new Set(lost);
  const classes = classesOf(truth, ids);
  let found = ids.map((id) => (gone.has(id) ? 0 : id));
  for (let step = 0; step < Math.abs(grow); step++) found = moveBorders(found, height, width, grow > 0);
  return truth.map((label, i) => (found[i] ? classes[found[i]] : !ids[i] && stuff && label !== 255 ? label : 0));
}

/** Pixels by true class (rows) and predicted class (columns); 255 does not count. */
function confusionMatrix(truth, predicted, classes) {
  const matrix = Array.from({ length: classes }, () => new Array(classes).fill(0));
  truth.forEach((label, i) => label !== 255 && matrix[label][predicted[i]]++);
  return matrix;
}

/** Long et al. (2015, section 5); classes that are neither true nor predicted are left out. */
function metrics(matrix) {
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const rows = matrix.map(sum);
  const columns = matrix.map((_, c) => sum(matrix.map((row) => row[c])));
  const total = sum(rows);
  const mean = (values) => sum(values) / values.length;
  const all = [...matrix.keys()];
  const iou = (c) => matrix[c][c] / (rows[c] + columns[c] - matrix[c][c]);
  return {
    pixel: sum(all.map((c) => matrix[c][c])) / total,
    class: mean(all.filter((c) => rows[c]).map((c) => matrix[c][c] / rows[c])),
    miou: mean(all.filter((c) => rows[c] + columns[c]).map(iou)),
    fwiou: sum(all.filter((c) => rows[c]).map((c) => (rows[c] / total) * iou(c))),
    background: rows[0] / total,
  };
}

/** Confusion matrix of a spoilt prediction. Beyond the reach of growing, a border is all right. */
function spoilt(truth, ids, height, width, classes, settings) {
  const { border } = settings;
  const near = Math.min(border, REACH);
  const [h, w] = [height + 2 * near, width + 2 * near];
  const [scene, objects] = [framed(truth, height, width, near), framed(ids, height, width, near)];
  const predicted = predict(scene, objects, h, w, settings);
  const matrix = confusionMatrix(scene, predicted, classes);
  matrix[0][0] += (height + 2 * border) * (width + 2 * border) - h * w;
  return { matrix, predicted, near, h, w };
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const [height, width] = [get("height"), get("width")];
  const names = get("class_names");
  const { reference: truth, maps } = decodeMaps(get("maps"), height * width, 1);
  const [ids] = maps;
  const borders = outlines({ height, width, pointAt: Int32Array.from(ids.keys()) }, Uint16Array.from(ids, (v) => v + 1));
  const objects = findObjects();
  let now = null;
  let painted = null;
  let cursor = -1; // position in `objects`

  /** For each id a pixel inside, as near to its middle as there is one. */
  function findObjects() {
    const members = [];
    ids.forEach((id, i) => id && (members[id] ??= []).push(i));
    return members.flatMap((pixels, id) => {
      const [x, y] = [(i) => i % width, (i) => Math.floor(i / width)].map((f) => pixels.reduce((a, i) => a + f(i), 0) / pixels.length);
      const far = (i) => Math.hypot((i % width) - x, Math.floor(i / width) - y);
      return [{ id, pixel: pixels.reduce((a, i) => (far(i) < far(a) ? i : a)) }];
    });
  }

  function change(changes) {
    model.set(changes);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const frame = () => [height + 2 * get("border"), width + 2 * get("border")];
  const stage = panel({
    title: "Prediction; outlines: the truth",
    caption: "Click an object to lose or to find it. With keys: arrows choose, Enter or space loses and finds.",
    label: "Prediction. Arrow keys choose an object, Enter loses or finds it.",
    ratio: () => frame()[0] / frame()[1],
    draw,
  });
  const measure = (label) => {
    const [bar, value] = [make("i"), make("b", {}, "–")];
    const row = make("div", { class: "pti-class" }, make("span", {}, label), make("div", { class: "pti-bar" }, bar), value);
    return { row, set: (v) => ((bar.style.width = `${100 * v}%`), (value.textContent = `${(100 * v).toFixed(1)} %`)) };
  };
  const rows = {
    pixel: measure("pixel accuracy"), class: measure("mean class accuracy"),
    miou: measure("mean IoU"), fwiou: measure("frequency-weighted IoU"),
  };
  const table = make("table");
  const task = make("p", { class: "pti-note" }, TASK);
  const share = make("span", { class: "pti-caption" });
  const grow = slider({
    label: "Borders", name: "borders", min: -3, max: 3, step: 1, value: get("grow"),
    text: (v) => `${v > 0 ? "+" : ""}${short(Number(v))} px`, onInput: (v) => change({ grow: v }),
  });
  const border = slider({
    label: "Empty border", name: "empty background", min: 0, max: get("most_border"), step: 1, value: get("border"),
    text: (v) => `${v} px`, onInput: (v) => change({ border: v }),
  });
  const button = (text, changes) => {
    const element = make("button", { type: "button", class: "pti-button" }, text);
    element.addEventListener("click", () => change(changes));
    return element;
  };
  const { root, stop } = figureRoot({
    model,
    name: "metric",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-beside" },
        stage.element,
        make("div", {}, ...Object.values(rows).map((r) => r.row), share,
          make("div", { class: "pti-title" }, "Pixels: true class (rows), predicted (columns)"),
          make("div", { class: "pti-scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" }, table))),
      task,
      make("div", { class: "pti-controls" }, grow.element, border.element),
      make("div", { class: "pti-row" },
        button("Predict background everywhere", { lost: objects.map((o) => o.id), stuff: false }),
        button("Perfect again", { lost: [], stuff: true, grow: 0 })),
    ],
  });
  const announce = announcer(root);

  function short(value) {
    return String(value).replace("-", "−");
  }

  function flip(id) {
    const lost = get("lost");
    change({ lost: lost.includes(id) ? lost.filter((k) => k !== id) : [...lost, id].sort((a, b) => a - b) });
  }

  function update() {
    const settings = { lost: get("lost"), grow: get("grow"), border: get("border"), stuff: get("stuff") };
    now = spoilt(truth, ids, height, width, names.length, settings);
    painted = paintLabels(now);
    const values = metrics(now.matrix);
    for (const [name, row] of Object.entries(rows)) row.set(values[name]);
    share.textContent = `Background is ${(100 * values.background).toFixed(1)} % of the pixels that count; ` +
      `${settings.lost.length} of ${objects.length} objects lost.`;
    grow.set(settings.grow);
    border.set(settings.border);
    fillTable(now.matrix);
    const solved = values.pixel >= 0.95 && values.miou < 0.5;
    task.dataset.solved = solved;
    task.textContent = solved
      ? `Done: ${(100 * values.pixel).toFixed(1)} % of the pixels are right, yet mean IoU is ${(100 * values.miou).toFixed(1)} %.`
      : TASK;
    Object.assign(root.dataset, Object.fromEntries(Object.entries(values).map(([name, v]) => [name, v.toFixed(6)])));
    Object.assign(root.dataset, { lost: settings.lost.join(","), solved });
    announce(Object.keys(rows).map((name) => `${rows[name].row.firstChild.textContent} ${(100 * values[name]).toFixed(1)} percent`).join(", "));
    paint();
  }

  function fillTable(matrix) {
    const chip = (k) => {
      const mark = make("i", { class: "pti-chip" });
      mark.style.background = k ? colourOf(k) : "transparent";
      return mark;
    };
    const cell = (value, r, c) => {
      const element = make("td", {}, String(value));
      element.style.background = value ? (r === c ? "rgb(0 158 115 / 0.25)" : "rgb(213 94 0 / 0.25)") : "";
      return element;
    };
    const head = make("tr", {}, make("td"), ...names.map((name, k) => make("th", { scope: "col", title: name, "aria-label": name }, chip(k))));
    table.replaceChildren(head, ...matrix.map((row, r) =>
      make("tr", {}, make("th", { scope: "row" }, chip(r), names[r]), ...row.map((value, c) => cell(value, r, c)))));
  }

  // ---- drawing and pointing

  function paintLabels({ predicted, h, w }) {
    const canvas = make("canvas", { width: w, height: h });
    const data = new ImageData(w, h);
    const colours = names.map((_, k) => rgb(colourOf(k)));
    predicted.forEach((label, i) => label && data.data.set([...colours[label], 255], 4 * i));
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  function draw(context, w, h) {
    if (!painted) return;
    const scale = w / frame()[1];
    const [left, near] = [get("border") * scale, (get("border") - now.near) * scale];
    context.imageSmoothingEnabled = false;
    context.drawImage(painted, near, near, now.w * scale, now.h * scale);
    context.save();
    context.translate(left, left);
    context.scale(scale, scale);
    for (const [colour, line] of [["rgb(255 255 255 / 0.9)", 3], ["rgb(0 0 0 / 0.85)", 1.2]]) {
      context.strokeStyle = colour;
      context.lineWidth = line / scale;
      context.stroke(borders);
    }
    context.restore();
    if (get("border")) {
      context.strokeStyle = ink(root, "soft");
      context.setLineDash([5, 4]);
      context.lineWidth = 1;
      context.strokeRect(left, left, width * scale, height * scale);
      context.setLineDash([]);
    }
    if (cursor < 0) return;
    const { pixel } = objects[cursor];
    drawRing(context, left + ((pixel % width) + 0.5) * scale, left + (Math.floor(pixel / width) + 0.5) * scale, 9);
  }

  const { canvas } = stage;
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const [h, w] = frame();
    const x = Math.floor(((event.clientX - box.left) / box.width) * w) - get("border");
    const y = Math.floor(((event.clientY - box.top) / box.height) * h) - get("border");
    const id = x >= 0 && y >= 0 && x < width && y < height ? ids[y * width + x] : 0;
    if (!id) return;
    cursor = -1;
    flip(id);
  });
  onArrow(canvas, (dx, dy) => {
    if (dx === null) cursor = -1;
    else cursor = (cursor + Math.sign(dx + dy) + objects.length + (cursor < 0 && dx + dy < 0 ? 1 : 0)) % objects.length;
    root.dataset.cursor = cursor < 0 ? "" : objects[cursor].id;
    if (cursor >= 0) announce(`Object ${objects[cursor].id}, ${names[classesOf(truth, ids)[objects[cursor].id]]}, ${get("lost").includes(objects[cursor].id) ? "lost" : "found"}`);
    paint();
  });
  canvas.addEventListener("keydown", (event) => {
    if ((event.key !== "Enter" && event.key !== " ") || cursor < 0) return;
    event.preventDefault();
    flip(objects[cursor].id);
  });

  const paint = onNextFrame(() => stage.paint());
  const updateSoon = onNextFrame(update);
  const silence = listen(model, { lost: updateSoon, grow: updateSoon, border: updateSoon, stuff: updateSoon });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop].forEach((end) => end());
}

export { metrics, predict, spoilt };
export default { render };
