/* Where a pixel points, its ellipse, what it claims; and the clustering, a proposal at a time. */

const RIGHT = "#0072b2";
const WRONG = "#d55e00";

/** Places, spreads (1/px²) and seed values of the stored pixels. */
function decodeSpatial(model, picture) {
  const values = dequantise(model.get("codes"), model.get("low"), model.get("high"));
  const codes = bytes(model.get("seeds"));
  const unit = model.get("unit");
  const count = picture.pixelOf.length;
  const points = { count, x: new Float64Array(count), y: new Float64Array(count), sx: new Float64Array(count), sy: new Float64Array(count), seed: new Float64Array(count) };
  picture.pixelOf.forEach((pixel, i) => {
    points.x[i] = (pixel % picture.width) + values[4 * i];
    points.y[i] = Math.floor(pixel / picture.width) + values[4 * i + 1];
    points.sx[i] = Math.exp(10 * values[4 * i + 2]) / unit ** 2;
    points.sy[i] = Math.exp(10 * values[4 * i + 3]) / unit ** 2;
    points.seed[i] = (256 * codes[2 * i] + codes[2 * i + 1]) / 65535;
  });
  return points;
}

/** The foreground pixels whose φ exceeds the threshold with pixel i as the centre. */
function claimsOf(points, i, threshold, foreground) {
  const limit = -Math.log(threshold);
  const claimed = [];
  for (let j = 0; j < points.count; j++) {
    if (points.seed[j] <= foreground) continue;
    const distance = points.sx[i] * (points.x[j] - points.x[i]) ** 2 + points.sy[i] * (points.y[j] - points.y[i]) ** 2;
    if (distance < limit) claimed.push(j);
  }
  return claimed;
}

/** The proposals of lessons_lib.embedding.cluster_spatial, one after another. */
function clusterSteps(points, limits, threshold) {
  const order = Array.from({ length: points.count }, (_, i) => i)
    .filter((i) => points.seed[i] > limits.foreground_threshold)
    .sort((a, b) => points.x[a] - points.x[b]); // among equal seeds the leftmost is first
  const free = new Uint8Array(points.count);
  const owner = new Int32Array(points.count);
  order.forEach((i) => (free[i] = 1));
  const steps = [];
  let found = 0;
  for (;;) {
    let best = -1;
    for (const i of order) if (free[i] && (best < 0 || points.seed[i] > points.seed[best])) best = i;
    if (best < 0 || points.seed[best] < limits.seed_threshold) return steps;
    const proposal = claimsOf(points, best, threshold, limits.foreground_threshold);
    const unclaimed = proposal.filter((i) => !owner[i]);
    const accepted = unclaimed.length >= limits.min_size && unclaimed.length >= limits.min_unclaimed * proposal.length;
    if (accepted) {
      found++;
      for (const i of unclaimed) owner[i] = found;
    }
    for (const i of proposal) free[i] = 0;
    free[best] = 0;
    steps.push({ seed: best, size: proposal.length, unclaimed, accepted, found });
  }
}

/** IoU of claimed pixels with the true instance under pixel i; null on the background. */
function overlapOf(claimed, i, instances) {
  const truth = instances[i];
  if (!truth) return null;
  const shared = claimed.filter((j) => instances[j] === truth).length;
  const size = instances.reduce((sum, k) => sum + (k === truth), 0);
  return shared / (claimed.length + size - shared);
}

