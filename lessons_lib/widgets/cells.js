/* Grids of numbers; for the figures that name "cells" among their helpers. */

/** A number as short as it can be told: whole, or with two decimals. */
function short(value) {
  const text = Number.isInteger(value) ? String(value) : value.toFixed(2);
  return text.replace("-", "−");
}

/** One square cell with a text, moved up by `lift` of its size; `fill` and `line` may be absent. */
function drawCell(context, x, y, size, { fill, text = "", ink, line, thick = 1, dash = [], lift = 0 }) {
  if (fill) {
    context.fillStyle = fill;
    context.fillRect(x, y, size, size);
  }
  if (line) {
    context.strokeStyle = line;
    context.lineWidth = thick;
    context.setLineDash(dash);
    context.strokeRect(x + thick / 2, y + thick / 2, size - thick, size - thick);
    context.setLineDash([]);
  }
  const font = Math.min(14, 0.55 * size, (1.6 * size) / text.length);
  if (!text || font < 6) return;
  context.fillStyle = ink;
  context.font = `${font}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text, x + size / 2, y + (0.5 - lift) * size + 0.5);
}

/** A tint for a number: blue above 0, orange below, as strong as its part of `most`. */
function tint(value, most) {
  const part = most ? Math.min(1, Math.abs(value) / most) : 0;
  return `rgb(${value < 0 ? "230 159 0" : "86 180 233"} / ${(0.6 * part).toFixed(3)})`;
}
