"""Where the tiles of a large picture lie, and which of them has the say where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Interval = tuple[int, int]


@dataclass(frozen=True)
class Span:
    """One tile along one axis, px.

    Attributes:
        start, stop: what the network sees.
        inner_start, inner_stop: what is kept of it: without the margin at borders that are not the
            picture's.
        home: from where to where an object's middle must lie, for this tile to be the one that
            knows it best; in half pixels, so that it is a whole number: start + stop of the object.
    """

    start: int
    stop: int
    inner_start: int
    inner_stop: int
    home: tuple[float, float]


@dataclass(frozen=True)
class Tile:
    """A tile of a picture: its rows and its columns."""

    y: Span
    x: Span

    @property
    def window(self) -> tuple[slice, slice]:
        """What the network sees, as rows and columns of the picture."""
        return slice(self.y.start, self.y.stop), slice(self.x.start, self.x.stop)

    @property
    def kept(self) -> tuple[slice, slice]:
        """What is kept, as rows and columns of the picture."""
        return slice(self.y.inner_start, self.y.inner_stop), slice(
            self.x.inner_start, self.x.inner_stop
        )

    @property
    def kept_of_window(self) -> tuple[slice, slice]:
        """What is kept, as rows and columns of the window."""
        rows, columns = self.kept
        top, left = self.y.start, self.x.start
        return slice(rows.start - top, rows.stop - top), slice(
            columns.start - left, columns.stop - left
        )


def spans(length: int, tile: int, overlap: int, margin: int) -> list[Span]:
    """The tiles along an axis of ``length`` px; they begin at multiples of ``tile - overlap``.

    Neighbours share ``overlap`` px, of which both keep ``overlap - 2 * margin``. The last one ends at the
    picture's border and may be shorter, but is longer than the overlap. Half-way through what two
    neighbours keep is the border between their homes.

    Raises:
        ValueError: for sizes that are no sizes, or an overlap that leaves nothing to join over.
    """
    if length < 1:
        raise ValueError(f"length is {length}; it must be at least 1")
    if margin < 0:
        raise ValueError(f"margin is {margin}; it must be at least 0")
    if overlap < 2 * margin + 2:
        raise ValueError(
            f"overlap is {overlap} and margin {margin}; overlap must be at least 2 * margin + 2, "
            "so that neighbours have something in common"
        )
    if tile < 2 * overlap:
        raise ValueError(
            f"tile is {tile} and overlap {overlap}; tile must be at least twice the overlap"
        )
    starts = [0]
    while starts[-1] + tile < length:
        starts.append(starts[-1] + tile - overlap)
    stops = [min(start + tile, length) for start in starts]
    inner_starts = [0] + [start + margin for start in starts[1:]]
    inner_stops = [stop - margin for stop in stops[:-1]] + [length]
    borders = [a + b for a, b in zip(inner_starts[1:], inner_stops[:-1], strict=True)]
    lows, highs = [float("-inf"), *borders], [*borders, float("inf")]
    homes = zip(lows, highs, strict=True)
    return list(map(Span, starts, stops, inner_starts, inner_stops, homes))


def plan_tiles(
    height: int, width: int, *, tile: int, overlap: int, margin: int
) -> Iterator[list[Tile]]:
    """The tiles of a picture, a list a row of tiles, from top to bottom; see :func:`spans`."""
    across = spans(width, tile, overlap, margin)
    for down in spans(height, tile, overlap, margin):
        yield [Tile(down, x) for x in across]
