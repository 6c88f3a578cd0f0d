"""Instances found in overlapping tiles become the instances of the whole picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from .agreement import Ints, Seen, agreeing
from .tiles import Tile, plan_tiles


@dataclass(frozen=True)
class Found:
    """The instances of one tile, or of a whole picture.

    Attributes:
        instances: integers (h, w), ids from 1; 0 = background.
        scores: (K,), of ids 1..K; None where there are none.
        labels: (K,), the classes of ids 1..K, from 1; None where there are none.
    """

    instances: Ints
    scores: NDArray[np.floating] | None = None
    labels: Ints | None = None


@dataclass(frozen=True)
class _View:
    """An instance that lies nearer the middle of a neighbouring tile: a reserve."""

    corner: tuple[int, int]
    size: tuple[int, int]
    mask: NDArray[np.uint8]  # packed bits
    area: int
    score: float
    label: int


def find_in_tiles(
    find: Callable[[Tile], Found],
    size: tuple[int, int],
    *,
    tile: int,
    overlap: int,
    margin: int = 0,
) -> Found:
    """Finds the instances of a picture of any size, tile by tile, and joins what a border cuts.

    Of each tile is kept what lies ``margin`` px or more inside the borders that are not the picture's.
    What is kept of two neighbours overlaps by ``overlap - 2 * margin`` px, called *v* here. Then:

    1. *Home.* An instance belongs to the tile in whose home the middle of its box lies. The homes of all
       tiles lie side by side; their borders run through the middle of the overlaps. An object that is
       shorter than *v* in both directions is whole in the tile that is its home. Of what a tile's border
       cuts off it, the middle lies beyond the home: the neighbour sees all of that, and has the say.
    2. *Join.* Where two tiles both see, the instances that are at home in them are taken apart into
       connected pieces (over edges), and two instances are one if they have a pair of pieces there that
       agree in more than half of their union (IoU above 0.5). A piece can agree so with one other only, so
       that two objects that one tile takes for one, and the other for two, are not joined by that.
    3. *Paint.* Tiles paint in reading order, and no one paints over another. Joined instances are the union
       of their pixels, unless both are whole: then the first is taken as it is. An instance that is not
       joined, and half or more of whose pixels are taken, is dropped.
    4. *Reserve.* A whole instance that is not at home, and is not found by the tile that is its home, is taken
       if more than half of its pixels are free at the end; the best score first, then the largest.

    Guarantee: let ``find`` return, for every tile, the picture's true instances cut out by what is kept of the tile
    (as a network whose outputs depend on no more than ``margin`` px around a pixel does, when instances follow
    from the outputs locally). Then the result equals the true instances up to their numbers: whatever the sizes of
    tiles and objects, if the objects are connected (an instance in several parts may be parted where no
    tile sees two of them). Objects shorter than *v* are each taken from one tile, as it sees them, whole. Longer
    ones are a chain of joins.

    Why: move from a tile that sees a pixel of an object, but is not home to what it sees of it, to the neighbour
    beyond the border of the home: it sees all of that and perhaps more. This comes to an end, so
    every two neighbouring pixels of an object are together in an instance that is at home; and two such
    instances that share a pixel have equal pieces around it.

    Args:
        find: gives the instances of what is kept of a tile (``tile.kept``).
        size: height and width of the picture, px.
        tile, overlap, margin: px; the tile is at least twice the overlap, and the overlap more than
            twice the margin.

    Returns:
        instances int32 (H, W), ids 1..K: the best score first, among equals (and without scores) the one
        whose first pixel in reading order is first. Score and label of an object are those of the view with the
        most pixels.

    Raises:
        ValueError: for sizes out of range, or found instances that do not fit their tile.

    Memory: the result, and of the tiles that are not done yet what later ones will be compared with.
    """
    joiner = _Joiner(*size, common=overlap - 2 * margin)
    for row in plan_tiles(*size, tile=tile, overlap=overlap, margin=margin):
        for place in row:
            joiner.add(place, find(place))
        joiner.end_row()
    return joiner.result()


class _Joiner:
    """The picture's instances so far: a number for each instance of each tile, and which are one."""

    def __init__(self, height: int, width: int, common: int) -> None:
        self.common = common  # px that neighbours both keep
        self.painted = np.zeros((height, width), np.int32)
        self.parent = [0]
        self.area = [0]
        self.score = [0.0]
        self.label = [0]
        self.first = [0]  # place of the first painted pixel in reading order; -1 = none
        self.whole = [True]
        self.has_scores = self.has_labels = False
        self.left: list[Seen] = []
        self.above: list[Seen] = []
        self.below: list[Seen] = []
        self.reserve_above: list[_View] = []
        self.reserve: list[_View] = []

    def add(self, tile: Tile, found: Found) -> None:
        """Takes in the instances of the next tile in reading order."""
        rows, columns = tile.kept
        shape = rows.stop - rows.start, columns.stop - columns.start
        instances = np.asarray(found.instances)
        if instances.shape != shape or instances.dtype.kind not in "ui":
            raise ValueError(
                f"find gave {instances.dtype} {instances.shape} for {tile}; expected integers {shape}"
            )
        self.has_scores |= found.scores is not None
        self.has_labels |= found.labels is not None
        numbers = np.zeros(int(instances.max(initial=0)) + 1, np.int32)
        area = np.bincount(instances.ravel(), minlength=len(numbers))
        begin = len(self.parent)
        for k, box in enumerate(find_objects(instances), 1):
            if box is None:
                continue
            whole, at_home = _judge(tile, box, shape)
            score = 0.0 if found.scores is None else float(found.scores[k - 1])
            kind = 0 if found.labels is None else int(found.labels[k - 1])
            if at_home:
                numbers[k] = self.new(int(area[k]), score, kind, whole)
            elif whole:
                mask = instances[box] == k
                corner = rows.start + box[0].start, columns.start + box[1].start
                bits = np.packbits(mask)
                self.reserve.append(_View(corner, mask.shape, bits, int(area[k]), score, kind))
        mine = Seen(rows.start, columns.start, numbers[instances])
        self.paint(mine, begin)
        bottom, right = max(0, shape[0] - self.common), max(0, shape[1] - self.common)
        strip, column = mine.numbers[bottom:].copy(), mine.numbers[:, right:].copy()
        self.below.append(Seen(mine.top + bottom, mine.left, strip))
        self.left = [Seen(mine.top, mine.left + right, column)]

    def new(self, area: int, score: float, label: int, whole: bool) -> int:
        """The number of an instance that has not been seen before."""
        self.parent.append(len(self.parent))
        self.area.append(area)
        self.score.append(score)
        self.label.append(label)
        self.first.append(-1)
        self.whole.append(whole)
        return len(self.parent) - 1

    def paint(self, mine: Seen, begin: int) -> None:
        """Joins a tile's instances, numbered from ``begin`` on, with those before, and paints them."""
        count = len(self.parent) - begin
        if not count:
            return
        numbers = mine.numbers
        joined = np.zeros(count, bool)
        adds = np.ones(count, bool)  # whether it has pixels to add
        for other in self.above + self.left:
            for a, b in agreeing(mine, other):
                joined[a - begin] = True
                adds[a - begin] &= not (self.whole[a] and self.whole[b])
                self.join(a, b)
        height, width = numbers.shape
        canvas = self.painted[mine.top : mine.top + height, mine.left : mine.left + width]
        free = (canvas == 0) & (numbers > 0)
        unclaimed = np.bincount(numbers[free] - begin, minlength=count)
        dropped = ~joined & (2 * unclaimed <= np.array(self.area[begin:]))
        free &= _lookup(adds & ~dropped, numbers, begin)
        canvas[free] = numbers[free]
        y, x = np.nonzero(free)
        painted, first = np.unique(numbers[free], return_index=True)
        for number, i in zip(painted.tolist(), first.tolist(), strict=True):
            self.first[number] = self.place(mine.top + int(y[i]), mine.left + int(x[i]))
        if dropped.any():
            numbers *= _lookup(~dropped, numbers, begin)

    def place(self, y: int, x: int) -> int:
        """A pixel's place in reading order."""
        return y * self.painted.shape[1] + x

    def root(self, number: int) -> int:
        """The number that stands for all instances that are one with this one."""
        while self.parent[number] != number:
            self.parent[number] = self.parent[self.parent[number]]
            number = self.parent[number]
        return number

    def join(self, a: int, b: int) -> None:
        """Makes two instances one."""
        a, b = sorted((self.root(a), self.root(b)))
        self.parent[b] = a

    def end_row(self) -> None:
        """All tiles that see the reserves of the row above have painted: what is free goes to these."""
        self.draw_reserve(self.reserve_above)
        self.reserve_above, self.reserve = self.reserve, []
        self.left, self.above, self.below = [], self.below, []

    def draw_reserve(self, reserve: list[_View]) -> None:
        """Paints the reserves of which more than half is free."""
        for view in sorted(reserve, key=lambda v: (-v.score, -v.area, v.corner)):
            (top, left), (height, width) = view.corner, view.size
            mask = np.unpackbits(view.mask, count=height * width).reshape(height, width) > 0
            canvas = self.painted[top : top + height, left : left + width]
            mask &= canvas == 0
            if 2 * np.count_nonzero(mask) > view.area:
                number = self.new(view.area, view.score, view.label, True)
                canvas[mask] = number
                y, x = divmod(int(mask.argmax()), width)
                self.first[number] = self.place(top + y, left + x)

    def result(self) -> Found:
        """The instances of the whole picture, numbered."""
        self.draw_reserve(self.reserve_above)
        best: dict[int, int] = {}  # of each object, the instance with the most pixels
        first: dict[int, int] = {}
        for number in range(1, len(self.parent)):
            if self.first[number] < 0:
                continue
            root = self.root(number)
            if root not in best or self.area[number] > self.area[best[root]]:
                best[root] = number
            first[root] = min(first.get(root, self.first[number]), self.first[number])
        order = sorted(best, key=lambda root: (-self.score[best[root]], first[root]))
        final = np.zeros(len(self.parent), np.int32)
        for n, root in enumerate(order, 1):
            final[root] = n
        table = final[[self.root(number) for number in range(len(self.parent))]]
        for top in range(0, len(self.painted), 256):  # in place, for it may be all of the memory
            strip = self.painted[top : top + 256]
            strip[:] = table[strip]
        chosen = [best[root] for root in order]
        return Found(
            self.painted,
            np.array([self.score[n] for n in chosen], np.float32) if self.has_scores else None,
            np.array([self.label[n] for n in chosen], np.int64) if self.has_labels else None,
        )


def _judge(tile: Tile, box: tuple[slice, slice], shape: tuple[int, int]) -> tuple[bool, bool]:
    """Whether an instance is whole (no border of the tile cuts it), and whether it is at home."""
    whole = at_home = True
    for span, side, length in zip((tile.y, tile.x), box, shape, strict=True):
        cut_low = side.start == 0 and span.home[0] != float("-inf")
        cut_high = side.stop == length and span.home[1] != float("inf")
        whole &= not (cut_low or cut_high)
        middle = side.start + side.stop + 2 * span.inner_start
        at_home &= span.home[0] <= middle < span.home[1]
    return whole, at_home


def _lookup(chosen: NDArray[np.bool_], numbers: Ints, begin: int) -> NDArray[np.bool_]:
    """Whether each pixel's number is a chosen one; numbers count from ``begin``, 0 is not chosen."""
    return np.concatenate(([False], chosen))[np.maximum(numbers - (begin - 1), 0)]
