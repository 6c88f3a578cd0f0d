/* One stored prediction for every choice of skip levels. */

function render({ model, el }) {
  const picture = decodeWhole(model.get("picture"));
  const { height, width } = picture;
  const scores = model.get("scores");
  const levels = model.get("level_names");
  const { reference: truth, maps } = decodeMaps(model.get("maps"), height * width, scores.length);
  const truthBorders = classBorders(picture, truth);
  const get = (name) => model.get(name);
  let painted = null;
  let borders = null;

  function change(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  // ---- what the reader sees and moves

  const prediction = panel({
    title: "Prediction",
    caption: "Black and white: wrong pixels.",
    label: "Prediction with its wrong pixels.",
    ratio: height / width,
    draw: (context, w, h) => painted && drawPicture(context, w, h, painted, borders),
    interactive: false,
  });
  const right = paintClasses(picture, truth, 0.7);
  const target = panel({
    title: "Truth",
    label: "The true classes.",
    ratio: height / width,
    draw: (context, w, h) => drawPicture(context, w, h, right, truthBorders),
    interactive: false,
  });
  const flip = (k) => (on) => change("state", get("state").slice(0, k) + (on ? "1" : "0") + get("state").slice(k + 1));
  const switches = levels.map((name, k) =>
    toggle({ label: name, name, value: get("state")[k] === "1", onChange: flip(k) }));
  const errors = toggle({ label: "mark wrong pixels", name: "mark wrong pixels", value: get("errors"), onChange: (v) => change("errors", v) });
  const mean = number("mean IoU");
  const wrong = number("wrong pixels");
  const all = number("mean IoU with all skips");
  const none = number("mean IoU with none");
  const bars = classBars(get("class_names"), "IoU of each class");
  const { root, stop } = figureRoot({
    model,
    name: "skip",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, prediction.element, target.element),
      make("fieldset", { class: "pti-controls pti-switches" }, make("legend", {}, "Skip connections"), ...switches.map((s) => s.element), errors.element),
      make("div", { class: "pti-readout" }, ...[mean, wrong, all, none].map((n) => n.element)),
      bars.element,
    ],
  });
  const announce = announcer(root);
  all.value.textContent = scores.at(-1).mean.toFixed(3);
  none.value.textContent = scores[0].mean.toFixed(3);

  function update() {
    const state = get("state");
    const k = parseInt(state, 2);
    switches.forEach((s, i) => s.set(state[i] === "1"));
    errors.set(get("errors"));
    painted = paintClasses(picture, maps[k], 0.7);
    borders = get("errors") ? new Path2D() : classBorders(picture, maps[k]);
    if (get("errors")) markErrors(maps[k]);
    mean.value.textContent = scores[k].mean.toFixed(3);
    wrong.value.textContent = scores[k].wrong;
    bars.set(scores[k].iou);
    prediction.element.querySelector(".pti-caption").hidden = !get("errors");
    Object.assign(root.dataset, { state, score: scores[k].mean.toFixed(4), wrong: scores[k].wrong, errors: get("errors") });
    announce(`Skips on: ${levels.filter((_, i) => state[i] === "1").join(", ") || "none"}. Mean IoU ${scores[k].mean.toFixed(3)}, ${scores[k].wrong} wrong pixels.`);
    paint();
  }

  /** Wrong pixels black and white by turns, so that they show on every class. */
  function markErrors(labels) {
    const context = painted.getContext("2d");
    labels.forEach((label, i) => {
      if (truth[i] === 255 || label === truth[i]) return;
      const [x, y] = [i % width, Math.floor(i / width)];
      context.fillStyle = (x + y) % 2 ? "#fff" : "#000";
      context.fillRect(x, y, 1, 1);
    });
  }

  const paint = onNextFrame(() => [prediction, target].forEach((p) => p.paint()));
  const silence = listen(model, { state: update, errors: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, stop, prediction.stop, target.stop].forEach((end) => end());
}

export default { render };
