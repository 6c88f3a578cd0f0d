/* A transposed convolution three times: scattered sums, zeros between, and a matrix.
 *
 * Everything is computed on grids; a line is a grid of one row, whose row axis has the settings
 * of ALONE. An axis is {n, k, s, p, op, d}: input cells, kernel cells, stride, padding, output
 * padding, dilation.
 */

const ALONE = { n: 1, k: 1, s: 1, p: 0, op: 0, d: 1 };
const LABELS = 70; // px, room for the names of the rows

const span = ({ k, d }) => d * (k - 1) + 1;
const sizeOf = (axis) => (axis.n - 1) * axis.s - 2 * axis.p + span(axis) + axis.op;
const zeros = (rows, columns) => Array.from({ length: rows }, () => new Array(columns).fill(0));

/** Calls back for every place of a grid. */
function each(rows, columns, callback) {
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) callback(r, c);
}

/** Each input cell adds the kernel, times its value, to the output; padding crops. */
function scatterAdd(x, w, [R, C]) {
  const whole = zeros((R.n - 1) * R.s + span(R) + R.op, (C.n - 1) * C.s + span(C) + C.op);
  each(R.n, C.n, (i, j) => each(R.k, C.k, (a, b) => (whole[i * R.s + a * R.d][j * C.s + b * C.d] += x[i][j] * w[a][b])));
  return { whole, output: whole.slice(R.p, R.p + sizeOf(R)).map((row) => row.slice(C.p, C.p + sizeOf(C))) };
}

/** Zeros between and around the input cells, then an ordinary convolution with the flipped kernel. */
function zeroInsert(x, w, [R, C]) {
  const edge = ({ k, d, p }) => d * (k - 1) - p;
  const length = (axis) => (axis.n - 1) * axis.s + 1 + 2 * edge(axis) + axis.op;
  const padded = zeros(length(R), length(C));
  each(R.n, C.n, (i, j) => (padded[edge(R) + i * R.s][edge(C) + j * C.s] = x[i][j]));
  const flipped = w.map((row) => [...row].reverse()).reverse();
  const output = zeros(sizeOf(R), sizeOf(C));
  each(sizeOf(R), sizeOf(C), (r, c) =>
    each(R.k, C.k, (a, b) => (output[r][c] += flipped[a][b] * padded[r + a * R.d][c + b * C.d])));
  return { padded, flipped, edge: edge(C), output };
}

/** The matrix of the ordinary convolution from the output's size to the input's, and its columns' sums. */
function byMatrix(x, w, [R, C]) {
  const [rows, columns] = [sizeOf(R), sizeOf(C)];
  const matrix = zeros(R.n * C.n, rows * columns);
  const hit = zeros(R.n * C.n, rows * columns); // where a weight stands, were it 0 too
  each(R.n, C.n, (i, j) => each(R.k, C.k, (a, b) => {
    const [r, c] = [i * R.s - R.p + a * R.d, j * C.s - C.p + b * C.d];
    if (r < 0 || c < 0 || r >= rows || c >= columns) return;
    matrix[i * C.n + j][r * columns + c] = w[a][b];
    hit[i * C.n + j][r * columns + c] = 1;
  }));
  const output = zeros(rows, columns);
  const coverage = zeros(rows, columns);
  const flat = x.flat();
  each(rows, columns, (r, c) => flat.forEach((value, i) => {
    output[r][c] += value * matrix[i][r * columns + c];
    coverage[r][c] += hit[i][r * columns + c];
  }));
  return { matrix, hit, output, coverage };
}

/** The rule that settings break, or "". */
function broken({ n, k, s, p, op, d }) {
  if (op >= Math.max(s, d)) {
    return `output_padding = ${op} must be smaller than stride = ${s} or than dilation = ${d}, as torch demands.`;
  }
  const size = sizeOf({ n, k, s, p, op, d });
  return size < 1 ? `the output would have ${size} cells. At least one is needed: take less padding or more input.` : "";
}

