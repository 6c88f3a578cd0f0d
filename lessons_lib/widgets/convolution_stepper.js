/* A convolution, cell by cell: what it reads and the sum it makes of it. */

/** Cells a side of a convolution's output; less than 1 where the kernel does not fit. */
function outputSize(n, k, stride, padding, dilation) {
  return Math.floor((n + 2 * padding - dilation * (k - 1) - 1) / stride) + 1;
}

/** What one output cell reads: rows of [weight, value, row, column], places in the padded input. */
function readings(values, weights, { stride, padding, dilation }, row, column) {
  return weights.flatMap((line, a) =>
    line.map((weight, b) => {
      const [r, c] = [row * stride + a * dilation, column * stride + b * dilation];
      return [weight, values[r - padding]?.[c - padding] ?? 0, r, c];
    }),
  );
}

/** The whole output, rows of numbers; empty where the kernel does not fit. */
function convolve(values, { weights, divisor }, options) {
  const { stride, padding, dilation } = options;
  const size = (n, k) => Math.max(0, n + 2 * padding < dilation * (k - 1) + 1 ? 0 : outputSize(n, k, stride, padding, dilation));
  const [rows, columns] = [size(values.length, weights.length), size(values[0].length, weights[0].length)];
  if (!rows || !columns) return [];
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: columns }, (_, c) =>
      readings(values, weights, options, r, c).reduce((sum, [w, v]) => sum + w * v, 0) / divisor,
    ),
  );
}

/** The sum as a reader would write it. */
function writtenSum(terms, divisor, value) {
  const counted = terms.filter(([weight]) => weight !== 0);
  const text = counted
    .map(([w, v], i) => `${i ? (w < 0 ? " − " : " + ") : w < 0 ? "−" : ""}${short(Math.abs(w))}·${v < 0 ? `(${short(v)})` : short(v)}`)
    .join("");
  const sum = text || "0";
  const exact = Math.abs(value * 100 - Math.round(value * 100)) < 1e-9;
  const left = terms.length - counted.length;
  const rest = left ? ` (${left} more with weight 0)` : "";
  return `${divisor > 1 ? `(${sum}) / ${divisor}` : sum} ${exact ? "=" : "≈"} ${short(exact ? Math.round(value * 100) / 100 : value)}${rest}`;
}

