/* Helpers of every figure. The Python base class puts this text before the figure's own module,
 * in one ES module, so a figure simply calls what is declared here.
 */

// Okabe and Ito's colours without the black, the yellow darkened to show on white; as in still.py.
const PALETTE = ["#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#b3a81e", "#7f7fbf"];

/** Colour of the k-th cluster or instance, counted from 1; 0 is gray. */
function colourOf(k) {
  return k > 0 ? PALETTE[(k - 1) % PALETTE.length] : "#969696";
}

function rgb(hex) {
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}

// ---- stored data

/** The bytes of a stored buffer, which front ends hand over as a DataView or an ArrayBuffer. */
function bytes(buffer) {
  if (!buffer) return new Uint8Array(0);
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

/** Undo encode.quantise: rows of low.length numbers. */
function dequantise(buffer, low, high) {
  const codes = bytes(buffer);
  const columns = low.length;
  const values = new Float64Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    const c = i % columns;
    values[i] = low[c] + (codes[i] / 255) * (high[c] - low[c]);
  }
  return values;
}

/** Undo encode.picture_state. `pointAt[pixel]` is the pixel's point, or -1; `pixelOf` inverts it. */
function decodePicture(stored) {
  const { height, width } = stored;
  const codes = bytes(stored.pixels);
  const palette = bytes(stored.palette);
  const bits = bytes(stored.foreground);
  const image = new Uint8Array(height * width * 3);
  const pointAt = new Int32Array(height * width).fill(-1);
  const pixelOf = [];
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image[3 * i + c] = palette.length ? palette[3 * codes[i] + c] : codes[i];
    if ((bits[i >> 3] >> (7 - (i & 7))) & 1) {
      pointAt[i] = pixelOf.length;
      pixelOf.push(i);
    }
  }
  return { height, width, image, pointAt, pixelOf, instances: bytes(stored.instances) };
}

// ---- elements

/** make("p", {class: "a"}, "text", child): an element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** δv and δd as the book sets them. */
function delta(letter) {
  return make("span", { class: "pti-symbol" }, "δ", make("sub", {}, letter));
}

/** A labelled range input; `set` moves it without calling `onInput`. */
function slider({ label, name, min, max, step, value, text = String, onInput }) {
  const input = make("input", { type: "range", min, max, step, name, "aria-label": name });
  const shown = make("span", { class: "pti-value" });
  const set = (v) => {
    input.value = v;
    input.setAttribute("aria-valuetext", text(v));
    shown.textContent = text(v);
  };
  input.addEventListener("input", () => {
    const v = Number(input.value);
    set(v);
    onInput(v);
  });
  set(value);
  return { element: make("label", { class: "pti-slider" }, make("span", {}, label), input, shown), input, set };
}

/** A row of radio buttons that looks like one switch; options are [value, content] pairs. */
function choice({ label, name, options, value, onChange }) {
  const group = `${name}-${Math.random().toString(36).slice(2)}`; // one group for each copy of a figure
  const inputs = options.map(([v]) => make("input", { type: "radio", name: group, value: v }));
  const set = (v) => inputs.forEach((input) => (input.checked = input.value === v));
  const labels = options.map(([, content], k) => make("label", {}, inputs[k], make("span", {}, content)));
  inputs.forEach((input) => input.addEventListener("change", () => onChange(input.value)));
  set(value);
  const row = make("div", { class: "pti-segments" }, ...labels);
  return { element: make("fieldset", { class: "pti-choice" }, make("legend", {}, label), row), set };
}

/** A tick box that looks like a switch; `set` moves it without calling `onChange`. */
function toggle({ label, name, value, onChange }) {
  const input = make("input", { type: "checkbox", name, "aria-label": name });
  const set = (v) => (input.checked = v);
  input.addEventListener("change", () => onChange(input.checked));
  set(value);
  return { element: make("label", { class: "pti-toggle" }, input, make("span", {}, label)), input, set };
}

