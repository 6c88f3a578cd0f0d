"""Regions of a picture merge, two at a time, and every region leaves a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

MOST_REGIONS = 256


class RegionMerging(Figure):
    """Selective search's hierarchy on a slider: regions, boxes so far, and the objects they find.

    Before the first merge there are S regions and S boxes; merge k makes region S + k of two
    neighbours, and its box joins the boxes (Uijlings et al., 2013). An object is found when a box
    overlaps it by an IoU of at least 0.5. Make one with :meth:`from_tree`.

    Attributes:
        merges: How many merges have been done, 0 to S − 1.
        colour: Whether the regions are painted in their mean colours.
    """

    _helpers = ("labels",)

    merges = traitlets.Int(0).tag(sync=True)
    colour = traitlets.Bool(False).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    regions = traitlets.Bytes().tag(sync=True)  # labels.runs of the first regions, uint8 (H, W)
    # (S − 1, 2) nodes that were merged; (2S − 1, 4) boxes of all nodes and (T, 4) of objects, px
    pairs = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    boxes = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    truth = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of the T objects

    @classmethod
    def from_tree(
        cls,
        image: Any,
        tree: Any,
        truth: Any = (),
        *,
        names: Sequence[str] | None = None,
        merges: int | None = None,
        alt: str | None = None,
    ) -> RegionMerging:
        """Store a picture and its hierarchy.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536
                pixels.
            tree: What ``lessons_lib.detection.merge_regions`` returns for it: ``labels`` (H, W),
                ``pairs`` (S − 1, 2) and ``boxes`` (2S − 1, 4), with at most 256 first regions.
            truth: Boxes (T, 4) of the objects; x1, y1, x2, y2 in pixels.
            names: Of the objects; default: object 1, object 2, …
            merges: Where the slider begins; default: at half of the merges.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        shape = pixels.shape[:2]
        if pixels.shape[0] * pixels.shape[1] > labels.MOST_PIXELS:
            raise ValueError(
                f"image has shape {pixels.shape}; expected at most {labels.MOST_PIXELS} pixels"
            )
        pairs = encode.to_numpy(tree.pairs)
        count = len(pairs) + 1
        if count > MOST_REGIONS:
            raise ValueError(f"tree has {count} regions; expected at most {MOST_REGIONS}")
        first = encode.to_numpy(tree.labels)
        encode.check_shape("tree.labels", first, shape)
        if first.min() < 0 or first.max() != count - 1:
            raise ValueError(
                f"tree.labels has values {first.min()} to {first.max()}; expected 0 to {count - 1}"
            )
        encode.check_shape("tree.pairs", pairs, (count - 1, 2))
        boxes = _check_boxes("tree.boxes", tree.boxes)
        encode.check_shape("tree.boxes", boxes, (2 * count - 1, 4))
        objects = _check_boxes("truth", truth)
        given = [f"object {k + 1}" for k in range(len(objects))] if names is None else list(names)
        if len(given) != len(objects):
            raise ValueError(f"names has {len(given)} entries; expected {len(objects)}, as truth")
        start = (count - 1) // 2 if merges is None else merges
        return cls(
            picture=labels.image_state(pixels),
            regions=labels.runs(first.astype(np.uint8)),
            pairs=pairs.tolist(),
            boxes=boxes.tolist(),
            truth=objects.tolist(),
            names=[str(name) for name in given],
            merges=encode.check_whole("merges", start, 0, count - 1, "regions less one"),
            alt=alt
            or f"A picture of {shape[0]} by {shape[1]} pixels cut into {count} regions that merge "
            f"into one, two at a time, and the boxes of all of them beside {len(objects)} objects.",
        )

    @traitlets.validate("merges")
    def _check_merges(self, proposal: Any) -> int:
        value = proposal["value"]
        if self.boxes and not 0 <= value <= len(self.pairs):
            raise ValueError(f"merges is {value}; expected 0 to {len(self.pairs)}")
        return value

    def best_overlaps(self) -> np.ndarray:
        """Return the best IoU of any box so far with each object, float64 (merges 0..S − 1, T)."""
        boxes, truth = np.array(self.boxes), np.array(self.truth).reshape(-1, 4)
        low = np.maximum(boxes[:, None, :2], truth[:, :2])
        high = np.minimum(boxes[:, None, 2:], truth[:, 2:])
        shared = np.clip(high - low, 0, None).prod(2)
        area = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(1) for b in (boxes, truth)]
        iou = shared / np.maximum(area[0][:, None] + area[1] - shared, 1e-12)
        return np.maximum.accumulate(iou)[len(self.pairs) :]

    def proposals(self) -> int:
        """Return how many different boxes there are after the merges done."""
        so_far = np.array(self.boxes)[: len(self.pairs) + 1 + self.merges]
        return len(np.unique(so_far, axis=0))

    def describe(self) -> str:
        """Return size, regions and objects."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        count = len(self.pairs) + 1 if self.boxes else 0
        return f"{size}, {count} regions, {len(self.truth)} objects"

    def poster(self) -> Image.Image:
        """Return the picture, and beside it the boxes of all regions after half of the merges."""
        plain = still.classes(self.picture, None)
        drawn = plain.copy()
        pen = ImageDraw.Draw(drawn)
        scale = drawn.height / self.picture["height"]
        for box in self.boxes[: len(self.pairs) + 1 + len(self.pairs) // 2]:
            pen.rectangle([v * scale for v in box], outline=(255, 255, 255))
        for k, box in enumerate(self.truth):
            colour = tuple(int(c) for c in still.colours(np.array([k + 1]))[0])
            pen.rectangle([v * scale for v in box], outline=colour, width=3)
        return still.side_by_side(plain, drawn)


def _check_boxes(name: str, boxes: Any) -> np.ndarray:
    values = encode.to_numpy(boxes)
    if values.size == 0:
        values = np.zeros((0, 4))
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"{name} has shape {values.shape}; expected (N, 4)")
    encode.check_finite(name, values)
    return np.round(values.astype(np.float64), 2)
