"""Picture and embedding space side by side, clustered in the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure

RADII = ("delta_v", "2delta_v", "delta_d")


class EmbeddingExplorer(Figure):
    """Pixel embeddings beside their picture, with linked pointers and live clustering.

    The reader moves the two margins of the discriminative loss (De Brabandere et al., 2017) and
    chooses the radius of the clusters; the page clusters anew, in all dimensions, and shows how
    many clusters it found and what the loss terms are. Make one with :meth:`from_arrays`.

    Attributes:
        delta_v: Margin of the pull term; set it and the figure follows, and the other way round.
        delta_d: Half the margin of the push term.
        radius: Radius of the clusters: ``"delta_v"``, ``"2delta_v"`` or ``"delta_d"``.
        min_size: Fewest pixels that count as a cluster.
    """

    delta_v = traitlets.Float(0.5).tag(sync=True)
    delta_d = traitlets.Float(1.5).tag(sync=True)
    radius = traitlets.Enum(RADII, "delta_d").tag(sync=True)
    min_size = traitlets.Int(10).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)  # uint8 (foreground pixels, D)
    low = traitlets.List(traitlets.Float()).tag(sync=True)  # (D,) value of code 0
    high = traitlets.List(traitlets.Float()).tag(sync=True)  # (D,) value of code 255
    mean = traitlets.List(traitlets.Float()).tag(sync=True)  # (D,) origin of the plane shown
    axes = traitlets.List(traitlets.List()).tag(sync=True)  # (2, D) of the plane shown
    kept = traitlets.Float(1.0).tag(sync=True)  # share of the variance that the plane keeps

    @traitlets.validate("delta_v", "delta_d")
    def _check_margin(self, proposal: Any) -> float:
        return encode.check_positive(proposal["trait"].name, proposal["value"])

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        embedding: Any,
        instances: Any,
        *,
        foreground: Any = None,
        delta_v: float = 0.5,
        delta_d: float = 1.5,
        radius: str = "delta_d",
        min_size: int = 10,
        alt: str | None = None,
    ) -> EmbeddingExplorer:
        """Store one picture with its embeddings.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1].
            embedding: (D, H, W), an array or a tensor.
            instances: (H, W), true instance ids, 0 = background, at most 255 different.
            foreground: bool (H, W), the pixels to store and to cluster; default: those of any
                instance. The loss terms count the pixels that are both foreground and instance.
            delta_v: Margin of the pull term, in units of the embedding.
            delta_d: Half the margin of the push term.
            radius: ``"delta_v"``, ``"2delta_v"`` or ``"delta_d"``.
            min_size: Fewest pixels that count as a cluster.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        shape = pixels.shape[:2]
        ids = encode.check_instances(instances, shape)
        mask = encode.check_foreground(foreground, ids)
        values = encode.to_numpy(embedding)
        if values.ndim != 3 or values.shape[0] < 1:
            raise ValueError(
                f"embedding has shape {values.shape}; expected (D, {shape[0]}, {shape[1]})"
            )
        encode.check_shape("embedding", values, (values.shape[0], *shape))
        points = values[:, mask].T.astype(np.float64)
        encode.check_finite("embedding", points)
        if radius not in RADII:
            raise ValueError(f"radius is {radius!r}; expected one of {', '.join(map(repr, RADII))}")
        if int(min_size) != min_size or min_size < 1:
            raise ValueError(f"min_size is {min_size}; expected a whole number, at least 1")

        stored = encode.quantise(points)
        plane = encode.project(points)
        dims, count = values.shape[0], int(ids.max())
        return cls(
            picture=encode.picture_state(pixels, ids, mask),
            codes=stored.codes.tobytes(),
            low=stored.low.tolist(),
            high=stored.high.tolist(),
            mean=encode.as_floats(plane.mean),
            axes=encode.as_floats(plane.axes),
            kept=round(plane.kept, 4),
            delta_v=delta_v,
            delta_d=delta_d,
            radius=radius,
            min_size=int(min_size),
            alt=alt
            or f"A picture with {count} instances beside the {dims}-dimensional embeddings of its "
            f"{len(points)} foreground pixels, coloured by the clusters they form.",
        )

    def points(self) -> np.ndarray:
        """Return the embeddings as the page sees them: float64 (foreground pixels, D)."""
        low, high = np.array(self.low), np.array(self.high)
        codes = np.frombuffer(self.codes, np.uint8).reshape(-1, len(low))
        return encode.Quantised(codes, low, high).restore()

    def describe(self) -> str:
        """Return size, dimensions and margins."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        return f"{size}, D={len(self.low)}, delta_v={self.delta_v:g}, delta_d={self.delta_d:g}"

    def poster(self) -> Image.Image:
        """Return the picture and the plane, coloured by true instance, with both circles."""
        plane = encode.Projection(np.array(self.mean), np.array(self.axes), self.kept)
        flat = plane.apply(self.points())
        ids = np.frombuffer(self.picture["instances"], np.uint8)
        circles = (self.delta_v, self.delta_d)
        return still.side_by_side(
            still.picture(self.picture), still.scatter(flat, ids, circles=circles)
        )