/** A number with a line of text under it. */
function number(label) {
  const value = make("b", {}, "–");
  const text = make("span", {}, label);
  return { element: make("div", { class: "pti-number" }, value, text), value, text };
}

/** A button that calls `step` again and again until it returns false; `start` comes first. */
function player({ root, start, step, pause = 700 }) {
  const button = make("button", { type: "button", class: "pti-button" });
  let timer = 0;
  const show = () => {
    button.textContent = timer ? "❚❚ Pause" : "▶ Play";
    if (root()) root().dataset.playing = Boolean(timer);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    show();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    timer = setInterval(() => step() || stop(), pause);
    show();
    start();
  });
  show();
  return { element: button, stop };
}

/** Tells screen readers what changed, at most every half second and only the latest. */
function announcer(root) {
  const region = make("div", { class: "pti-hidden", role: "status", "aria-live": "polite" });
  let timer = 0;
  root.append(region);
  return (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => (region.textContent = text), 500);
  };
}

// ---- drawing

/** Runs `task` once before the next repaint, however often it is asked for. */
function onNextFrame(task) {
  let asked = 0;
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      task();
    });
  };
}

/** A titled canvas as sharp as the screen; `draw(context, width, height)` works in CSS pixels.
 * `ratio` is height by width, or a function of the width.
 */
function panel({ title, caption = "", label, ratio, draw, interactive = true }) {
  const role = interactive ? { role: "application", tabindex: "0" } : { role: "img" };
  const canvas = make("canvas", { "aria-label": label, ...role });
  const shape = typeof ratio === "function" ? ratio : () => ratio;
  canvas.style.aspectRatio = `1 / ${shape(320)}`;
  const parts = [make("div", { class: "pti-title" }, title), canvas];
  if (caption) parts.push(make("div", { class: "pti-caption" }, caption));
  const paint = () => {
    const width = canvas.clientWidth;
    if (!width) return; // hidden: the observer calls again
    const height = width * shape(width);
    canvas.style.aspectRatio = `${width} / ${height}`;
    const sharp = window.devicePixelRatio || 1;
    const size = [Math.round(width * sharp), Math.round(height * sharp)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const context = canvas.getContext("2d");
    context.setTransform(sharp, 0, 0, sharp, 0, 0);
    context.clearRect(0, 0, width, height);
    draw(context, width, height);
  };
  const observer = new ResizeObserver(paint);
  observer.observe(canvas);
  return { element: make("div", { class: "pti-panel" }, ...parts), canvas, paint, stop: () => observer.disconnect() };
}

/** Calls back with the pointer's place in the canvas, in [0, 1] each way, and null when it leaves. */
function onPoint(canvas, callback) {
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    callback((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  canvas.addEventListener("pointerdown", at);
  canvas.addEventListener("pointermove", at);
  // A finger that lifts also "leaves": keep what it touched in view.
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && callback(null));
}

/** Calls back with the direction of an arrow key (shift: five steps) and null for Escape. */
function onArrow(canvas, callback) {
  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return callback(null);
    const direction = directions[event.key];
    if (!direction) return;
    event.preventDefault();
    const stride = event.shiftKey ? 5 : 1;
    callback(direction[0] * stride, direction[1] * stride);
  });
}

/** The picture with colours laid over its points: a small canvas to be scaled up. */
function paintPicture({ height, width, image, pointAt }, colours, strength = 0.7) {
  const canvas = make("canvas", { width, height });
  const data = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    const point = pointAt[i];
    for (let c = 0; c < 3; c++) {
      const base = image[3 * i + c];
      data.data[4 * i + c] = point < 0 ? base : (1 - strength) * base + strength * colours[point][c];
    }
    data.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

/** The borders between pixels of different labels, in pixel units; crumbs (label 0) get none. */
function outlines({ height, width, pointAt }, labels) {
  const path = new Path2D();
  const label = (i) => (pointAt[i] < 0 ? -1 : labels[pointAt[i]]);
  const differ = (a, b) => a !== b && a !== 0 && b !== 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      if (x + 1 < width && differ(label(i), label(i + 1))) {
        path.moveTo(x + 1, y);
        path.lineTo(x + 1, y + 1);
      }
      if (y + 1 < height && differ(label(i), label(i + width))) {
        path.moveTo(x, y + 1);
        path.lineTo(x + 1, y + 1);
      }
    }
  }
  return path;
}