function render({ model, el }) {
  const values = model.get("values");
  const kernels = model.get("kernels");
  const get = (name) => model.get(name);
  const options = () => ({ stride: get("stride"), padding: get("padding"), dilation: get("dilation") });
  const kernel = () => kernels[get("kernel")];
  let selected = [0, 0];
  let output = [];
  let figure = null;

  function change(name, value) {
    play.stop();
    model.set(name, value);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const input = panel({
    title: "Input with its padding",
    caption: "Outlined: what the chosen output cell reads.",
    label: "Input. Point at a cell to choose the output cell that reads around it.",
    ratio: 1,
    draw: drawInput,
  });
  const weights = panel({
    title: "Kernel",
    label: "The kernel's weights.",
    ratio: 1,
    draw: drawKernel,
    interactive: false,
    caption: " ",
  });
  const result = panel({
    title: "Output",
    caption: "Point, or focus and use the arrow keys.",
    label: "Output. Arrow keys move from cell to cell.",
    ratio: 1,
    draw: drawOutput,
  });
  const setting = (name, min, max) => slider({
    label: name, name, min, max, step: 1, value: get(name), onInput: (v) => change(name, v),
  });
  const sliders = { stride: setting("stride", 1, 4), padding: setting("padding", 0, 4), dilation: setting("dilation", 1, 3) };
  const own = "own" in kernels;
  let size = own && get("kernel") === "own" ? "3" : get("kernel").split(" ")[1];
  const kinds = choice({
    label: "Kernel",
    name: "kernel",
    options: [...(own ? [["own", "own"]] : []), ...["edge", "blur", "identity", "sharpen"].map((kind) => [kind, kind])],
    value: get("kernel").split(" ")[0],
    onChange: (kind) => change("kernel", kind === "own" ? kind : `${kind} ${size}`),
  });
  const sizes = choice({
    label: "Size",
    name: "size",
    options: ["1", "2", "3", "5"].map((k) => [k, `${k}×${k}`]),
    value: size,
    onChange: (k) => {
      size = k;
      if (get("kernel") !== "own") change("kernel", `${get("kernel").split(" ")[0]} ${k}`);
    },
  });
  const play = player({ root: () => figure, start: () => select(0, 0), step: next });
  const formula = make("p", { class: "pti-formula" });
  const sum = make("p", { class: "pti-note" });
  const { root, stop } = figureRoot({
    model,
    name: "convolution",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-steps" }, input.element, weights.element, result.element),
      sum,
      formula,
      make("div", { class: "pti-row" }, kinds.element, sizes.element),
      make("div", { class: "pti-controls" }, sliders.stride.element, sliders.padding.element, sliders.dilation.element, play.element),
    ],
  });
  figure = root;
  const announce = announcer(root);

  // ---- from the settings to the numbers

  function update() {
    output = convolve(values, kernel(), options());
    const { stride, padding, dilation } = options();
    const legal = output.length > 0;
    sizes.element.disabled = get("kernel") === "own"; // it has the size it has
    const sides = [["rows", values.length, kernel().weights.length], ["columns", values[0].length, kernel().weights[0].length]];
    const one = sides[0][1] === sides[1][1] && sides[0][2] === sides[1][2];
    const lines = (one ? sides.slice(0, 1) : sides).map(([name, n, k]) =>
      `${one ? "" : `${name}: `}⌊(${n} + 2·${padding} − ${dilation}·(${k} − 1) − 1) / ${stride}⌋ + 1 = ${outputSize(n, k, stride, padding, dilation)}`);
    formula.textContent = `Output size = ⌊(n + 2p − d·(k − 1) − 1) / s⌋ + 1${one ? " =" : ";"} ${lines.join("; ")}`;
    formula.hidden = !legal;
    sum.dataset.refused = !legal;
    const { divisor } = kernel();
    weights.element.querySelector(".pti-caption").textContent =
      divisor > 1 ? `All weights divided by ${divisor}.` : "Laid on as it is, not flipped.";
    root.dataset.legal = legal;
    root.dataset.outputSize = legal ? `${output.length}x${output[0].length}` : "";
    if (legal) return select(Math.min(selected[0], output.length - 1), Math.min(selected[1], output[0].length - 1));
    const [name, n, k] = sides.find(([, n, k]) => dilation * (k - 1) + 1 > n + 2 * padding);
    sum.textContent = `Refused: the kernel spans ${dilation}·(${k} − 1) + 1 = ${dilation * (k - 1) + 1} ${name}, ` +
      `the padded input has ${n} + 2·${padding} = ${n + 2 * padding}. The rule is d·(k − 1) + 1 ≤ n + 2p: ` +
      "take a smaller kernel or dilation, or more padding.";
    root.dataset.selected = root.dataset.value = "";
    announce(sum.textContent);
    paint();
  }

  function select(row, column, say = true) {
    if (!output.length) return;
    selected = [row, column];
    const value = output[row][column];
    const terms = readings(values, kernel().weights, options(), row, column);
    sum.textContent = `Output (row ${row}, column ${column}) = ${writtenSum(terms, kernel().divisor, value)}`;
    root.dataset.selected = `${row},${column}`;
    root.dataset.value = value;
    if (say) announce(sum.textContent);
    paint();
  }

  function next() {
    if (!output.length) return false;
    const at = selected[0] * output[0].length + selected[1] + 1;
    if (at >= output.length * output[0].length) return false;
    select(Math.floor(at / output[0].length), at % output[0].length, false);
    return true;
  }

  // ---- pointing

  /** How a grid of rows × columns lies in a square panel. */
  function place(rows, columns, width) {
    const cell = Math.min((width - 2) / Math.max(rows, columns), 46);
    return { cell, x: (width - cell * columns) / 2, y: (width - cell * rows) / 2 };
  }

  const clamp = (v, most) => Math.min(most, Math.max(0, v));
  const pick = (row, column) => {
    if (!output.length) return;
    play.stop();
    select(clamp(row, output.length - 1), clamp(column, output[0].length - 1));
  };
  onPoint(result.canvas, (u, v) => {
    if (u === null || !output.length) return;
    const scale = result.canvas.clientWidth;
    const lay = place(output.length, output[0].length, scale);
    pick(Math.floor((v * scale - lay.y) / lay.cell), Math.floor((u * scale - lay.x) / lay.cell));
  });
  onPoint(input.canvas, (u, v) => {
    if (u === null || !output.length) return;
    const { stride, padding, dilation } = options();
    const [rows, columns] = [values.length + 2 * padding, values[0].length + 2 * padding];
    const scale = input.canvas.clientWidth;
    const lay = place(rows, columns, scale);
    const middle = (k) => (dilation * (k - 1)) / 2;
    const row = Math.floor((v * scale - lay.y) / lay.cell) - middle(kernel().weights.length);
    const column = Math.floor((u * scale - lay.x) / lay.cell) - middle(kernel().weights[0].length);
    pick(Math.round(row / stride), Math.round(column / stride));
  });
  for (const { canvas } of [input, result]) {
    onArrow(canvas, (dx, dy) => dx !== null && pick(selected[0] + dy, selected[1] + dx));
  }

  // ---- drawing

  const most = Math.max(1, ...values.flat().map(Math.abs));

  function drawInput(context, width) {
    const { padding } = options();
    const [rows, columns] = [values.length + 2 * padding, values[0].length + 2 * padding];
    const { cell, x, y } = place(rows, columns, width);
    const [dark, soft, line, accent] = ["ink", "soft", "line", "accent"].map((name) => ink(root, name));
    const read = output.length ? readings(values, kernel().weights, options(), ...selected) : [];
    const lifted = new Set(cell < 26 ? [] : read.map(([, , r, c]) => r * columns + c));
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const value = values[r - padding]?.[c - padding];
        const inside = value !== undefined;
        drawCell(context, x + c * cell, y + r * cell, cell, {
          fill: inside ? tint(value, most) : "",
          text: short(value ?? 0),
          ink: inside ? dark : soft,
          line,
          dash: inside ? [] : [3, 3],
          lift: lifted.has(r * columns + c) ? 0.14 : 0,
        });
      }
    }
    for (const [weight, , r, c] of read) {
      const [left, top] = [x + c * cell, y + r * cell];
      drawCell(context, left, top, cell, { line: accent, thick: Math.max(2, cell / 12) });
      if (cell < 26) continue;
      context.fillStyle = accent;
      context.font = `${Math.min(11, cell / 3.4)}px system-ui, sans-serif`;
      context.fillText(`×${short(weight)}`, left + cell / 2, top + 0.79 * cell);
    }
  }

  function drawKernel(context, width) {
    const table = kernel().weights;
    const { cell, x, y } = place(table.length, table[0].length, width);
    const [dark, line] = [ink(root, "ink"), ink(root, "line")];
    const largest = Math.max(1e-9, ...table.flat().map(Math.abs));
    table.forEach((row, r) => row.forEach((weight, c) => drawCell(context, x + c * cell, y + r * cell, cell, {
      fill: tint(weight, largest), text: short(weight), ink: dark, line,
    })));
  }

  function drawOutput(context, width) {
    if (!output.length) return;
    const { cell, x, y } = place(output.length, output[0].length, width);
    const [dark, line, accent] = ["ink", "line", "accent"].map((name) => ink(root, name));
    const largest = Math.max(1e-9, ...output.flat().map(Math.abs));
    output.forEach((row, r) => row.forEach((value, c) => drawCell(context, x + c * cell, y + r * cell, cell, {
      fill: tint(value, largest), text: short(value), ink: dark, line,
    })));
    drawCell(context, x + selected[1] * cell, y + selected[0] * cell, cell, { line: accent, thick: Math.max(2.5, cell / 10) });
  }

  const paint = onNextFrame(() => [input, weights, result].forEach((p) => p.paint()));
  const silence = listen(model, {
    kernel: () => {
      kinds.set(get("kernel").split(" ")[0]);
      if (get("kernel") !== "own") sizes.set((size = get("kernel").split(" ")[1]));
      update();
    },
    ...Object.fromEntries(Object.entries(sliders).map(([name, s]) => [name, () => (s.set(get(name)), update())])),
  });

  el.append(root);
  update();
  play.stop();
  root.dataset.ready = "true";
  return () => [play.stop, silence, stop, input.stop, weights.stop, result.stop].forEach((end) => end());
}

export { convolve };
export default { render };
