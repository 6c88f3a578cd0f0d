/* A picture in cells, a glyph for each, and the histogram of one. */

/** The direction of bin k's middle, degrees, of the gradient. */
const middle = (k, bins) => ((k + 0.5) * 180) / bins;

/** The bin with most in it and the sum of a cell's histogram. */
function sumUp(values) {
  return { best: values.reduce((m, v, i) => (v > values[m] ? i : m), 0), total: values.reduce((a, b) => a + b, 0) };
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const picture = decodeWhole(get("picture"));
  const { height, width } = picture;
  const [rows, columns, bins] = get("shape");
  const cell = get("cell");
  const most = get("most");
  const codes = bytes(get("codes"));
  const histogram = (row, column) => Array.from(codes.subarray((row * columns + column) * bins, (row * columns + column + 1) * bins), (v) => (v / 255) * most);
  const plain = paintClasses(picture, new Uint8Array(height * width), 0);

  function look(row, column) {
    model.set({ row: Math.min(Math.max(row, 0), rows - 1), column: Math.min(Math.max(column, 0), columns - 1) });
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const about = "Arrow keys move from cell to cell.";
  const stage = panel({ title: "Picture", caption: `Move over a cell. ${about}`, label: `Picture in cells. ${about}`, ratio: height / width, draw: drawPicturePanel });
  const glyphs = panel({ title: "Edges of each cell", caption: "Lines run along the edge: square to the gradient.", label: `Glyphs of all cells. ${about}`, ratio: height / width, draw: drawGlyphs });
  const bars = panel({ title: "Histogram of the cell", label: "Bars: gradient in each of the directions.", ratio: 0.72, draw: drawBars, interactive: false });
  const strongest = number("direction of the fullest bin");
  const total = number("gradient in the cell");
  const place = number("row, column");
  const { root, stop } = figureRoot({
    model,
    name: "hog",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, stage.element, glyphs.element,
        make("div", {}, bars.element, make("div", { class: "pti-readout" }, place.element, strongest.element, total.element))),
    ],
  });
  const announce = announcer(root);

  function update() {
    const [row, column] = [get("row"), get("column")];
    const values = histogram(row, column);
    const { best, total: all } = sumUp(values);
    place.value.textContent = `${row}, ${column}`;
    strongest.value.textContent = all > 0 ? `${middle(best, bins).toFixed(0)}°` : "–";
    total.value.textContent = all.toFixed(3);
    Object.assign(root.dataset, { row, column, best, total: all.toFixed(6) });
    announce(`Row ${row}, column ${column}: fullest bin at ${middle(best, bins).toFixed(0)} degrees, ${all.toFixed(2)} in all.`);
    paint();
  }

  // ---- drawing

  function mark(context, scale) {
    const side = cell * scale;
    for (const [colour, line] of [["#000", 4], ["#f0c03c", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(get("column") * side, get("row") * side, side, side);
    }
  }

  function drawPicturePanel(context, w, h) {
    const scale = w / width;
    context.imageSmoothingEnabled = false;
    context.drawImage(plain, 0, 0, w, h);
    context.strokeStyle = "rgb(255 255 255 / 0.18)";
    context.lineWidth = 1;
    for (let k = 1; k < columns; k++) context.strokeRect(k * cell * scale, -2, 0, rows * cell * scale + 2);
    for (let k = 1; k < rows; k++) context.strokeRect(-2, k * cell * scale, columns * cell * scale + 2, 0);
    mark(context, scale);
  }

  function drawGlyphs(context, w, h) {
    const scale = w / width;
    const side = cell * scale;
    context.fillStyle = "#14181e";
    context.fillRect(0, 0, w, h);
    context.lineWidth = Math.max(1, side / 10);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const values = histogram(row, column);
        const [x, y] = [(column + 0.5) * side, (row + 0.5) * side];
        values.forEach((value, k) => {
          if (value < 0.04 * most) return;
          const angle = (middle(k, bins) / 180) * Math.PI + Math.PI / 2;
          const [dx, dy] = [0.45 * side * Math.cos(angle), 0.45 * side * Math.sin(angle)];
          context.strokeStyle = `rgb(255 255 255 / ${Math.sqrt(value / most)})`;
          context.beginPath();
          context.moveTo(x - dx, y - dy);
          context.lineTo(x + dx, y + dy);
          context.stroke();
        });
      }
    }
    mark(context, scale);
  }

  function drawBars(context, w, h) {
    const values = histogram(get("row"), get("column"));
    const [left, bottom] = [8, h - 34];
    const step = (w - 2 * left) / bins;
    const highest = Math.max(...values, most / 4);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    values.forEach((value, k) => {
      const x = left + (k + 0.5) * step;
      const size = (value / highest) * (bottom - 8);
      context.fillStyle = ink(root, "accent");
      context.fillRect(x - 0.38 * step, bottom - size, 0.76 * step, size);
      context.fillStyle = context.strokeStyle = ink(root, "soft");
      if (step > 26 || k % 2 === 0) context.fillText(`${middle(k, bins).toFixed(0)}°`, x, bottom + 13);
      const angle = (middle(k, bins) / 180) * Math.PI + Math.PI / 2;
      context.lineWidth = 2;
      context.beginPath();
      context.moveTo(x - 6 * Math.cos(angle), bottom + 24 - 6 * Math.sin(angle));
      context.lineTo(x + 6 * Math.cos(angle), bottom + 24 + 6 * Math.sin(angle));
      context.stroke();
    });
  }

  // ---- pointing

  for (const { canvas } of [stage, glyphs]) {
    onPoint(canvas, (u, v) => u !== null && look(Math.floor((v * height) / cell), Math.floor((u * width) / cell)));
    onArrow(canvas, (dx, dy) => dx !== null && look(get("row") + dy, get("column") + dx));
  }

  const paint = onNextFrame(() => [stage, glyphs, bars].forEach((p) => p.paint()));
  const soon = onNextFrame(update);
  const silence = listen(model, { row: soon, column: soon });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop, glyphs.stop, bars.stop].forEach((end) => end());
}

export { middle, sumUp };
export default { render };
