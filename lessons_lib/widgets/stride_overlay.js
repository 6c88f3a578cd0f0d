/* Predictions of different strides over one picture, behind a line that is dragged. */

function render({ model, el }) {
  const picture = decodeWhole(model.get("picture"));
  const { height, width } = picture;
  const names = model.get("names");
  const scores = model.get("scores");
  const strides = model.get("strides");
  const { reference: truth, maps } = decodeMaps(model.get("maps"), height * width, names.length);
  const borders = classBorders(picture, truth);
  const plain = paintClasses(picture, truth, 0);
  const get = (name) => model.get(name);
  const index = () => Math.max(0, names.indexOf(get("shown")));
  let painted = null;

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const stage = panel({
    title: "Prediction | picture with the truth",
    caption: "Drag the line, or focus and use the left and right arrow keys; up and down change the prediction.",
    label: "Place of the line between prediction and picture",
    ratio: height / width,
    draw,
  });
  stage.canvas.setAttribute("role", "slider");
  stage.canvas.setAttribute("aria-valuemin", 0);
  stage.canvas.setAttribute("aria-valuemax", 100);
  const shown = choice({
    label: "Prediction",
    name: "prediction",
    options: names.map((name) => [name, name]),
    value: get("shown"),
    onChange: (name) => change("shown", name),
  });
  const opacity = slider({
    label: "Opacity", name: "opacity", min: 0, max: 1, step: 0.05, value: get("opacity"),
    text: (v) => `${Math.round(100 * v)} %`, onInput: (v) => change("opacity", v),
  });
  const cells = toggle({ label: "cells of its stride", name: "cells of its stride", value: get("grid"), onChange: (v) => change("grid", v) });
  const means = names.map((name) => number(`mean IoU, ${name}`));
  means.forEach((tile, k) => (tile.value.textContent = scores[k].mean.toFixed(3)));
  const bars = classBars(get("class_names"), "IoU");
  const { root, stop } = figureRoot({
    model,
    name: "stride",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-beside" }, stage.element, bars.element),
      make("div", { class: "pti-readout" }, ...means.map((m) => m.element)),
      make("div", { class: "pti-controls" }, shown.element, opacity.element, cells.element),
    ],
  });
  const announce = announcer(root);

  function update() {
    const k = index();
    painted = paintClasses(picture, maps[k], get("opacity"));
    shown.set(names[k]);
    opacity.set(get("opacity"));
    cells.set(get("grid"));
    cells.input.disabled = !strides[k];
    bars.element.querySelector(".pti-title").textContent = `IoU of each class, ${names[k]}`;
    bars.set(scores[k].iou);
    means.forEach((tile, i) => (tile.element.dataset.shown = i === k));
    stage.canvas.setAttribute("aria-valuenow", Math.round(100 * get("divider")));
    stage.canvas.setAttribute("aria-valuetext", `${Math.round(100 * get("divider"))} % prediction ${names[k]}`);
    Object.assign(root.dataset, {
      shown: names[k], divider: get("divider").toFixed(3), score: scores[k].mean.toFixed(4), stride: strides[k] ?? "", grid: get("grid"),
    });
    paint();
  }

  function draw(context, w, h) {
    if (!painted) return;
    const at = get("divider") * w;
    drawPicture(context, w, h, plain, borders);
    context.save();
    context.beginPath();
    context.rect(0, 0, at, h);
    context.clip();
    context.imageSmoothingEnabled = false;
    context.drawImage(painted, 0, 0, w, h);
    context.restore();
    const stride = strides[index()];
    if (get("grid") && stride) {
      for (const [colour, line] of [["rgb(0 0 0 / 0.5)", 2], ["rgb(255 255 255 / 0.85)", 1]]) {
        context.strokeStyle = colour;
        context.lineWidth = line;
        context.beginPath();
        for (let x = stride; x < width; x += stride) context.moveTo((x * w) / width, 0), context.lineTo((x * w) / width, h);
        for (let y = stride; y < height; y += stride) context.moveTo(0, (y * h) / height), context.lineTo(w, (y * h) / height);
        context.stroke();
      }
    }
    for (const [colour, line] of [["#000", 5], ["#fff", 2.5]]) {
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = line;
      context.beginPath();
      context.moveTo(at, 0);
      context.lineTo(at, h);
      context.stroke();
      context.beginPath();
      context.arc(at, h / 2, colour === "#000" ? 12 : 10.5, 0, 2 * Math.PI);
      context.fill();
    }
    context.fillStyle = "#000";
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText("◂▸", at, h / 2 + 0.5);
  }

  // ---- dragging

  const { canvas } = stage;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    change("divider", Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    place(event);
  });
  canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && place(event));
  onArrow(canvas, (dx, dy) => {
    if (dx === null) return;
    if (dx) return change("divider", Math.min(1, Math.max(0, Math.round(100 * get("divider") + 2 * dx) / 100)));
    const k = Math.min(names.length - 1, Math.max(0, index() + Math.sign(dy)));
    change("shown", names[k]);
    announce(`${names[k]}, mean IoU ${scores[k].mean.toFixed(3)}`);
  });

  const paint = onNextFrame(() => stage.paint());
  const silence = listen(model, { shown: update, divider: update, opacity: update, grid: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, stage.stop].forEach((end) => end());
}

export { decodeMaps };
export default { render };
