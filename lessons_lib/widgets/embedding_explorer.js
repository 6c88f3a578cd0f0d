/* Clusters a picture's embeddings while the reader moves the margins. */

const MOST_CANDIDATES = 256;
const MOST_MOVES = 50;
const MANY_ROUNDS = 32;

/** Squared distance of row i from a centre; as soon as it passes `limit` the sum may stop. */
function squaredDistance(points, i, dims, centre, limit) {
  let sum = 0;
  for (let d = 0, at = i * dims; d < dims; d++, at++) {
    const difference = points[at] - centre[d];
    sum += difference * difference;
    if (sum > limit) break;
  }
  return sum;
}

function ball(points, free, dims, centre, radius) {
  const limit = radius * radius;
  return free.filter((i) => squaredDistance(points, i, dims, centre, limit) <= limit);
}

/** For every free point the others within the radius: worth its price when clusters are many. */
function neighbourLists(points, free, dims, radius) {
  const near = Array.from({ length: points.length / dims }, () => []);
  const limit = radius * radius;
  // Along the first dimension, all neighbours of a point stand close to it.
  const sorted = free.slice().sort((i, j) => points[i * dims] - points[j * dims]);
  sorted.forEach((i, a) => {
    const centre = points.subarray(i * dims, (i + 1) * dims);
    for (let b = a + 1; b < sorted.length; b++) {
      const j = sorted[b];
      if (points[j * dims] - centre[0] > radius) break;
      if (squaredDistance(points, j, dims, centre, limit) > limit) continue;
      near[i].push(j);
      near[j].push(i);
    }
  });
  return near;
}

/** Where a cluster's search starts: the candidate with the most candidates around it. */
function densest(points, free, dims, radius, near) {
  const count = Math.min(MOST_CANDIDATES, free.length);
  const candidates = new Int32Array(count);
  for (let k = 0; k < count; k++) candidates[k] = free[Math.floor((k * free.length) / count)];
  const crowds = near ? crowdsFromLists(candidates, near) : crowdsFromPairs(points, candidates, dims, radius);
  return candidates[crowds.indexOf(crowds.reduce((a, b) => Math.max(a, b)))];
}

function crowdsFromLists(candidates, near) {
  const among = new Uint8Array(near.length);
  for (const i of candidates) among[i] = 1;
  return candidates.map((i) => near[i].reduce((sum, j) => sum + among[j], 0));
}

function crowdsFromPairs(points, candidates, dims, radius) {
  const crowds = candidates.map(() => 0);
  const limit = radius * radius;
  for (let a = 0; a < candidates.length; a++) {
    const centre = points.subarray(candidates[a] * dims, (candidates[a] + 1) * dims);
    for (let b = a + 1; b < candidates.length; b++) {
      if (squaredDistance(points, candidates[b], dims, centre, limit) > limit) continue;
      crowds[a]++;
      crowds[b]++;
    }
  }
  return crowds;
}

function meanOf(points, members, dims) {
  const mean = new Float64Array(dims);
  for (const i of members) for (let d = 0; d < dims; d++) mean[d] += points[i * dims + d];
  return mean.map((sum) => sum / members.length);
}

/** The points of the densest ball that can be reached from a seed by moving to the mean. */
function climb(points, free, dims, radius, seed) {
  let centre = points.subarray(seed * dims, (seed + 1) * dims);
  let members = [];
  for (let move = 0; move < MOST_MOVES; move++) {
    members = ball(points, free, dims, centre, radius);
    const mean = meanOf(points, members, dims);
    const moved = Math.sqrt(squaredDistance(mean, 0, dims, centre, Infinity));
    centre = mean;
    if (moved < 1e-4 * radius) break;
  }
  return members;
}

/** Greedy mean shift with a flat kernel, step for step lessons_lib.embedding.mean_shift.
 * Points are rows of `dims` numbers; returns a label for each: 1, 2, … or 0 for too small a cluster.
 */
