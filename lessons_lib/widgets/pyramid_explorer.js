/* Pyramid pooling: cells over a picture, their averages, and the averages brought back. */

/** Where cell i of `bins` begins and ends along n pixels. */
function cellSpan(i, bins, n) {
  return [Math.floor((i * n) / bins), Math.ceil(((i + 1) * n) / bins)];
}

/** The means of bins × bins cells of one channel. */
function pool(values, h, w, bins) {
  const means = new Float64Array(bins * bins);
  for (let r = 0; r < bins; r++) {
    const [top, bottom] = cellSpan(r, bins, h);
    for (let c = 0; c < bins; c++) {
      const [left, right] = cellSpan(c, bins, w);
      let sum = 0;
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += values[y * w + x];
      means[r * bins + c] = sum / ((bottom - top) * (right - left));
    }
  }
  return means;
}

/** The two cells that place i of n reads along one axis, and the part of the second. */
function reads(i, n, bins) {
  const source = Math.max(0, ((i + 0.5) * bins) / n - 0.5);
  const first = Math.min(bins - 1, Math.floor(source));
  return [first, Math.min(bins - 1, first + 1), source - first];
}

/** One value of the averages brought back to h × w, bilinearly, align_corners=False. */
function valueBack(means, bins, y, x, h, w) {
  const [a, b, v] = reads(y, h, bins);
  const [c, d, u] = reads(x, w, bins);
  const mix = (row) => (1 - u) * means[row * bins + c] + u * means[row * bins + d];
  return (1 - v) * mix(a) + v * mix(b);
}

const MAP = ["#00224e", "#575d6d", "#a59c74", "#fee838"].map(rgb); // dark to bright, for colour-blind readers too

/** A colour for a part in [0, 1]. */
function heat(part) {
  const at = Math.min(MAP.length - 1.001, Math.max(0, part * (MAP.length - 1)));
  const k = Math.floor(at);
  return MAP[k].map((v, c) => v + (at - k) * (MAP[k + 1][c] - v));
}

