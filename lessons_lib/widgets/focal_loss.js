/* The focal loss, and where its gradient goes. */

const KINDS = { easy: "#8a8f98", hard: "#0072b2", positive: "#d55e00" };
const LABELS = { easy: "easy negatives", hard: "hard negatives", positive: "positives" };
const TOP = 5; // the largest loss shown

const focal = (p, gamma) => -((1 - p) ** gamma) * Math.log(p);
/** How strongly an answer pulls at its logit, without alpha. */
const slope = (p, gamma) => (1 - p) ** gamma * (1 - p - gamma * p * Math.log(p));

/** For each bin the middle's p_t and what negatives and positives pull; and the shares of the groups. */
function weigh([negatives, positives], [low, width], gamma, alpha) {
  const sums = { easy: 0, hard: 0, positive: 0 };
  const rows = negatives.map((count, k) => {
    const z = low + width * (k + 0.5);
    const p = 1 / (1 + Math.exp(-z));
    const s = slope(p, gamma);
    const row = { p, negative: (1 - alpha) * count * s, positive: alpha * positives[k] * s };
    sums[z > 0 ? "easy" : "hard"] += row.negative;
    sums.positive += row.positive;
    return row;
  });
  const whole = sums.easy + sums.hard + sums.positive;
  const shares = Object.fromEntries(Object.entries(sums).map(([name, v]) => [name, whole > 0 ? v / whole : 0]));
  return { rows, shares };
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const [bins, names, counts] = [get("bins"), get("names"), get("counts")];
  let weighed = weigh(counts[0], bins, 0, 0.5);

  function change(values) {
    model.set(values);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const curves = panel({
    title: "Loss of one answer",
    caption: "Against pₜ, the probability given to the truth. Dashed: cross-entropy. Shaded: what is already right.",
    label: "Loss against the probability given to the truth",
    ratio: 0.85,
    interactive: false,
    draw: drawCurves,
  });
  const bars = panel({
    title: "All answers, and what they pull",
    caption: "Above: how many answers there are with each pₜ (each line ten times more). Below: their share of the gradient.",
    label: "Histogram of the answers, and the gradient of each bin",
    ratio: 0.85,
    interactive: false,
    draw: drawBars,
  });
  const gamma = slider({
    label: "γ", name: "gamma", min: 0, max: 5, step: 0.1, value: get("gamma"),
    text: (v) => Number(v).toFixed(1), onInput: (v) => change({ gamma: v }),
  });
  const alpha = slider({
    label: "α of the positives", name: "alpha", min: 0, max: 1, step: 0.05, value: get("alpha"),
    text: (v) => Number(v).toFixed(2), onInput: (v) => change({ alpha: v }),
  });
  const stage = choice({
    label: "Network", name: "network", value: String(get("stage")),
    options: names.map((name, k) => [String(k), name]), onChange: (v) => change({ stage: Number(v) }),
  });
  const tiles = Object.fromEntries(Object.keys(KINDS).map((name) => [name, number("")]));
  for (const [name, tile] of Object.entries(tiles)) tile.element.style.borderLeft = `6px solid ${KINDS[name]}`;
  const strip = make("div", { class: "pti-strip", "aria-hidden": "true" }, ...Object.keys(KINDS).map((name) => make("i", { class: name })));
  const { root, stop } = figureRoot({
    model,
    name: "focal",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, curves.element, bars.element),
      make("div", { class: "pti-title pti-of" }, "Who holds the gradient"),
      strip,
      make("div", { class: "pti-readout" }, ...Object.values(tiles).map((t) => t.element)),
      make("div", { class: "pti-controls" }, gamma.element, alpha.element, ...(names.length > 1 ? [stage.element] : [])),
    ],
  });
  const announce = announcer(root);
  const percent = (v) => `${(100 * v).toFixed(1)} %`;

  function update() {
    const own = counts[get("stage")];
    weighed = weigh(own, bins, get("gamma"), get("alpha"));
    const total = (part, wanted) => part.reduce((sum, v, k) => sum + (wanted(bins[0] + bins[1] * (k + 0.5)) ? v : 0), 0);
    const many = { easy: total(own[0], (z) => z > 0), hard: total(own[0], (z) => z <= 0), positive: total(own[1], () => true) };
    for (const [name, tile] of Object.entries(tiles)) {
      tile.value.textContent = percent(weighed.shares[name]);
      tile.text.textContent = `${LABELS[name]}: ${many[name].toLocaleString("en")}`;
      const piece = strip.querySelector(`.${name}`);
      piece.style.width = `${100 * weighed.shares[name]}%`;
      piece.style.background = KINDS[name];
    }
    gamma.set(get("gamma"));
    alpha.set(get("alpha"));
    stage.set(String(get("stage")));
    Object.assign(root.dataset, {
      gamma: get("gamma").toFixed(1), alpha: get("alpha").toFixed(2), stage: get("stage"),
      ...Object.fromEntries(Object.entries(weighed.shares).map(([name, v]) => [name, v.toFixed(4)])),
    });
    announce(`Gamma ${get("gamma").toFixed(1)}, alpha ${get("alpha").toFixed(2)}: positives hold ${percent(weighed.shares.positive)} of the gradient.`);
    paint();
  }

  // ---- drawing

  function text(context, words, x, y, align = "center") {
    context.fillStyle = ink(root, "soft");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = align;
    context.fillText(words, x, y);
  }

  function drawCurves(context, w, h) {
    const [left, right, top, bottom] = [26, w - 8, 8, h - 34];
    const x = (p) => left + p * (right - left);
    const y = (v) => bottom - (Math.min(v, TOP) / TOP) * (bottom - top);
    context.fillStyle = ink(root, "wash");
    context.fillRect(x(0.5), top, x(1) - x(0.5), bottom - top);
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    for (let v = 0; v <= TOP; v++) {
      context.beginPath();
      context.moveTo(left, y(v));
      context.lineTo(right, y(v));
      context.stroke();
      text(context, v, left - 10, y(v) + 4);
    }
    for (const p of [0, 0.5, 1]) text(context, p, x(p), bottom + 15, p === 1 ? "right" : "center");
    text(context, "pₜ", x(0.75), bottom + 15);
    const line = (value, colour, width, dash = []) => {
      context.beginPath();
      for (let k = 1; k <= 200; k++) {
        const v = value(k / 200);
        if (v > TOP) continue;
        context.lineTo(x(k / 200), y(v));
      }
      context.setLineDash(dash);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
      context.setLineDash([]);
    };
    const [g, a] = [get("gamma"), get("alpha")];
    line((p) => focal(p, 0), ink(root, "soft"), 1.5, [5, 4]);
    line((p) => (1 - a) * focal(p, g), KINDS.hard, 3);
    line((p) => a * focal(p, g), KINDS.positive, 3);
    text(context, "blue: negatives, (1 − α) FL; orange: positives, α FL", (left + right) / 2, h - 4);
  }

  function drawBars(context, w, h) {
    const [left, right, middle, bottom] = [8, w - 8, 0.46 * h, h - 34];
    const own = counts[get("stage")];
    const step = (right - left) / own[0].length;
    const most = Math.ceil(Math.log10(Math.max(...own[0], ...own[1]) + 1));
    const z = (p) => left + ((Math.log(p / (1 - p)) - bins[0]) / (bins[1] * own[0].length)) * (right - left);
    context.strokeStyle = ink(root, "line");
    context.lineWidth = 1;
    for (let k = 0; k <= most; k++) {
      const y = middle - (k / most) * (middle - 8);
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(right, y);
      context.stroke();
    }
    context.beginPath();
    context.moveTo(left, bottom);
    context.lineTo(right, bottom);
    context.moveTo(z(0.5), 8);
    context.lineTo(z(0.5), bottom);
    context.stroke();
    const pulls = weighed.rows.map((row) => row.negative + row.positive);
    const largest = Math.max(...pulls) || 1;
    const room = bottom - middle - 12;
    weighed.rows.forEach((row, k) => {
      const x = left + k * step;
      const kind = row.p > 0.5 ? KINDS.easy : KINDS.hard;
      const height = (count) => (Math.log10(count + 1) / most) * (middle - 8);
      context.fillStyle = kind;
      context.fillRect(x, middle - height(own[0][k]), step - 0.5, height(own[0][k]));
      context.fillStyle = KINDS.positive;
      context.fillRect(x + step / 4, middle - height(own[1][k]), step / 2, height(own[1][k]));
      const [below, above] = [(row.negative / largest) * room, (row.positive / largest) * room];
      context.fillStyle = kind;
      context.fillRect(x, bottom - below, step - 0.5, below);
      context.fillStyle = KINDS.positive;
      context.fillRect(x, bottom - below - above, step - 0.5, above);
    });
    for (const p of [0.001, 0.1, 0.5, 0.9, 0.999]) text(context, p, z(p), bottom + 15);
    text(context, "pₜ, the probability given to the truth", (left + right) / 2, h - 4);
  }

  const paint = onNextFrame(() => [curves, bars].forEach((p) => p.paint()));
  const soon = onNextFrame(update);
  const silence = listen(model, { gamma: soon, alpha: soon, stage: soon });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, curves.stop, bars.stop].forEach((end) => end());
}

export { focal, slope, weigh };
export default { render };