function meanShift(points, dims, radius, minSize = 1) {
  const labels = new Int32Array(points.length / dims).fill(-1);
  let free = Int32Array.from(labels.keys());
  let near = null;
  let found = 0;
  for (let round = 0; free.length >= Math.max(minSize, 1); round++) {
    if (round === MANY_ROUNDS) near = neighbourLists(points, free, dims, radius);
    const seed = densest(points, free, dims, radius, near);
    // A lonely point is its own mean; its members are known without a search.
    const lonely = near && !near[seed].some((j) => labels[j] < 0);
    const members = lonely ? [seed] : climb(points, free, dims, radius, seed);
    const label = members.length < minSize ? 0 : ++found;
    for (const i of members) labels[i] = label;
    let kept = 0;
    for (let k = 0; k < free.length; k++) if (labels[free[k]] < 0) free[kept++] = free[k];
    free = free.subarray(0, kept);
  }
  return labels.map((label) => Math.max(label, 0));
}

/** The true means, as an array of rows that begins with the mean of instance 1. */
function instanceMeans(points, dims, instances) {
  const members = [];
  instances.forEach((k, i) => k && (members[k - 1] ??= []).push(i));
  return Array.from(members, (m) => m && meanOf(points, m, dims));
}

/** The three terms of De Brabandere et al. (2017, equations 1 to 3), unweighted. */
function lossTerms(points, dims, instances, deltaV, deltaD) {
  const means = instanceMeans(points, dims, instances);
  const present = means.filter(Boolean);
  const count = present.length;
  const pulls = means.map(() => ({ sum: 0, size: 0 }));
  instances.forEach((k, i) => {
    if (!k) return;
    const distance = Math.sqrt(squaredDistance(points, i, dims, means[k - 1], Infinity));
    pulls[k - 1].sum += Math.max(0, distance - deltaV) ** 2;
    pulls[k - 1].size++;
  });
  let push = 0;
  for (const a of present) {
    for (const b of present) {
      if (a !== b) push += Math.max(0, 2 * deltaD - Math.sqrt(squaredDistance(a, 0, dims, b, Infinity))) ** 2;
    }
  }
  const total = (values) => values.reduce((sum, v) => sum + v, 0);
  return {
    pull: count ? total(pulls.filter((p) => p.size).map((p) => p.sum / p.size)) / count : 0,
    push: count > 1 ? push / (count * (count - 1)) : 0,
    regulariser: count ? total(present.map((m) => Math.hypot(...m))) / count : 0,
  };
}

/** A colour number for every cluster: that of the instance it covers most, if still free.
 * So a cluster keeps its colour while the reader moves a slider.
 */
function matchColours(labels, instances) {
  const overlap = new Map();
  labels.forEach((label, i) => {
    if (!label) return;
    const row = overlap.get(label) ?? overlap.set(label, { size: 0, of: new Map() }).get(label);
    row.size++;
    if (instances[i]) row.of.set(instances[i], (row.of.get(instances[i]) ?? 0) + 1);
  });
  const colours = new Map([[0, 0]]);
  const used = new Set();
  let next = Math.max(0, ...instances) + 1;
  for (const [label, { of }] of [...overlap].sort((a, b) => b[1].size - a[1].size)) {
    const [best] = [...of].sort((a, b) => b[1] - a[1])[0] ?? [0];
    const number = best && !used.has(best) ? best : next++;
    used.add(number);
    colours.set(label, number);
  }
  return colours;
}

/** The stored embedding with its most varied dimension first, so that distances stop early. */
function decodeEmbedding(model) {
  const [low, high] = [model.get("low"), model.get("high")];
  const dims = low.length;
  const stored = dequantise(model.get("codes"), low, high);
  const order = [...low.keys()].sort((a, b) => high[b] - low[b] - (high[a] - low[a]));
  const points = stored.map((_, i) => stored[i - (i % dims) + order[i % dims]]);
  const sorted = (values) => order.map((d) => values[d]);
  return { dims, points, mean: sorted(model.get("mean")), axes: model.get("axes").map(sorted) };
}