/** Input and kernel, as TransposedStepper.values makes them. */
function numbers({ n, k }, flat) {
  const line = [3, 1, 2, 5, 4, 6];
  if (flat) return { x: [line.slice(0, n)], w: [[1, 2, 3, 4, 5].slice(0, k)] };
  const x = Array.from({ length: n }, (_, r) => Array.from({ length: n }, (_, c) => line[(c + r) % 6]));
  return { x, w: Array.from({ length: k }, (_, a) => Array.from({ length: k }, (_, b) => ((2 * a + b) % 5) + 1)) };
}

/** All three views of one setting. */
function compute(axis, flat) {
  const { x, w } = numbers(axis, flat);
  const axes = [flat ? ALONE : axis, axis];
  const views = { scatter: scatterAdd(x, w, axes), zeros: zeroInsert(x, w, axes), matrix: byMatrix(x, w, axes) };
  const [a, b, c] = Object.values(views).map(({ output }) => output.flat());
  return { x, w, axes, ...views, agree: a.length === b.length && a.every((v, i) => v === b[i] && v === c[i]) };
}

const CAPTIONS = {
  scatter: "Every input cell stamps the kernel, times its value, on the output, one stride after the other. What overlaps adds up. Dashed cells are cropped by the padding.",
  zeros: "Between the input cells stand s − 1 zeros, around them d·(k − 1) − p. Then comes an ordinary convolution of stride 1 with the flipped kernel.",
  matrix: "The matrix C of the ordinary convolution that goes the other way, a row for each of our input cells. It would use its rows; we use its columns: y = Cᵀx.",
};

