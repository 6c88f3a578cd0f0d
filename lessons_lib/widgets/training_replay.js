/* Plays the recorded steps of a training. */

const SECONDS_A_FRAME = 0.35;

/** Positions between two recorded steps: (points, 2) of (frames, points, 2), linearly. */
function between(positions, count, time) {
  const size = 2 * count;
  const frames = positions.length / size;
  const first = Math.min(Math.floor(time), frames - 1);
  const second = Math.min(first + 1, frames - 1);
  const part = time - first;
  return Float64Array.from({ length: size }, (_, i) =>
    (1 - part) * positions[first * size + i] + part * positions[second * size + i],
  );
}

/** The value of a curve between two recorded steps. */
function valueAt(values, time) {
  const first = Math.min(Math.floor(time), values.length - 1);
  const second = Math.min(first + 1, values.length - 1);
  return values[first] + (time - first) * (values[second] - values[first]);
}

function render({ model, el }) {
  const picture = decodePicture(model.get("picture"));
  const steps = model.get("steps");
  const last = steps.length - 1;
  const [low, high] = [model.get("low"), model.get("high")];
  const positions = dequantise(model.get("codes"), low, high);
  const chosen = bytes(model.get("chosen"));
  const painted = paintPicture(picture, [...picture.instances].map((k) => rgb(colourOf(k))));
  const borders = outlines(picture, picture.instances);
  const view = planeView(low, high, 0.04 * Math.max(high[0] - low[0], high[1] - low[1]));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  const clamp = (frame) => Math.min(last, Math.max(0, frame));
  let time = clamp(model.get("frame")); // between 0 and `last`, not only whole numbers
  let target = time;
  let playing = false;
  let earlier = 0; // time stamp of the previous repaint while something moves
  let moving = 0; // its request

  // ---- what the reader sees and moves

  const dims = model.get("dims");
  const image = panel({
    title: "Picture",
    caption: "Every colour is a true instance.",
    label: "Picture with its true instances in colour.",
    ratio: picture.height / picture.width,
    draw: (context, w, h) => drawPicture(context, w, h, painted, borders),
    interactive: false,
  });
  const share = Math.round(100 * model.get("kept"));
  const plane = panel({
    title: dims > 2 ? "Embedding space, projected" : "Embedding space",
    caption: dims > 2
      ? `All steps in one plane: the one that keeps most of the last step's ${dims} dimensions (${share} % of its variance).`
      : "All steps at one scale.",
    label: "Embeddings of the pixels, in the colours of their instances.",
    ratio: 1,
    draw: drawPlane,
    interactive: false,
  });
  const curves = model.get("curves").map(makeCurve);
  const scrub = slider({
    label: "Step",
    name: "training step",
    min: 0,
    max: last,
    step: 1,
    value: Math.round(time),
    text: (k) => String(steps[k]),
    onInput: (k) => {
      pause();
      moveTo(k);
    },
  });
  const button = make("button", { type: "button", class: "pti-button" });
  button.addEventListener("click", () => (playing ? pause() : play()));
  const { root, stop } = figureRoot({
    model,
    name: "replay",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, image.element, plane.element),
      make("div", { class: "pti-controls pti-player" }, button, scrub.element),
      make("div", { class: "pti-curves" }, ...curves.map((c) => c.panel.element)),
    ],
  });
  const announce = announcer(root);

  // ---- time

  function play() {
    if (time >= last) show(0);
    setPlaying(true);
    run();
  }

  function pause() {
    setPlaying(false);
    moveTo(Math.round(time));
  }

  function setPlaying(value) {
    playing = value;
    if (playing) target = last;
    button.textContent = playing ? "❚❚ Pause" : "▶ Play";
    root.dataset.playing = playing;
  }

  /** Glides to a recorded step, or jumps where the reader wants less motion. */
  function moveTo(frame) {
    target = clamp(frame);
    if (!calm.matches) return run();
    show(target);
    settle();
  }

  function run() {
    if (moving) return;
    earlier = performance.now();
    moving = requestAnimationFrame(advance);
  }

  function advance(now) {
    const seconds = Math.min(0.1, Math.max(0, (now - earlier) / 1000));
    moving = 0;
    if (playing && calm.matches) {
      // One recorded step after the other, nothing in between.
      if (now - earlier >= 2000 * SECONDS_A_FRAME) {
        earlier = now;
        show(Math.min(last, Math.floor(time) + 1));
      }
    } else {
      earlier = now;
      // Playing is steady; scrubbing covers any distance in about a fifth of a second.
      const speed = playing ? 1 / SECONDS_A_FRAME : Math.max(5, 12 * Math.abs(target - time));
      const way = target - time;
      show(Math.abs(way) <= speed * seconds ? target : time + Math.sign(way) * speed * seconds);
    }
    if (time !== target) moving = requestAnimationFrame(advance);
    else settle();
  }

  function settle() {
    if (playing) setPlaying(false);
    model.set("frame", target);
    model.save_changes();
  }

  function show(at) {
    time = at;
    const frame = Math.round(time);
    // While gliding, the slider stays where the reader put it.
    scrub.set(playing ? frame : Math.round(target));
    for (const curve of curves) curve.now.textContent = valueAt(curve.values, time).toFixed(3);
    Object.assign(root.dataset, { step: steps[frame], frame, time: time.toFixed(3) });
    if (!playing) announce([`Step ${steps[frame]}`, ...curves.map((c) => `${c.name} ${c.values[frame].toFixed(3)}`)].join(", "));
    paint();
  }

  // ---- drawing

  function drawPlane(context, size) {
    const count = chosen.length;
    const now = between(positions, count, time);
    const means = new Map();
    context.globalAlpha = 0.7;
    for (let i = 0; i < count; i++) {
      const [x, y] = [view.x(now[2 * i], size), view.y(now[2 * i + 1], size)];
      context.fillStyle = colourOf(chosen[i]);
      context.beginPath();
      context.arc(x, y, 2.2, 0, 2 * Math.PI);
      context.fill();
      const mean = means.get(chosen[i]) ?? means.set(chosen[i], { x: 0, y: 0, size: 0 }).get(chosen[i]);
      mean.x += x;
      mean.y += y;
      mean.size++;
    }
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.strokeStyle = ink(root, "ink");
    for (const [k, mean] of means) {
      context.fillStyle = colourOf(k);
      context.beginPath();
      context.arc(mean.x / mean.size, mean.y / mean.size, 5, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    drawScaleBar(context, size, view.scale(size), ink(root, "soft"));
  }

  function makeCurve({ name, values }, k) {
    const now = make("span", { class: "pti-now" });
    const curve = { name, values, now };
    curve.panel = panel({
      title: make("span", {}, name, now),
      label: `Curve of the ${name} over the training steps.`,
      ratio: 0.3,
      draw: (context, w, h) => drawCurve(context, w, h, values, k ? "#d55e00" : ink(root, "accent")),
      interactive: false,
    });
    curve.panel.element.querySelector(".pti-title > span").style.display = "block";
    const follow = (event) => {
      const box = curve.panel.canvas.getBoundingClientRect();
      const part = (event.clientX - box.left - 8) / (box.width - 16);
      const step = steps[0] + part * (steps[last] - steps[0]);
      const nearest = steps.reduce((best, s, i) => (Math.abs(s - step) < Math.abs(steps[best] - step) ? i : best), 0);
      pause();
      moveTo(nearest);
    };
    curve.panel.canvas.addEventListener("pointerdown", follow);
    curve.panel.canvas.addEventListener("pointermove", (event) => event.buttons && follow(event));
    return curve;
  }

  function drawCurve(context, w, h, values, colour) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const x = (step) => 8 + ((step - steps[0]) / (steps[last] - steps[0])) * (w - 16);
    const y = (value) => h - 8 - ((value - least) / (most - least || 1)) * (h - 16);
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    values.forEach((value, i) => context.lineTo(x(steps[i]), y(value)));
    context.stroke();
    const at = x(valueAt(steps, time));
    context.strokeStyle = ink(root, "soft");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(at, 0);
    context.lineTo(at, h);
    context.stroke();
    context.fillStyle = colour;
    context.beginPath();
    context.arc(at, y(valueAt(values, time)), 4.5, 0, 2 * Math.PI);
    context.fill();
  }

  const paint = onNextFrame(() => [image, plane, ...curves.map((c) => c.panel)].forEach((p) => p.paint()));
  const silence = listen(model, {
    frame: () => {
      if (playing || model.get("frame") === target) return;
      moveTo(model.get("frame"));
    },
  });

  el.append(root);
  setPlaying(false);
  show(time);
  root.dataset.ready = "true";
  return () => {
    cancelAnimationFrame(moving);
    [silence, stop, image.stop, plane.stop, ...curves.map((c) => c.panel.stop)].forEach((end) => end());
  };
}

export { between };
export default { render };