/** Two screen coordinates for every row. */
function flatten(points, { dims, mean, axes }) {
  return Array.from({ length: points.length / dims }, (_, i) =>
    axes.map((axis) => axis.reduce((sum, a, d) => sum + a * (points[i * dims + d] - mean[d]), 0)),
  );
}

function extent(flat) {
  const low = [Infinity, Infinity];
  const high = [-Infinity, -Infinity];
  for (const p of flat) {
    for (const d of [0, 1]) {
      low[d] = Math.min(low[d], p[d]);
      high[d] = Math.max(high[d], p[d]);
    }
  }
  return { low, high };
}

/** The nearest point in the direction of an arrow key, or the same one at the edge. */
function neighbourIn(flat, from, dx, dy) {
  const [x, y] = flat[from];
  let best = from;
  let nearest = Infinity;
  flat.forEach(([px, py], i) => {
    const [ax, ay] = [px - x, y - py]; // screen directions: down is positive
    const along = ax * Math.sign(dx) + ay * Math.sign(dy);
    const across = Math.abs(dx ? ay : ax);
    if (along > 1e-9 && across <= along && along + across < nearest) [best, nearest] = [i, along + across];
  });
  return best;
}

function format(value) {
  return value !== 0 && value < 0.001 ? "< 0.001" : value.toFixed(3);
}