function render({ model, el }) {
  const get = (name) => model.get(name);
  const names = { n: "input_size", k: "kernel_size", s: "stride", p: "padding", d: "dilation", op: "output_padding" };
  const axis = () => Object.fromEntries(Object.entries(names).map(([short, name]) => [short, get(name)]));
  const flat = () => get("dimensions") === 1;
  let all = null; // compute's answer, null where it is refused
  let chosen = { kind: "input", index: 0 };
  let figure = null;

  function change(changes) {
    play.stop();
    model.set(changes);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const stage = panel({
    title: "",
    caption: " ",
    label: "Transposed convolution. Arrow keys move from cell to cell.",
    ratio: (width) => layout(width).height / width,
    draw,
  });
  const scroll = make("div", { class: "pti-scroll" });
  stage.canvas.replaceWith(scroll);
  scroll.append(stage.canvas);
  const limits = { n: [1, 6], k: [1, 5], s: [1, 4], p: [0, 4], d: [1, 3], op: [0, 3] };
  const words = { n: "input n", k: "kernel k", s: "stride s", p: "padding p", d: "dilation d", op: "output padding" };
  const sliders = Object.fromEntries(Object.entries(names).map(([key, name]) => [key, slider({
    label: words[key],
    name: name.replace("_", " "),
    min: limits[key][0],
    max: limits[key][1],
    step: 1,
    value: get(name),
    // A kernel of k cells crops at most k − 1.
    onInput: (v) => change(key === "k" ? { kernel_size: v, padding: Math.min(get("padding"), v - 1) } : { [name]: v }),
  })]));
  const views = choice({
    label: "View",
    name: "view",
    options: [["scatter", "scattered sums"], ["zeros", "zeros between"], ["matrix", "matrix"]],
    value: get("view"),
    onChange: (view) => change({ view }),
  });
  const sides = choice({
    label: "Dimensions",
    name: "dimensions",
    options: [["1", "1"], ["2", "2"]],
    value: String(get("dimensions")),
    onChange: (v) => {
      chosen = { kind: chosen.kind, index: 0 };
      change({ dimensions: Number(v) });
    },
  });
  const play = player({
    root: () => figure,
    start: () => choose(get("view") === "zeros" ? "output" : "input", 0),
    step: () => {
      if (!all || chosen.index + 1 >= count(chosen.kind)) return false;
      choose(chosen.kind, chosen.index + 1, false);
      return true;
    },
  });
  const told = make("p", { class: "pti-note" });
  const formula = make("p", { class: "pti-formula" });
  const agreement = make("p", { class: "pti-caption" });
  const { root, stop } = figureRoot({
    model,
    name: "transposed",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-row" }, views.element, sides.element, play.element),
      stage.element,
      told,
      formula,
      agreement,
      make("div", { class: "pti-controls" }, ...Object.values(sliders).map((s) => s.element)),
    ],
  });
  figure = root;
  const announce = announcer(root);

  // ---- from the settings to the numbers

  const width = (kind) => (kind === "input" ? axis().n : sizeOf(axis()));
  const count = (kind) => width(kind) ** (flat() ? 1 : 2);

  function update() {
    for (const [key, s] of Object.entries(sliders)) s.set(get(names[key]));
    sliders.p.input.max = get("kernel_size") - 1;
    sliders.p.set(get("padding")); // the browser may have kept it below the old end
    views.set(get("view"));
    sides.set(String(get("dimensions")));
    const a = axis();
    const rule = broken(a);
    all = rule ? null : compute(a, flat());
    const size = sizeOf(a);
    formula.textContent = "Output size = (n − 1)·s − 2p + d·(k − 1) + output padding + 1 = " +
      `(${a.n} − 1)·${a.s} − 2·${a.p} + ${a.d}·(${a.k} − 1) + ${a.op} + 1 = ${size}${flat() ? "" : " each way"}`;
    told.dataset.refused = Boolean(rule);
    Object.assign(root.dataset, {
      view: get("view"), legal: !rule, agree: all ? all.agree : "", outputSize: rule ? "" : flat() ? size : `${size}x${size}`,
    });
    agreement.textContent = all ? (all.agree ? "All three views computed: the same numbers." : "The views disagree.") : "";
    stage.element.querySelector(".pti-title").textContent =
      { scatter: "Scattered sums", zeros: "Zeros between, then a convolution", matrix: "The transposed matrix" }[get("view")];
    stage.element.querySelector(".pti-caption").textContent = CAPTIONS[get("view")] +
      (flat() ? "" : get("view") === "matrix"
        ? ` ${a.n ** 2} rows, ${Math.max(0, size) ** 2} columns; coloured where a weight stands, blank where 0.`
        : " The more input cells touch an output cell, the stronger its tint.") +
      (flat() ? " Keys: left and right move, up and down go to the input and the output."
        : " Keys: arrows move, Enter goes from the input to the output and back.");
    if (rule) {
      told.textContent = `Refused: ${rule}`;
      root.dataset.selected = root.dataset.value = "";
      announce(told.textContent);
      return paint();
    }
    choose(chosen.kind, Math.min(chosen.index, count(chosen.kind) - 1));
  }

  const name = (kind, index) =>
    flat() ? `${kind} ${index}` : `${kind} (${Math.floor(index / width(kind))}, ${index % width(kind)})`;

  function choose(kind, index, say = true) {
    if (!all) return;
    chosen = { kind, index };
    told.textContent = kind === "input" ? tellInput(index) : tellOutput(index);
    root.dataset.selected = `${kind} ${index}`;
    root.dataset.value = kind === "input" ? all.x.flat()[index] : all.scatter.output.flat()[index];
    if (say) announce(told.textContent);
    paint();
  }

  function tellInput(i) {
    const value = all.x.flat()[i];
    const goes = all.matrix.hit[i].reduce((list, hit, o) => (hit ? [...list, o] : list), []);
    const taps = all.w.flat().length;
    const where = !goes.length ? "all of it is cropped" : `${goes.length} of its ${taps} cells land on the output` +
      (flat() ? `, at ${goes.map((o) => `${o} (${short(value)}·${all.matrix.matrix[i][o]} = ${value * all.matrix.matrix[i][o]})`).join(", ")}` : "");
    return `${name("input", i)} = ${value}: ${where}.`.replace(/^i/, "I");
  }

  function tellOutput(o) {
    const terms = all.x.flat().flatMap((v, i) => (all.matrix.hit[i][o] ? [`${v}·${all.matrix.matrix[i][o]}`] : []));
    const sum = terms.length ? terms.join(" + ") : "nothing lands here";
    const touched = `${terms.length} input ${terms.length === 1 ? "cell touches" : "cells touch"} it`;
    return `${name("output", o)} = ${sum}${terms.length ? ` = ${all.scatter.output.flat()[o]}` : ": 0"}; ${touched}.`.replace(/^o/, "O");
  }

  // ---- where things stand: a list of cells for drawing and for pointing

  /** {height, columns, cell, cells: [{x, y, kind, index, …}]} for a canvas of this width. */
  function layout(w) {
    const a = axis();
    const whole = Math.max((a.n - 1) * a.s + span(a) + a.op, a.p + sizeOf(a), 1);
    const padded = (a.n - 1) * a.s + 1 + 2 * (a.d * (a.k - 1) - a.p) + a.op;
    if (flat()) {
      const columns = get("view") === "zeros" ? Math.max(padded, 1) : get("view") === "matrix" ? Math.max(1, sizeOf(a)) + 1.5 : whole;
      const rows = { scatter: a.n + 3, zeros: 4, matrix: a.n + 2 }[get("view")];
      const cell = Math.min(38, (w - LABELS - 6) / columns);
      return { columns, cell, height: rows * (cell + 6) + 16, least: LABELS + 6 + 21 * columns };
    }
    if (get("view") === "matrix") return { height: Math.max(130, Math.min(360, (w * a.n * a.n) / Math.max(1, sizeOf(a)) ** 2)) };
    const beside = w > 520;
    const side = beside ? (w - 24) / 2 : w - 4;
    // No cell is larger than 38 px, so a small grid takes less than its side.
    const tall = (count) => Math.min(38 * Math.max(1, count), side) + 28;
    const [left, right] = get("view") === "scatter" ? [tall(a.n), tall(whole)] : [tall(padded), tall(sizeOf(a))];
    return { beside, side, left, height: beside ? Math.max(left, right) : left + right };
  }

  let cells = []; // what can be pointed at: {x, y, size, kind, index}
  const spot = (kind, index, x, y, size) => cells.push({ x, y, size, kind, index });
  const lit = (kind, index) => chosen.kind === kind && chosen.index === index;

  function draw(context, w) {
    cells = [];
    if (!all) return;
    const shades = Object.fromEntries(["ink", "soft", "line", "accent"].map((n) => [n, ink(root, n)]));
    if (flat()) ({ scatter: drawScatter, zeros: drawZeros, matrix: drawMatrix })[get("view")](context, layout(w), shades);
    else if (get("view") === "matrix") drawPattern(context, w, layout(w), shades);
    else drawGrids(context, w, layout(w), shades);
  }

  const own = (i, alpha = 0.38) => `rgb(${rgb(colourOf(i + 1)).join(" ")} / ${alpha})`;

  function writeLabel(context, y, text, shades) {
    context.fillStyle = shades.soft;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, 4, y);
  }

  /** The row of the output and, under it, how many input cells touch each. */
  function drawOutputRow(context, y, cell, at, shades) {
    const [out] = all.scatter.output;
    const [touch] = all.matrix.coverage;
    const most = Math.max(...touch);
    writeLabel(context, y + cell / 2, "output", shades);
    writeLabel(context, y + 1.5 * cell + 8, "touched by", shades);
    out.forEach((value, o) => {
      const x = at(o);
      const joined = chosen.kind === "input" && all.matrix.hit[chosen.index][o];
      drawCell(context, x, y, cell, { fill: joined ? own(chosen.index) : "", text: short(value), ink: shades.ink, line: shades.soft });
      if (lit("output", o)) drawCell(context, x, y, cell, { line: shades.accent, thick: 3 });
      drawCell(context, x, y + cell + 8, cell, { fill: tint(touch[o], most), text: String(touch[o]), ink: shades.ink, line: shades.line });
      spot("output", o, x, y, cell);
    });
  }

  function drawScatter(context, { cell }, shades) {
    const a = axis();
    const at = (place) => LABELS + place * cell;
    const pitch = cell + 6;
    writeLabel(context, 4 + cell / 2, "input", shades);
    const size = all.scatter.output[0].length;
    all.x[0].forEach((value, i) => {
      const x = at(i * a.s + (span(a) - 1) / 2);
      drawCell(context, x, 4, cell, { fill: own(i), text: short(value), ink: shades.ink, line: shades.soft });
      if (lit("input", i)) drawCell(context, x, 4, cell, { line: shades.accent, thick: 3 });
      spot("input", i, x, 4, cell);
      const y = 4 + (i + 1) * pitch;
      writeLabel(context, y + cell / 2, `${value} · kernel`, shades);
      all.w[0].forEach((weight, j) => {
        const place = i * a.s + j * a.d;
        const kept = place >= a.p && place < a.p + size;
        const on = lit("input", i) || lit("output", place - a.p);
        drawCell(context, at(place), y, cell, {
          fill: own(i, kept ? (on ? 0.6 : 0.25) : 0.08), text: short(value * weight), ink: kept ? shades.ink : shades.soft,
          line: on ? shades.accent : shades.line, thick: on ? 2 : 1, dash: kept ? [] : [3, 3],
        });
        spot("input", i, at(place), y, cell);
      });
    });
    const y = 10 + (a.n + 1) * pitch;
    all.scatter.whole[0].forEach((value, place) => {
      if (place >= a.p && place < a.p + size) return;
      drawCell(context, at(place), y, cell, { text: short(value), ink: shades.soft, line: shades.line, dash: [3, 3] });
    });
    drawOutputRow(context, y, cell, (o) => at(o + a.p), shades);
  }

  function drawZeros(context, { cell }, shades) {
    const a = axis();
    const { edge, flipped, padded } = all.zeros;
    const at = (place) => LABELS + place * cell;
    const o = chosen.kind === "output" ? chosen.index : -1;
    writeLabel(context, 4 + cell / 2, "with zeros", shades);
    padded[0].forEach((value, place) => {
      const i = (place - edge) / a.s;
      const real = Number.isInteger(i) && i >= 0 && i < a.n;
      const between = place > edge && place < edge + (a.n - 1) * a.s;
      drawCell(context, at(place), 4, cell, {
        fill: real ? own(i) : "", text: short(value), ink: real ? shades.ink : shades.soft, line: real ? shades.soft : shades.line,
        dash: real || between ? [] : [3, 3],
      });
      if (real && lit("input", i)) drawCell(context, at(place), 4, cell, { line: shades.accent, thick: 3 });
      if (real) spot("input", i, at(place), 4, cell);
    });
    const y = 10 + cell;
    writeLabel(context, y + cell / 2, "flipped", shades);
    // Without a chosen output cell the kernel rests where it first meets the chosen input cell.
    const rest = Math.max(0, all.matrix.hit[chosen.kind === "input" ? chosen.index : 0].indexOf(1));
    flipped[0].forEach((weight, j) => {
      const x = at((o < 0 ? rest : o) + j * a.d);
      drawCell(context, x, y, cell, { fill: "rgb(127 127 191 / 0.3)", text: short(weight), ink: shades.ink, line: o < 0 ? shades.soft : shades.accent, thick: o < 0 ? 1 : 2 });
      if (o >= 0) drawCell(context, x, 4, cell, { line: shades.accent, thick: 2 });
    });
    drawOutputRow(context, y + cell + 12, cell, (k) => at(k + (span(a) - 1) / 2), shades);
  }

  function drawMatrix(context, { cell }, shades) {
    const pitch = cell + 2;
    const at = (o) => LABELS + (o + 1.5) * cell;
    const { matrix, hit } = all.matrix;
    all.x[0].forEach((value, i) => {
      const y = 4 + i * pitch;
      if (!i) writeLabel(context, y + cell / 2, "x and C", shades);
      drawCell(context, LABELS, y, cell, { fill: own(i), text: short(value), ink: shades.ink, line: shades.soft });
      if (lit("input", i)) drawCell(context, LABELS, y, cell, { line: shades.accent, thick: 3 });
      spot("input", i, LABELS, y, cell);
      matrix[i].forEach((weight, o) => {
        const on = lit("input", i) || lit("output", o);
        drawCell(context, at(o), y, cell, {
          fill: hit[i][o] ? own(i, on ? 0.6 : 0.25) : "", text: short(weight), ink: hit[i][o] ? shades.ink : shades.soft,
          line: on ? shades.accent : shades.line, thick: on ? 2 : 1,
        });
        spot(chosen.kind, chosen.kind === "input" ? i : o, at(o), y, cell);
      });
    });
    drawOutputRow(context, 14 + all.x[0].length * pitch, cell, at, shades);
  }

  function drawGrids(context, w, { side, beside, left: under }, shades) {
    const a = axis();
    const scatter = get("view") === "scatter";
    const size = sizeOf(a);
    const title = (text, x, y) => {
      context.fillStyle = shades.soft;
      context.font = "12px system-ui, sans-serif";
      context.textAlign = "left";
      context.textBaseline = "alphabetic";
      context.fillText(text, x, y);
    };
    const left = scatter ? all.x : all.zeros.padded;
    const { edge } = all.zeros;
    title(scatter ? "input" : "input with zeros between and around", 2, 14);
    const small = Math.min(38, (side - 2) / left.length);
    const o = chosen.kind === "output" ? [Math.floor(chosen.index / size), chosen.index % size] : null;
    const inWindow = (r, c) => o && !scatter && [[r, o[0]], [c, o[1]]].every(([v, from]) => v >= from && v < from + span(a) && (v - from) % a.d === 0);
    each(left.length, left.length, (r, c) => {
      const [i, j] = scatter ? [r, c] : [(r - edge) / a.s, (c - edge) / a.s];
      const real = [i, j].every((v) => Number.isInteger(v) && v >= 0 && v < a.n);
      const index = i * a.n + j;
      const [x, y] = [2 + c * small, 22 + r * small];
      const on = (real && lit("input", index)) || inWindow(r, c) || (real && scatter && o && all.matrix.hit[index][chosen.index]);
      drawCell(context, x, y, small, { fill: real ? own(index) : "", text: real || small > 12 ? short(left[r][c]) : "", ink: real ? shades.ink : shades.soft, line: shades.line });
      if (on) drawCell(context, x, y, small, { line: shades.accent, thick: Math.max(1.5, small / 12) });
      if (real) spot("input", index, x, y, small);
    });
    const [x0, y0] = beside ? [side + 22, 0] : [2, under];
    const { whole } = all.scatter;
    title(scatter ? "output; dashed: cropped" : "output", x0, y0 + 14);
    const [rows, shift] = scatter ? [Math.max(whole.length, a.p + size), a.p] : [size, 0];
    const cell = Math.min(38, (side - 2) / rows);
    const most = Math.max(...all.matrix.coverage.flat());
    each(rows, rows, (r, c) => {
      const [x, y] = [x0 + c * cell, y0 + 22 + r * cell];
      const [p, q] = [r - shift, c - shift];
      const kept = p >= 0 && q >= 0 && p < size && q < size;
      const index = p * size + q;
      const hit = kept && chosen.kind === "input" && all.matrix.hit[chosen.index][index];
      const value = kept ? all.scatter.output[p][q] : (whole[r]?.[c] ?? 0);
      drawCell(context, x, y, cell, {
        fill: hit ? own(chosen.index, 0.75) : kept ? tint(all.matrix.coverage[p][q], most) : "",
        text: short(value), ink: kept ? shades.ink : shades.soft, line: shades.line, dash: kept ? [] : [3, 3],
      });
      if (kept && (lit("output", index) || hit)) drawCell(context, x, y, cell, { line: shades.accent, thick: lit("output", index) ? 3 : 1.5 });
      if (kept) spot("output", index, x, y, cell);
    });
  }

  /** Too many numbers to read: one dot for each weight. */
  function drawPattern(context, w, { height }, shades) {
    const { matrix, hit } = all.matrix;
    const [rows, columns] = [matrix.length, matrix[0].length];
    const [cw, ch] = [(w - 4) / columns, (height - 4) / rows];
    matrix.forEach((line, i) => line.forEach((weight, o) => {
      if (!hit[i][o]) return;
      context.fillStyle = lit("input", i) || lit("output", o) ? shades.accent : own(i, 0.85);
      context.fillRect(2 + o * cw, 2 + i * ch, Math.max(1, cw), Math.max(1, ch));
    }));
    context.strokeStyle = shades.accent;
    context.lineWidth = 1.5;
    if (chosen.kind === "input") context.strokeRect(2, 2 + chosen.index * ch, w - 4, ch);
    else context.strokeRect(2 + chosen.index * cw, 2, Math.max(2, cw), height - 4);
  }

  // ---- pointing

  onPoint(stage.canvas, (u, v) => {
    if (u === null || !all) return;
    const [x, y] = [u * stage.canvas.clientWidth, v * stage.canvas.clientHeight];
    const found = cells.find((c) => x >= c.x && x < c.x + c.size && y >= c.y && y < c.y + c.size);
    if (!found) return;
    play.stop();
    choose(found.kind, found.index);
  });
  onArrow(stage.canvas, (dx, dy) => {
    if (dx === null || !all) return;
    play.stop();
    const { kind, index } = chosen;
    const side = width(kind);
    if (flat()) {
      if (!dy) choose(kind, Math.min(side - 1, Math.max(0, index + dx)));
      else {
        const other = dy > 0 ? "output" : "input";
        if (other === kind) return;
        // From an input cell to the first output it touches, and back.
        const hits = kind === "input" ? all.matrix.hit[index] : all.matrix.hit.map((row) => row[index]);
        choose(other, Math.max(0, hits.indexOf(1)));
      }
    } else {
      const clamp = (value) => Math.min(side - 1, Math.max(0, value));
      choose(kind, clamp(Math.floor(index / side) + dy) * side + clamp((index % side) + dx));
    }
    keepInView();
  });
  stage.canvas.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !all) return;
    const kind = chosen.kind === "input" ? "output" : "input";
    choose(kind, 0);
  });

  function keepInView() {
    const found = cells.find((c) => c.kind === chosen.kind && c.index === chosen.index);
    if (!found) return;
    const [from, to] = [scroll.scrollLeft, scroll.scrollLeft + scroll.clientWidth];
    if (found.x < from + 10 || found.x + found.size > to - 10) scroll.scrollLeft = found.x - scroll.clientWidth / 2;
  }

  const paint = onNextFrame(() => {
    stage.canvas.style.minWidth = `${layout(700).least ?? 0}px`;
    stage.paint();
  });
  const updateSoon = onNextFrame(update);
  const silence = listen(model, Object.fromEntries([...Object.values(names), "view", "dimensions"].map((n) => [n, updateSoon])));

  el.append(root);
  update();
  play.stop();
  root.dataset.ready = "true";
  return () => [play.stop, silence, stop, stage.stop].forEach((end) => end());
}

export { broken, compute, sizeOf };
export default { render };