/** The picture with its own colour and strength for every stored pixel. */
function paintPoints({ height, width, image, pixelOf }, colours, strengths) {
  const canvas = make("canvas", { width, height });
  const data = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = image[3 * i + c];
    data.data[4 * i + 3] = 255;
  }
  pixelOf.forEach((pixel, i) => {
    for (let c = 0; c < 3; c++) data.data[4 * pixel + c] += strengths[i] * (colours[i][c] - image[3 * pixel + c]);
  });
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const picture = decodePicture(get("picture"));
  const { height, width, pointAt, pixelOf, instances } = picture;
  const points = decodeSpatial(model, picture);
  const limits = get("limits");
  const truths = Math.max(0, ...instances);
  const borders = outlines(picture, Int16Array.from(instances, (k) => k || -1));
  const low = [Math.min(-0.5, ...points.x) - 1, Math.min(-0.5, ...points.y) - 1];
  const span = [Math.max(width - 0.5, ...points.x) + 1 - low[0], Math.max(height - 0.5, ...points.y) + 1 - low[1]];
  let pixel = get("start")[1] * width + get("start")[0];
  let steps = [];
  let claimed = [];
  let owner = new Int32Array(points.count);
  let figure = null; // the root, once it is there: the player asks for it earlier
  let painted = null;
  let shownRounds = get("rounds");

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const keys = "Point, or focus and use the arrow keys (with shift five pixels).";
  const image = panel({
    title: "Picture",
    caption: make("span", {}, "The arrow: where the pixel points to. In the ellipse φ is above the threshold. What the pixel claims is ",
      make("b", { class: "pti-right" }, "blue"), " inside the true object under it, ", make("b", { class: "pti-wrong" }, "orange"), " outside. ", keys),
    label: `Picture with the outlines of its objects. ${keys}`,
    ratio: height / width,
    draw: drawImagePanel,
  });
  const plane = panel({
    title: "Where all pixels point to",
    caption: "A dot for every foreground pixel, in the colour of its object. The frame is the picture's.",
    label: "The places that the pixels point to. Point, or use the arrow keys to go from dot to dot.",
    ratio: span[1] / span[0],
    draw: drawPlanePanel,
  });
  const threshold = slider({
    label: "φ above", name: "threshold", min: 0.05, max: 0.95, step: 0.05, value: get("threshold"),
    text: (v) => Number(v).toFixed(2), onInput: (v) => change("threshold", v),
  });
  const next = make("button", { type: "button", class: "pti-button" }, "Next seed");
  const restart = make("button", { type: "button", class: "pti-button" }, "Start over");
  const advance = () => {
    if (get("rounds") >= steps.length) return false;
    change("rounds", get("rounds") + 1);
    return get("rounds") < steps.length;
  };
  const play = player({
    root: () => figure,
    start: () => {
      if (get("rounds") >= steps.length) change("rounds", 0);
      advance();
    },
    step: advance,
    pause: 900,
  });
  next.addEventListener("click", () => {
    play.stop();
    advance();
  });
  restart.addEventListener("click", () => {
    play.stop();
    change("rounds", 0);
  });
  const seed = number("seed value");
  const margin = number("px: half axes of the ellipse, x and y");
  const size = number("pixels claimed");
  const iou = number("IoU with the true object under the pixel");
  const pointed = make("p", { class: "pti-note" });
  const told = make("p", { class: "pti-note" });
  const { root, stop } = figureRoot({
    model,
    name: "gauss",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, image.element, plane.element),
      make("div", { class: "pti-readout" }, ...[seed, margin, size, iou].map((n) => n.element)),
      pointed,
      make("div", { class: "pti-controls" }, threshold.element, make("div", { class: "pti-row" }, make("span", {}, "Cluster one by one:"), next, play.element, restart)),
      told,
    ],
  });
  figure = root;
  const announce = announcer(root);

  // ---- from a pixel to what it claims

  const placeOf = (at) => `(${at % width}, ${Math.floor(at / width)})`;
  const halfAxes = (i) => [points.sx[i], points.sy[i]].map((s) => Math.sqrt(-Math.log(get("threshold")) / s));

  function pick(at, aloud = false) {
    pixel = at;
    const i = pointAt[pixel];
    claimed = i < 0 ? [] : claimsOf(points, i, get("threshold"), limits.foreground_threshold);
    const overlap = i < 0 ? null : overlapOf(claimed, i, instances);
    const half = i < 0 ? null : halfAxes(i).map((v) => v.toFixed(1));
    const show = (tile, text) => (tile.value.textContent = i < 0 ? "–" : text());
    show(seed, () => points.seed[i].toFixed(2));
    show(margin, () => half.join(" × "));
    show(size, () => claimed.length);
    show(iou, () => (overlap === null ? "–" : overlap.toFixed(2)));
    const under = i >= 0 && instances[i] ? `object ${instances[i]}` : "background";
    const faint = i >= 0 && points.seed[i] <= limits.foreground_threshold;
    pointed.textContent = i < 0
      ? `Pixel ${placeOf(pixel)}: background, in truth and for the network.`
      : `Pixel ${placeOf(pixel)}: ${under}; points to (${points.x[i].toFixed(1)}, ${points.y[i].toFixed(1)})${faint ? "; its seed value is too low to belong to any instance" : ""}.`;
    Object.assign(root.dataset, {
      pixel: placeOf(pixel),
      seed: i < 0 ? "" : points.seed[i].toFixed(4),
      margin: half ? half.join(",") : "",
      claimed: claimed.length,
      iou: overlap === null ? "" : overlap.toFixed(4),
    });
    if (aloud) announce(`${pointed.textContent} ${i < 0 ? "" : `Claims ${claimed.length} pixels${overlap === null ? "" : `, IoU ${overlap.toFixed(2)}`}.`}`);
    recolour();
  }

  // ---- the clustering, so far

  function update() {
    steps = clusterSteps(points, limits, get("threshold"));
    const rounds = Math.min(get("rounds"), steps.length);
    owner = new Int32Array(points.count);
    for (const step of steps.slice(0, rounds)) if (step.accepted) for (const i of step.unclaimed) owner[i] = step.found;
    const last = steps[rounds - 1];
    told.textContent = last ? tell(last, rounds) : `${steps.length} proposals would make ${steps.at(-1)?.found ?? 0} instances; there are ${truths}.`;
    told.dataset.refused = Boolean(last && !last.accepted);
    next.disabled = rounds >= steps.length;
    restart.disabled = rounds === 0;
    threshold.set(get("threshold"));
    Object.assign(root.dataset, {
      threshold: Number(get("threshold")).toFixed(2), rounds, steps: steps.length, found: last ? last.found : 0,
      accepted: last ? last.accepted : "", all: steps.at(-1)?.found ?? 0,
    });
    if (last) announce(told.textContent);
    pick(last && get("rounds") !== shownRounds ? pixelOf[last.seed] : pixel);
    shownRounds = get("rounds");
  }

  function tell(step, rounds) {
    const part = step.size ? Math.round((100 * step.unclaimed.length) / step.size) : 0;
    const verdict = step.accepted
      ? `accepted as instance ${step.found}.`
      : step.unclaimed.length < limits.min_size
        ? `rejected, fewer than ${limits.min_size} px.`
        : `rejected, less than ${Math.round(100 * limits.min_unclaimed)} %.`;
    const end = rounds === steps.length
      ? ` No free seed reaches ${limits.seed_threshold.toFixed(2)} any more: ${step.found} instances, ${truths} true.`
      : "";
    return `Proposal ${rounds}: the surest free pixel ${placeOf(pixelOf[step.seed])}, seed value ${points.seed[step.seed].toFixed(2)}, claims ${step.size} px, ${step.unclaimed.length} of them (${part} %) unclaimed: ${verdict}${end}`;
  }

  // ---- pointing

  onPoint(image.canvas, (u, v) => {
    if (u === null) return; // what was picked stays
    const x = Math.min(width - 1, Math.max(0, Math.floor(u * width)));
    const y = Math.min(height - 1, Math.max(0, Math.floor(v * height)));
    pick(y * width + x);
  });
  onArrow(image.canvas, (dx, dy) => {
    if (dx === null) return pick(get("start")[1] * width + get("start")[0], true);
    const x = Math.min(width - 1, Math.max(0, (pixel % width) + dx));
    const y = Math.min(height - 1, Math.max(0, Math.floor(pixel / width) + dy));
    pick(y * width + x, true);
  });
  onPoint(plane.canvas, (u, v) => {
    if (u === null) return;
    const [x, y] = [low[0] + u * span[0], low[1] + v * span[1]];
    let best = -1;
    let nearest = 0.03 * span[0];
    for (let i = 0; i < points.count; i++) {
      const distance = Math.hypot(points.x[i] - x, points.y[i] - y);
      if (distance < nearest) [best, nearest] = [i, distance];
    }
    if (best >= 0) pick(pixelOf[best]);
  });
  onArrow(plane.canvas, (dx, dy) => {
    if (dx === null) return pick(get("start")[1] * width + get("start")[0], true);
    const from = pointAt[pixel];
    if (from < 0) return pick(pixelOf[0], true);
    let best = from;
    let nearest = Infinity;
    for (let i = 0; i < points.count; i++) {
      const [ax, ay] = [points.x[i] - points.x[from], points.y[i] - points.y[from]];
      const along = ax * Math.sign(dx) + ay * Math.sign(dy);
      const across = Math.abs(dx ? ay : ax);
      if (along > 1e-9 && across <= along && along + across < nearest) [best, nearest] = [i, along + across];
    }
    pick(pixelOf[best], true);
  });

  // ---- drawing

  function recolour() {
    const [right, wrong] = [rgb(RIGHT), rgb(WRONG)];
    const truth = pointAt[pixel] < 0 ? 0 : instances[pointAt[pixel]];
    const colours = Array.from(owner, (k) => rgb(colourOf(k)));
    const strengths = Array.from(owner, (k) => (k ? 0.45 : 0));
    for (const i of claimed) {
      colours[i] = truth && instances[i] === truth ? right : wrong;
      strengths[i] = 0.75;
    }
    painted = paintPoints(picture, colours, strengths);
    paint();
  }

  /** An arrow to where the picked pixel points, and its ellipse; `place` maps px to the screen. */
  function drawGaussian(context, place, scale) {
    const i = pointAt[pixel];
    const [x, y] = place(pixel % width, Math.floor(pixel / width));
    drawRing(context, x, y, Math.max(4, scale / 2));
    if (i < 0) return;
    const [ex, ey] = place(points.x[i], points.y[i]);
    const [rx, ry] = halfAxes(i).map((v) => v * scale);
    const turn = Math.atan2(ey - y, ex - x);
    for (const [colour, line] of [["#000", 4], ["#fff", 1.8]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(ex, ey);
      if (Math.hypot(ex - x, ey - y) > 8) {
        for (const side of [-0.5, 0.5]) {
          context.moveTo(ex, ey);
          context.lineTo(ex - 8 * Math.cos(turn + side), ey - 8 * Math.sin(turn + side));
        }
      }
      context.moveTo(ex + rx, ey);
      context.ellipse(ex, ey, rx, ry, 0, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  function drawImagePanel(context, w, h) {
    if (!painted) return;
    drawPicture(context, w, h, painted, borders);
    const scale = w / width;
    drawGaussian(context, (x, y) => [(x + 0.5) * scale, (y + 0.5) * scale], scale);
  }

  function drawPlanePanel(context, w) {
    if (!painted) return;
    const scale = w / span[0];
    const place = (x, y) => [(x - low[0]) * scale, (y - low[1]) * scale];
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    context.strokeRect(...place(-0.5, -0.5), width * scale, height * scale);
    const isClaimed = new Uint8Array(points.count);
    for (const i of claimed) isClaimed[i] = 1;
    for (let i = 0; i < points.count; i++) {
      if (points.seed[i] <= limits.foreground_threshold) continue;
      context.globalAlpha = isClaimed[i] ? 0.9 : 0.35;
      context.fillStyle = colourOf(get("rounds") ? owner[i] : instances[i]);
      context.beginPath();
      context.arc(...place(points.x[i], points.y[i]), isClaimed[i] ? 2.4 : 1.8, 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
    drawGaussian(context, place, scale);
  }

  const paint = onNextFrame(() => {
    image.paint();
    plane.paint();
  });
  const silence = listen(model, { threshold: update, rounds: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, play.stop, image.stop, plane.stop].forEach((end) => end());
}

export { claimsOf, clusterSteps };
export default { render };