function render({ model, el }) {
  const picture = decodeWhole(model.get("picture"));
  const { height, width, image } = picture;
  const [low, high] = [model.get("low"), model.get("high")];
  const [fh, fw] = model.get("size");
  const features = low.length ? dequantise(model.get("codes"), low, high) : null;
  const bins = model.get("bins");
  const names = model.get("names");
  const classes = model.get("class_names");
  const stored = names.length ? decodeMaps(model.get("maps"), height * width, 1) : null;
  const predictions = stored ? [stored.reference, stored.maps[0]] : [];
  const get = (name) => model.get(name);
  let source = null; // {h, w, channels, colour(values)}
  let means = null; // for each bin, for each channel
  let base = null; // what stands under the cells
  let back = null; // the averages brought back
  let borders = new Path2D();

  function change(changes) {
    model.set(changes);
    model.save_changes();
  }

  /** What is averaged: the picture's colours, or one channel. */
  function readSource(channel) {
    if (channel < 0) {
      const channels = [0, 1, 2].map((c) => Float64Array.from({ length: height * width }, (_, i) => image[3 * i + c] / 255));
      return { h: height, w: width, channels, colour: (v) => v.map((x) => 255 * x) };
    }
    const values = Float64Array.from({ length: fh * fw }, (_, i) => features[i * low.length + channel]);
    const range = high[channel] - low[channel] || 1;
    return { h: fh, w: fw, channels: [values], colour: ([v]) => heat((v - low[channel]) / range) };
  }

  /** A small canvas of h × w pixels in the source's colours. */
  function paintMap(h, w, valuesAt) {
    const canvas = make("canvas", { width: w, height: h });
    const data = new ImageData(w, h);
    for (let i = 0; i < h * w; i++) data.data.set([...source.colour(valuesAt(i)), 255], 4 * i);
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  // ---- what the reader sees and moves

  const stage = panel({
    title: "Picture",
    caption: "Point, or focus and use the arrow keys. Lit: the cells that the pixel reads.",
    label: "Picture with the cells of the chosen level. Arrow keys move the point.",
    ratio: height / width,
    draw: drawStage,
  });
  const returned = panel({
    title: "Brought back",
    caption: "The averages of the chosen level, upsampled bilinearly: what every pixel gets.",
    label: "The averages of the chosen level, upsampled to the picture's size.",
    ratio: height / width,
    draw: drawReturned,
    interactive: false,
  });
  const levels = bins.map((b) => panel({
    title: `${b}×${b}`,
    label: `Averages of ${b} by ${b} cells.`,
    ratio: height / width,
    draw: (context, w, h) => drawLevel(context, w, h, b),
    interactive: false,
  }));
  levels.forEach((level, k) => level.element.addEventListener("click", () => change({ bin: bins[k] })));
  const level = choice({
    label: "Level",
    name: "level",
    options: bins.map((b) => [String(b), `${b}×${b}`]),
    value: String(get("bin")),
    onChange: (b) => change({ bin: Number(b) }),
  });
  const kinds = choice({
    label: "Average the",
    name: "source",
    options: [["picture", "picture"], ["features", "features"]],
    value: get("channel") < 0 ? "picture" : "features",
    onChange: (kind) => change({ channel: kind === "picture" ? -1 : 0 }),
  });
  const channels = slider({
    label: "Channel", name: "channel", min: 0, max: Math.max(1, low.length - 1), step: 1, value: Math.max(0, get("channel")),
    onInput: (k) => change({ channel: k }),
  });
  const overlay = choice({
    label: "Show",
    name: "overlay",
    options: [["0", "no prediction"], ...names.map((name, k) => [String(k + 1), name])],
    value: String(get("overlay")),
    onChange: (k) => change({ overlay: Number(k) }),
  });
  const table = make("tbody");
  const told = make("p", { class: "pti-note" });
  const { root, stop } = figureRoot({
    model,
    name: "pyramid",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, stage.element, returned.element),
      make("div", { class: "pti-levels" }, ...levels.map((l) => l.element)),
      make("table", {}, make("thead", {}, make("tr", {}, ...["level", "cell", "rows", "columns", "average", "brought back"].map((t) => make("th", { scope: "col" }, t)))), table),
      told,
      make("div", { class: "pti-controls" }, level.element, ...(features ? [kinds.element] : []), ...(low.length > 1 ? [channels.element] : []), ...(names.length ? [overlay.element] : [])),
    ],
  });
  const announce = announcer(root);
  told.hidden = !names.length;

  // ---- from the settings to the averages

  function update() {
    source = readSource(get("channel"));
    means = new Map(bins.map((b) => [b, source.channels.map((values) => pool(values, source.h, source.w, b))]));
    const shown = get("overlay");
    if (shown) {
      base = paintClasses(picture, predictions[shown - 1], 0.65);
      borders = classBorders(picture, predictions[shown - 1]);
    } else {
      base = paintMap(source.h, source.w, (i) => source.channels.map((values) => values[i]));
      borders = new Path2D();
    }
    const title = (p, text) => (p.element.querySelector(".pti-title").textContent = text);
    title(stage, shown ? `Prediction ${names[shown - 1]}` : get("channel") < 0 ? "Picture" : `Channel ${get("channel")}`);
    kinds.set(get("channel") < 0 ? "picture" : "features");
    channels.set(Math.max(0, get("channel")));
    channels.input.disabled = get("channel") < 0;
    overlay.set(String(shown));
    setLevel();
  }

  function setLevel() {
    const b = get("bin");
    back = paintMap(height, width, (i) =>
      means.get(b).map((m) => valueBack(m, b, Math.floor(i / width), i % width, height, width)));
    level.set(String(b));
    levels.forEach((l, k) => (l.element.dataset.shown = bins[k] === b));
    returned.element.querySelector(".pti-title").textContent = `Brought back from ${b}×${b}`;
    setPoint();
  }

  const average = (values) => values.reduce((a, v) => a + v, 0) / values.length;

  function setPoint() {
    const [x, y] = get("point");
    const rows = bins.map((b) => {
      const [r, c] = [Math.floor(((y + 0.5) * b) / height), Math.floor(((x + 0.5) * b) / width)];
      const [top, bottom] = cellSpan(r, b, source.h);
      const [left, right] = cellSpan(c, b, source.w);
      const value = average(means.get(b).map((m) => m[r * b + c]));
      const got = average(means.get(b).map((m) => valueBack(m, b, y, x, height, width)));
      const texts = [`${b}×${b}`, `${r}, ${c}`, `${top}–${bottom - 1}`, `${left}–${right - 1}`, value.toFixed(3), got.toFixed(3)];
      const row = make("tr", {}, ...texts.map((text) => make("td", {}, text.replace("-", "−"))));
      row.dataset.shown = b === get("bin");
      if (b === get("bin")) Object.assign(root.dataset, { cell: `${r},${c}`, value: value.toFixed(6), upsampled: got.toFixed(6) });
      return row;
    });
    table.replaceChildren(...rows);
    Object.assign(root.dataset, { bin: get("bin"), point: `${x},${y}`, channel: get("channel"), overlay: get("overlay") });
    if (names.length) {
      told.textContent = `Pixel (${x}, ${y}): ${predictions.map((p, k) => `${names[k]}: ${classes[p[y * width + x]]}`).join("; ")}.`;
    }
    announce(`Pixel ${x}, ${y}; level ${get("bin")}, cell ${root.dataset.cell}, average ${Number(root.dataset.value).toFixed(3)}`);
    paint();
  }

  // ---- drawing and pointing

  /** The up to four cells that the point reads, as [row, column, weight]. */
  function readCells(b) {
    const [x, y] = get("point");
    const [a, e, v] = reads(y, height, b);
    const [c, d, u] = reads(x, width, b);
    const all = [[a, c, (1 - v) * (1 - u)], [a, d, (1 - v) * u], [e, c, v * (1 - u)], [e, d, v * u]];
    return all.filter(([, , weight]) => weight > 0.001);
  }

  /** Outlines that show on any ground. */
  function strokeBox(context, x, y, w, h, strong) {
    for (const [colour, line] of [["#000", strong ? 4 : 2.5], ["#fff", strong ? 2 : 1]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(x, y, w, h);
    }
  }

  function drawStage(context, w, h) {
    if (!base) return;
    drawPicture(context, w, h, base, borders);
    const b = get("bin");
    const across = (k) => (k * w) / source.w;
    const down = (k) => (k * h) / source.h;
    for (const [colour, line] of [["rgb(0 0 0 / 0.55)", 2], ["rgb(255 255 255 / 0.8)", 0.9]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      for (let i = 0; i < b; i++) {
        for (const k of cellSpan(i, b, source.w)) context.moveTo(across(k), 0), context.lineTo(across(k), h);
        for (const k of cellSpan(i, b, source.h)) context.moveTo(0, down(k)), context.lineTo(w, down(k));
      }
      context.stroke();
    }
    for (const [r, c, weight] of readCells(b)) {
      const [[top, bottom], [left, right]] = [cellSpan(r, b, source.h), cellSpan(c, b, source.w)];
      const box = [across(left), down(top), across(right) - across(left), down(bottom) - down(top)];
      context.fillStyle = `rgb(255 255 255 / ${0.1 + 0.35 * weight})`;
      context.fillRect(...box);
      strokeBox(context, ...box, false);
    }
    drawDot(context, w, h);
  }

  function drawDot(context, w, h) {
    const [x, y] = get("point");
    drawRing(context, ((x + 0.5) * w) / width, ((y + 0.5) * h) / height, 6);
  }

  function drawReturned(context, w, h) {
    if (!back) return;
    context.imageSmoothingEnabled = false;
    context.drawImage(back, 0, 0, w, h);
    drawDot(context, w, h);
  }

  function drawLevel(context, w, h, b) {
    if (!means) return;
    const [cw, ch] = [w / b, h / b];
    for (let i = 0; i < b * b; i++) {
      const [red, green, blue] = source.colour(means.get(b).map((m) => m[i]));
      context.fillStyle = `rgb(${red} ${green} ${blue})`;
      context.fillRect((i % b) * cw, Math.floor(i / b) * ch, cw + 0.5, ch + 0.5);
    }
    const cells = readCells(b);
    const most = Math.max(...cells.map(([, , weight]) => weight));
    for (const [r, c, weight] of cells) strokeBox(context, c * cw + 1, r * ch + 1, cw - 2, ch - 2, weight === most);
  }

  const clamp = (v, n) => Math.min(n - 1, Math.max(0, v));
  onPoint(stage.canvas, (u, v) => u !== null && change({ point: [clamp(Math.floor(u * width), width), clamp(Math.floor(v * height), height)] }));
  onArrow(stage.canvas, (dx, dy) => {
    if (dx === null) return;
    const [x, y] = get("point");
    change({ point: [clamp(x + dx, width), clamp(y + dy, height)] });
  });

  const paint = onNextFrame(() => [stage, returned, ...levels].forEach((p) => p.paint()));
  const silence = listen(model, { point: setPoint, bin: setLevel, channel: update, overlay: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop, returned.stop, ...levels.map((l) => l.stop)].forEach((end) => end());
}

export { pool, valueBack };
export default { render };
