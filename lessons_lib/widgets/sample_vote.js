/* Samples drawn one at a time, their votes, and what the annotators drew. */

/** Which pixels a stored sample calls salient: a bit of its own. */
function votesOf(sample) {
  return Uint8Array.from(sample, (v) => v >> 3);
}

/** Intersection over union of two masks of 0 and 1. */
function overlap(a, b) {
  let [both, either] = [0, 0];
  a.forEach((v, i) => {
    both += v & b[i];
    either += v | b[i];
  });
  return either ? both / either : 0;
}

/** How many of the masks reach an IoU of a half with each annotation, and how many with none. */
function hitsOf(votes, annotations) {
  const near = votes.map((mask) => annotations.map((drawn) => overlap(mask, drawn) >= 0.5));
  return [...annotations.map((_, k) => near.filter((row) => row[k]).length), near.filter((row) => !row.some(Boolean)).length];
}

/** Cuts one run of numbers into n pictures of `maps` maps each. */
function planes(stored, n, maps, size) {
  const values = decodeRuns(stored, n * maps * size);
  const part = (k, m) => values.subarray((k * maps + m) * size, (k * maps + m + 1) * size);
  return Array.from({ length: n }, (_, k) => Array.from({ length: maps }, (_, m) => part(k, m)));
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const pictures = get("pictures").map(decodeWhole);
  const { height, width } = pictures[0];
  const size = height * width;
  const names = get("names");
  const count = get("count");
  const samples = planes(get("samples"), pictures.length, count, size);
  const annotations = planes(get("annotations"), pictures.length, names.length, size);
  const ratio = height / width;
  let shown = null;
  let root = null;

  function change(values) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  }

  /** A small canvas of the picture, each pixel mixed with a colour by a share. */
  function mixed(picture, share, colour, ground = 1) {
    const canvas = make("canvas", { width, height });
    const data = new ImageData(width, height);
    for (let i = 0; i < size; i++) {
      for (let c = 0; c < 3; c++) data.data[4 * i + c] = (1 - share[i]) * ground * picture.image[3 * i + c] + share[i] * colour[c];
      data.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(data, 0, 0);
    return canvas;
  }

  /** The borders of a mask; masks that lie on each other are drawn one within the other. */
  function drawBorder(context, w, mask, colour, inset) {
    const scale = w / width;
    context.save();
    context.translate(inset, inset);
    context.scale(scale, scale);
    const path = outlines(pictures[0], Uint8Array.from(mask, (v) => v + 1));
    for (const [ink_, line] of [["rgb(0 0 0 / 0.8)", 3.6], [colour, 2]]) {
      context.strokeStyle = ink_;
      context.lineWidth = line / scale;
      context.stroke(path);
    }
    context.restore();
  }

  // ---- what the reader sees and moves

  const view = (title, caption, label, draw) =>
    panel({ title, caption, label, ratio, interactive: false, draw: (context, w, h) => {
      if (!shown) return;
      context.imageSmoothingEnabled = false;
      draw(context, w, h);
    } });
  const drawn = view("Annotators", "One outline each.", "The picture with an outline for each annotator.", (context, w, h) => {
    context.drawImage(shown.plain, 0, 0, w, h);
    shown.drawn.forEach((mask, k) => drawBorder(context, w, mask, colourOf(k + 1), 1.6 * k));
  });
  const newest = view("Newest sample", "Coloured as the annotator it hits; gray: none.", "The sample that was drawn last.", (context, w, h) =>
    context.drawImage(shown.sample, 0, 0, w, h));
  const running = view("Votes so far", "White: all samples call it salient.", "The share of the samples that call each pixel salient.", (context, w, h) =>
    context.drawImage(shown.votes, 0, 0, w, h));
  const agreed = view("Consensus", "More than the chosen share.", "The pixels that more than the chosen share of the samples call salient.", (context, w, h) => {
    context.drawImage(shown.agreed, 0, 0, w, h);
    drawBorder(context, w, shown.binary, "#ffffff", 0);
  });
  const views = [drawn, newest, running, agreed];

  const pick = choice({
    label: "Picture",
    name: "picture",
    options: pictures.map((_, k) => [String(k), String(k + 1)]),
    value: String(get("picture")),
    onChange: (value) => change({ picture: Number(value), drawn: 1 }),
  });
  const more = make("button", { type: "button", class: "pti-button" }, "Draw a sample");
  more.addEventListener("click", () => change({ drawn: Math.min(get("drawn") + 1, count) }));
  const again = make("button", { type: "button", class: "pti-button" }, "Start over");
  again.addEventListener("click", () => change({ drawn: 1 }));
  const play = player({
    root: () => root,
    start: () => get("drawn") === count && change({ drawn: 1 }),
    step: () => {
      if (get("drawn") < count) change({ drawn: get("drawn") + 1 });
      return get("drawn") < count;
    },
    pause: 450,
  });
  const share = slider({
    label: "share needed",
    name: "threshold",
    min: 0.05,
    max: 0.95,
    step: 0.05,
    value: get("threshold"),
    text: (v) => v.toFixed(2),
    onInput: (v) => change({ threshold: v }),
  });
  const bars = classBars(["nobody", ...names], "Samples that hit an annotator's object (IoU at least ½)");
  const numbers = [number("samples drawn"), number("pixels agreed on"), number("best IoU of the consensus")];
  const figure = figureRoot({
    model,
    name: "vote",
    redraw: () => paint(),
    children: [
      make("div", { class: "pti-panels" }, ...views.map((v) => v.element)),
      make("div", { class: "pti-controls" }, pick.element, make("div", { class: "pti-row" }, more, play.element, again), share.element),
      make("div", { class: "pti-readout" }, ...numbers.map((n) => n.element)),
      bars.element,
    ],
  });
  root = figure.root;
  // the space bar draws wherever it does not press a button or move an input
  root.tabIndex = 0;
  root.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target !== root) return;
    event.preventDefault();
    more.click();
  });
  const announce = announcer(root);

  function update() {
    const [k, taken, threshold] = [get("picture"), get("drawn"), get("threshold")];
    const picture = pictures[k];
    const masks = samples[k].slice(0, taken).map(votesOf);
    const votes = Float64Array.from({ length: size }, (_, i) => masks.reduce((sum, mask) => sum + mask[i], 0) / taken);
    const binary = Uint8Array.from(votes, (v) => (v > threshold ? 1 : 0));
    const hits = hitsOf(masks, annotations[k]);
    const own = annotations[k].map((mask) => overlap(masks.at(-1), mask));
    const best = own.indexOf(Math.max(...own));
    const close = annotations[k].map((mask) => overlap(binary, mask));
    const nearest = close.indexOf(Math.max(...close));
    const colour = own[best] >= 0.5 ? rgb(colourOf(best + 1)) : [200, 200, 200];
    shown = {
      drawn: annotations[k],
      binary,
      plain: mixed(picture, new Float64Array(size), [0, 0, 0]),
      sample: mixed(picture, Float64Array.from(samples[k][taken - 1], (v) => (0.9 * (v & 7)) / 7), colour, 0.45),
      votes: mixed(picture, votes, [255, 255, 255], 0),
      agreed: mixed(picture, Float64Array.from(binary, (v) => 0.55 * v), [255, 255, 255], 0.6),
    };
    pick.set(String(k));
    share.set(threshold);
    more.disabled = taken === count;
    again.disabled = taken === 1;
    const agreedOn = binary.reduce((sum, v) => sum + v, 0);
    numbers[0].value.textContent = `${taken} of ${count}`;
    numbers[1].value.textContent = agreedOn;
    numbers[2].value.textContent = close[nearest].toFixed(2);
    numbers[2].text.textContent = close[nearest] > 0 ? `IoU of the consensus with “${names[nearest]}”` : "IoU of the consensus";
    bars.set([hits.at(-1), ...hits.slice(0, -1)].map((v) => v / taken));
    [hits.at(-1), ...hits.slice(0, -1)].forEach((v, i) => (bars.element.querySelectorAll("b")[i].textContent = `${v} of ${taken}`));
    Object.assign(root.dataset, { picture: k, drawn: taken, threshold: threshold.toFixed(2), hits: hits.join(","), agreed: agreedOn, iou: close[nearest].toFixed(4) });
    announce(`${taken} of ${count} samples. Hits: ${names.map((name, i) => `${name} ${hits[i]}`).join(", ")}, nobody ${hits.at(-1)}. Consensus: ${agreedOn} pixels.`);
    paint();
  }

  const paint = onNextFrame(() => views.forEach((v) => v.paint()));
  const silence = listen(model, { picture: update, drawn: update, threshold: update });

  el.append(root);
  update();
  root.dataset.ready = "true";
  return () => [silence, figure.stop, play.stop, ...views.map((v) => v.stop)].forEach((end) => end());
}

export { hitsOf, votesOf };
export default { render };