function render({ model, el }) {
  const picture = decodePicture(model.get("picture"));
  const space = decodeEmbedding(model);
  const { points, dims } = space;
  const { height, width, pointAt, pixelOf, instances } = picture;
  const flat = flatten(points, space);
  const means = instanceMeans(points, dims, instances);
  const truths = means.filter(Boolean).length;
  const flatMeans = flatten(Float64Array.from(means.filter(Boolean).flatMap((m) => [...m])), space);
  const reach = model.get("delta_d");
  const corners = flatMeans.flatMap(([x, y]) => [[x - reach, y - reach], [x + reach, y + reach]]);
  const { low, high } = extent([...flat, ...corners]);
  const view = planeView(low, high, 0.02 * Math.max(high[0] - low[0], high[1] - low[1]));

  let labels = null;
  let clusteredAt = null; // the radius of `labels`
  let shownAs = "found";
  let colourNumbers = []; // of each point
  let painted, borders, cloud;
  let pixel = -1; // pointed at

  const get = (name) => model.get(name);
  const radius = () => ({ delta_v: get("delta_v"), "2delta_v": 2 * get("delta_v"), delta_d: get("delta_d") })[get("radius")];

  // ---- what the reader sees and moves

  const share = Math.round(100 * get("kept"));
  const shadow = `The plane that keeps most of ${dims} dimensions (${share} % of the variance). ` +
    "What lies inside a circle here may lie outside it in another dimension.";
  const image = panel({
    title: "Picture",
    caption: "Point at a pixel, or focus and use the arrow keys.",
    label: "Picture. Arrow keys move from pixel to pixel.",
    ratio: height / width,
    draw: drawImagePanel,
  });
  const plane = panel({
    title: dims > 2 ? "Embedding space, projected" : "Embedding space",
    caption: make("span", {}, delta("v"), " solid, ", delta("d"), " dashed, around the true means. ", dims > 2 ? shadow : ""),
    label: "Embedding space. Arrow keys move from point to point.",
    ratio: 1,
    draw: drawPlanePanel,
  });
  const margin = (letter, name, min, top) => slider({
    label: delta(letter),
    name: `delta ${letter}`,
    min,
    max: Math.max(top, 2 * get(name)),
    step: 0.05,
    value: get(name),
    text: (v) => Number(v).toFixed(2),
    onInput: (v) => change(name, v),
  });
  const sliders = { delta_v: margin("v", "delta_v", 0.1, 1.5), delta_d: margin("d", "delta_d", 0.2, 3) };
  const twice = make("span", {}, "2", delta("v"));
  const radii = choice({
    label: "Cluster radius",
    name: "radius",
    options: [["delta_v", delta("v")], ["2delta_v", twice], ["delta_d", delta("d")]],
    value: get("radius"),
    onChange: (v) => change("radius", v),
  });
  const colouring = choice({
    label: "Colours",
    name: "colours",
    options: [["found", "found"], ["true", "true"]],
    value: shownAs,
    onChange: (v) => {
      shownAs = v;
      recolour();
    },
  });
  const found = number("");
  const pull = number("pull");
  const push = number("push");
  const regulariser = number("regulariser × 0.001");
  const pointed = make("p", { class: "pti-hover" });
  const { root, stop } = figureRoot({
    model,
    name: "explorer",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, image.element, plane.element),
      make("div", { class: "pti-controls" }, sliders.delta_v.element, sliders.delta_d.element, radii.element, colouring.element),
      make("div", { class: "pti-readout" }, ...[found, pull, push, regulariser].map((n) => n.element)),
      pointed,
    ],
  });
  const announce = announcer(root);

  // ---- from the margins to the clusters

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  function update() {
    const start = performance.now();
    if (clusteredAt !== radius()) {
      clusteredAt = radius();
      labels = meanShift(points, dims, clusteredAt, get("min_size"));
      recolour();
    }
    const clusters = Math.max(0, ...labels);
    const terms = lossTerms(points, dims, instances, get("delta_v"), get("delta_d"));
    const left = labels.reduce((sum, label) => sum + (label === 0), 0);
    found.value.textContent = clusters;
    found.text.textContent = `found, ${truths} true; ${left} px left over`;
    found.element.dataset.agrees = clusters === truths;
    pull.value.textContent = format(terms.pull);
    push.value.textContent = format(terms.push);
    regulariser.value.textContent = format(0.001 * terms.regulariser);
    Object.assign(root.dataset, { clusters, instances: truths, left, radius: clusteredAt, ms: (performance.now() - start).toFixed(1), ...terms });
    announce(`${clusters} clusters found, ${truths} true. Pull ${format(terms.pull)}, push ${format(terms.push)}.`);
    point(pixel);
  }

  function recolour() {
    const ids = shownAs === "found" ? labels : instances;
    const match = shownAs === "found" ? matchColours(labels, instances) : null;
    colourNumbers = Array.from(ids, (k) => (match ? match.get(k) : k));
    painted = paintPicture(picture, colourNumbers.map((k) => rgb(colourOf(k))));
    borders = outlines(picture, ids);
    cloud = null;
    paint();
  }

  // ---- pointing

  function point(next) {
    pixel = next;
    const i = pixel < 0 ? -1 : pointAt[pixel];
    const place = `(${pixel % width}, ${Math.floor(pixel / width)})`;
    if (pixel < 0) pointed.textContent = "";
    else if (i < 0) pointed.textContent = `Pixel ${place}: background`;
    else {
      const instance = instances[i] ? `instance ${instances[i]}` : "no instance";
      const cluster = labels[i] ? `cluster ${labels[i]}` : "cluster too small";
      const mean = instances[i] ? means[instances[i] - 1] : null;
      const away = mean && Math.sqrt(squaredDistance(points, i, dims, mean, Infinity)).toFixed(2);
      pointed.textContent = `Pixel ${place}: ${instance}, ${cluster}${mean ? `, ${away} from its true mean` : ""}`;
    }
    root.dataset.pixel = pixel < 0 ? "" : place;
    root.dataset.point = i < 0 ? "" : i;
    paint();
  }

  function pointByKey(next) {
    point(next);
    announce(pointed.textContent);
  }

  onPoint(image.canvas, (u, v) => {
    if (u === null) return point(-1);
    const x = Math.min(width - 1, Math.max(0, Math.floor(u * width)));
    const y = Math.min(height - 1, Math.max(0, Math.floor(v * height)));
    point(y * width + x);
  });
  onArrow(image.canvas, (dx, dy) => {
    if (dx === null) return pointByKey(-1);
    if (pixel < 0) return pointByKey(pixelOf[0]);
    const x = Math.min(width - 1, Math.max(0, (pixel % width) + dx));
    const y = Math.min(height - 1, Math.max(0, Math.floor(pixel / width) + dy));
    pointByKey(y * width + x);
  });
  onPoint(plane.canvas, (u, v) => {
    if (u === null) return point(-1);
    let best = 0;
    let nearest = Infinity;
    flat.forEach(([px, py], i) => {
      const distance = Math.hypot(view.x(px, 1) - u, view.y(py, 1) - v);
      if (distance < nearest) [best, nearest] = [i, distance];
    });
    point(nearest < 0.06 ? pixelOf[best] : -1);
  });
  onArrow(plane.canvas, (dx, dy) => {
    if (dx === null) return pointByKey(-1);
    const i = pixel < 0 ? -1 : pointAt[pixel];
    pointByKey(pixelOf[i < 0 ? 0 : neighbourIn(flat, i, dx, dy)]);
  });

  // ---- drawing

  function drawImagePanel(context, w, h) {
    if (!painted) return;
    drawPicture(context, w, h, painted, borders);
    if (pixel < 0) return;
    const scale = w / width;
    drawRing(context, ((pixel % width) + 0.5) * scale, (Math.floor(pixel / width) + 0.5) * scale, Math.max(6, scale));
  }

  /** The points change seldom: they are drawn once for each colouring and size, then copied. */
  function drawCloud(size) {
    const sharp = window.devicePixelRatio || 1;
    if (cloud?.width === Math.round(size * sharp)) return cloud;
    cloud = make("canvas", { width: Math.round(size * sharp), height: Math.round(size * sharp) });
    const context = cloud.getContext("2d");
    context.scale(sharp, sharp);
    context.globalAlpha = 0.6;
    flat.forEach(([x, y], i) => {
      context.fillStyle = colourOf(colourNumbers[i]);
      context.beginPath();
      context.arc(view.x(x, size), view.y(y, size), 2, 0, 2 * Math.PI);
      context.fill();
    });
    return cloud;
  }

  function drawPlanePanel(context, size) {
    if (!painted) return;
    context.drawImage(drawCloud(size), 0, 0, size, size);
    const scale = view.scale(size);
    context.strokeStyle = ink(root, "ink");
    for (const [r, dash, line] of [[get("delta_v"), [], 1.4], [get("delta_d"), [4, 4], 1]]) {
      context.setLineDash(dash);
      context.lineWidth = line;
      for (const [x, y] of flatMeans) {
        context.beginPath();
        context.arc(view.x(x, size), view.y(y, size), r * scale, 0, 2 * Math.PI);
        context.stroke();
      }
    }
    context.setLineDash([]);
    drawScaleBar(context, size, scale, ink(root, "soft"));
    const i = pixel < 0 ? -1 : pointAt[pixel];
    if (i >= 0) drawRing(context, view.x(flat[i][0], size), view.y(flat[i][1], size), 6);
  }

  const paint = onNextFrame(() => {
    image.paint();
    plane.paint();
  });
  const updateSoon = onNextFrame(update);
  const silence = listen(model, {
    delta_v: () => (sliders.delta_v.set(get("delta_v")), updateSoon()),
    delta_d: () => (sliders.delta_d.set(get("delta_d")), updateSoon()),
    radius: () => (radii.set(get("radius")), updateSoon()),
    min_size: () => ((clusteredAt = null), updateSoon()),
  });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, image.stop, plane.stop].forEach((end) => end());
}

export { lossTerms, meanShift };
export default { render };
