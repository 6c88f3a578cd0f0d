/* Label maps; for the figures that name "labels" among their helpers. */

/** Undo labels.runs: pairs of a value and its length, the length in groups of seven bits. */
function decodeRuns(buffer, size) {
  const codes = bytes(buffer);
  const values = new Uint8Array(size);
  for (let at = 0, i = 0; at < codes.length; ) {
    const value = codes[at++];
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const code = codes[at++];
      length += (code & 127) * 2 ** shift;
      if (code < 128) break;
    }
    values.fill(value, i, i + length);
    i += length;
  }
  return values;
}

/** Undo labels.pack: the reference, then maps stored as their difference from it. */
function decodeMaps(stored, size, count) {
  const values = decodeRuns(stored, size * (count + 1));
  const reference = values.subarray(0, size);
  const maps = Array.from({ length: count }, (_, k) => values.subarray((k + 1) * size, (k + 2) * size).map((v, i) => v ^ reference[i]));
  return { reference, maps };
}

/** A picture all of whose pixels have a label. */
function decodeWhole(stored) {
  const picture = decodePicture(stored);
  return { ...picture, pointAt: Int32Array.from(picture.pointAt.keys()) };
}

/** The picture with its classes in colour; class 0, the background, and 255 show the picture. */
function paintClasses({ height, width, image }, labels, strength) {
  const canvas = make("canvas", { width, height });
  const data = new ImageData(width, height);
  const colours = Array.from({ length: 256 }, (_, k) => rgb(colourOf(k)));
  labels.forEach((label, i) => {
    const part = label === 0 || label === 255 ? 0 : strength;
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = (1 - part) * image[3 * i + c] + part * colours[label][c];
    data.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

/** Borders of all classes, the background's too. */
function classBorders(picture, labels) {
  return outlines(picture, Uint16Array.from(labels, (v) => v + 1));
}

/** The classes with their colours, each with a bar and a number in [0, 1]; null: not there. */
function classBars(names, title) {
  const rows = names.map((name, k) => {
    const chip = make("i", { class: "pti-chip" });
    chip.style.background = k ? colourOf(k) : "transparent";
    const bar = make("i");
    const value = make("b", {}, "–");
    const row = make("div", { class: "pti-class" }, chip, make("span", {}, name), make("div", { class: "pti-bar" }, bar), value);
    return { row, bar, value };
  });
  const set = (values) => values.forEach((v, k) => {
    rows[k].bar.style.width = `${100 * (v ?? 0)}%`;
    rows[k].value.textContent = v === null ? "absent" : v.toFixed(3);
  });
  return { element: make("div", { class: "pti-classes" }, make("div", { class: "pti-title" }, title), ...rows.map((r) => r.row)), set };
}