/** Draws a painted picture over the whole panel, its outlines white on black to show anywhere. */
function drawPicture(context, width, height, painted, borders) {
  const scale = width / painted.width;
  context.save();
  context.imageSmoothingEnabled = false;
  context.drawImage(painted, 0, 0, width, height);
  context.scale(scale, scale);
  context.lineCap = "square";
  for (const [colour, line] of [["rgb(0 0 0 / 0.75)", 2.4], ["rgb(255 255 255 / 0.9)", 0.9]]) {
    context.strokeStyle = colour;
    context.lineWidth = line / scale;
    context.stroke(borders);
  }
  context.restore();
}

/** A ring that shows on any ground. */
function drawRing(context, x, y, radius) {
  for (const [colour, line] of [["#000", 4.5], ["#fff", 2]]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.stroke();
  }
}

/** A square view of the plane around a box: screen place of a point, and back; upwards = positive. */
function planeView(low, high, margin) {
  const span = Math.max(high[0] - low[0], high[1] - low[1]) + 2 * margin || 1;
  const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
  return {
    scale: (size) => size / span,
    x: (value, size) => size / 2 + ((value - middle[0]) * size) / span,
    y: (value, size) => size / 2 - ((value - middle[1]) * size) / span,
  };
}

/** A short line of a round length in the corner, to read distances by. */
function drawScaleBar(context, size, scale, ink) {
  const length = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find((l) => l * scale > size / 12) ?? 100;
  const [x, y] = [12, size - 12];
  context.strokeStyle = context.fillStyle = ink;
  context.lineWidth = 1.5;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + length * scale, y);
  context.stroke();
  context.font = "12px system-ui, sans-serif";
  context.fillText(String(length), x, y - 6);
}

/** The value of one of figure.css's colours, as the theme of the moment has it. */
function ink(root, name) {
  return getComputedStyle(root).getPropertyValue(`--pti-${name}`).trim();
}

// ---- page

/** Whether the page is dark: this book, JupyterLab, Colab, VS Code, else the system's wish. */
function pageIsDark() {
  const { documentElement: html, body } = document;
  const theme = html.dataset.theme ?? html.getAttribute("theme");
  if (theme === "dark" || theme === "light") return theme === "dark";
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  if (body.classList.contains("vscode-dark")) return true;
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** The root of a figure, in the page's theme; `redraw` is called when the theme changes. */
function figureRoot({ model, name, redraw, children }) {
  const root = make("div", { class: `pti-figure pti-${name}`, role: "group", "aria-label": model.get("alt") });
  // JupyterLab must not take the arrow keys for its own cells.
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => event.stopPropagation());
  root.append(...children);
  const follow = () => {
    root.dataset.theme = pageIsDark() ? "dark" : "light";
    redraw();
  };
  const observer = new MutationObserver(follow);
  const attributeFilter = ["data-theme", "theme", "data-jp-theme-light", "class"];
  for (const element of [document.documentElement, document.body]) observer.observe(element, { attributeFilter });
  const wish = matchMedia("(prefers-color-scheme: dark)");
  wish.addEventListener("change", follow);
  root.dataset.theme = pageIsDark() ? "dark" : "light";
  const stop = () => {
    observer.disconnect();
    wish.removeEventListener("change", follow);
  };
  return { root, stop };
}

/** Listens to a model until the returned function is called. */
function listen(model, handlers) {
  for (const [name, handler] of Object.entries(handlers)) model.on(`change:${name}`, handler);
  return () => {
    for (const [name, handler] of Object.entries(handlers)) model.off(`change:${name}`, handler);
  };
}
