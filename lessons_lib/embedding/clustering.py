"""From pixel vectors to instances: clustering with an unknown and with a known count."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as graph_components
from skimage.measure import label as connected_components
from sklearn.cluster import KMeans
from torch import Tensor

CANDIDATES = 256
ITERATIONS = 50


def mean_shift(points: Tensor, radius: float, min_size: int = 1) -> Tensor:
    """Greedy flat-kernel mean shift: one cluster at a time, until no point is left.

    Start at a point that no cluster has yet; move to the mean of the free points within ``radius``;
    repeat until the mean rests (at most 50 moves); these points are the next cluster. So De Brabandere
    et al. (2017, section 3.2) cluster.

    Where the paper starts at a random pixel, this starts at the one of up to 256 evenly spaced free
    points that has the most others within ``radius``. So the result is the same on every run, large
    clusters come first, and a pixel on the seam of two instances starts one only at the end.

    Args:
        points: float (N, D), on any device.
        radius: of the ball, in units of the points; inclusive.
        min_size: smaller clusters get label 0.

    Returns:
        int64 (N,): labels 1, 2, … in the order of discovery, 0 = too small.

    Raises:
        ValueError: for a shape other than (N, D), a radius that is not above 0, min_size below 1, or
            points that are not finite.

    Time is O(N·D) for each cluster found, dropped ones included.
    """
    if points.ndim != 2:
        raise ValueError(f"points has shape {tuple(points.shape)}; it must be (N, D)")
    if not radius > 0:
        raise ValueError(f"radius is {radius}; it must be above 0")
    if min_size < 1:
        raise ValueError(f"min_size is {min_size}; it must be at least 1")
    if not torch.isfinite(points).all():
        raise ValueError("points has values that are not finite; all must be")
    # columns in one piece: distances are then sums of D long vectors
    free = points.detach().to(torch.float32).t().contiguous()  # (D, N) points without a cluster
    where = torch.arange(points.shape[0], device=points.device)  # and their places in ``points``
    labels = torch.zeros(points.shape[0], dtype=torch.int64, device=points.device)
    label = 0
    while len(where) >= min_size and len(where) > 0:
        members = _climb(free, _densest_candidate(free, radius), radius)
        size = int(members.sum())
        if size >= min_size:
            label += 1
            labels[where[members]] = label
        free, where = free[:, ~members], where[~members]
    return labels


def _densest_candidate(free: Tensor, radius: float) -> Tensor:
    """Of up to 256 evenly spaced points, the vector (D,) with the most others within the radius."""
    n = free.shape[1]
    m = min(CANDIDATES, n)
    candidates = free[:, torch.arange(m, device=free.device) * n // m].t()  # (m, D)
    apart = torch.cdist(candidates, candidates, compute_mode="donot_use_mm_for_euclid_dist")
    neighbours = (apart <= radius).sum(1)
    # argmax takes any of several maxima; the first must be taken, for the same result everywhere
    return candidates[int((neighbours == neighbours.max()).nonzero()[0, 0])]


def _climb(free: Tensor, centre: Tensor, radius: float) -> Tensor:
    """Moves the ball to rest; bool (N,), the points inside.

    Distances are computed for the points within 3 radii of the start only; should the centre leave
    the middle of that neighbourhood, a new one is taken. The result is that of the full search.
    """
    anchor: Tensor | None = None
    near = inside = torch.empty(0)
    for _ in range(ITERATIONS):
        if anchor is None or torch.linalg.vector_norm(centre - anchor) > 1.9 * radius:
            anchor = centre
            near = (_squared_distance(free, anchor) <= (3 * radius) ** 2).nonzero()[:, 0]
            crowd = free[:, near]
        inside = _squared_distance(crowd, centre) <= radius**2
        mean = crowd[:, inside].mean(1)
        move = torch.linalg.vector_norm(mean - centre)
        centre = mean
        if move < 1e-4 * radius:
            break
    members = torch.zeros(free.shape[1], dtype=torch.bool, device=free.device)
    members[near[inside]] = True
    return members


def _squared_distance(columns: Tensor, centre: Tensor) -> Tensor:
    """‖x − centre‖² for the columns x of a (D, N); (N,)."""
    total = torch.zeros(columns.shape[1], device=columns.device, dtype=columns.dtype)
    for row, value in zip(columns, centre, strict=True):  # over D, a handful
        total.add_((row - value).square_())
    return total


def cluster_known_count(points: Tensor, count: int, seed: int = 0) -> Tensor:
    """k-means with ``count`` clusters (scikit-learn's, k-means++ start, best of 4).

    Args:
        points: float (N, D).
        count: number of clusters; with fewer points than that, each point is its own cluster.
        seed: of the starts.

    Returns:
        int64 (N,), labels 1..count.

    Raises:
        ValueError: for a shape other than (N, D), or a negative count, or no cluster for points.
    """
    if points.ndim != 2:
        raise ValueError(f"points has shape {tuple(points.shape)}; it must be (N, D)")
    if count < 0 or (count == 0 and len(points)):
        raise ValueError(f"count is {count}; it must be at least 1 when there are points")
    if len(points) <= count:
        return torch.arange(1, len(points) + 1, device=points.device)
    array = points.detach().float().cpu().numpy()
    labels = KMeans(count, n_init=4, random_state=seed).fit_predict(array)
    return torch.from_numpy(labels.astype(np.int64) + 1).to(points.device)


def cluster_picture(
    embedding: Tensor,
    foreground: Tensor,
    *,
    radius: float | None = None,
    count: int | None = None,
    min_size: int = 1,
) -> Tensor:
    """Clusters one picture's foreground: by k-means when ``count`` is given, else by mean shift.

    Args:
        embedding: float (D, H, W).
        foreground: bool (H, W).
        radius, min_size: of :func:`mean_shift`.
        count: of :func:`cluster_known_count`.

    Returns:
        int64 (H, W), instance ids; 0 = background or too small a cluster.

    Raises:
        ValueError: unless exactly one of radius and count is given, and for shapes that disagree.
    """
    if (radius is None) == (count is None):
        raise ValueError(f"radius is {radius} and count is {count}; give exactly one of them")
    if embedding.ndim != 3 or foreground.shape != embedding.shape[1:]:
        raise ValueError(
            f"embedding has shape {tuple(embedding.shape)} and foreground "
            f"{tuple(foreground.shape)}; they must be (D, H, W) and (H, W)"
        )
    foreground = foreground.bool()
    points = embedding[:, foreground].t()  # (N, D)
    instances = torch.zeros(foreground.shape, dtype=torch.int64, device=embedding.device)
    if len(points):
        if count is not None:
            instances[foreground] = cluster_known_count(points, count)
        else:
            assert radius is not None
            instances[foreground] = mean_shift(points, radius, min_size)
    return instances


def tidy_instances(instances: Tensor, foreground: Tensor, min_size: int) -> Tensor:
    """Makes every instance one piece, and hands crumbs to the instance next to them.

    A label whose pixels do not touch (over edges) becomes several instances. Pieces below
    ``min_size``, and foreground without a label, go to the nearest kept piece if it lies in the same
    connected foreground, else to the background.

    Args:
        instances: int64 (H, W), 0 = none.
        foreground: bool (H, W).
        min_size: fewest pixels of an instance.

    Returns:
        int64 (H, W), ids 1..K without gaps.
    """
    mask = foreground.cpu().numpy().astype(bool)
    pieces = connected_components(np.where(mask, instances.cpu().numpy(), 0), connectivity=1)
    large = np.bincount(pieces.ravel()) >= min_size
    large[0] = False
    pieces = np.where(large[pieces], pieces, 0)
    nearest = distance_transform_edt(pieces == 0, return_distances=False, return_indices=True)
    blobs = connected_components(mask, connectivity=1)
    same_blob = blobs[tuple(nearest)] == blobs
    filled = np.where(mask & same_blob, pieces[tuple(nearest)], 0)
    _, numbered = np.unique(np.append(filled.ravel(), 0), return_inverse=True)
    numbered = numbered[:-1].reshape(filled.shape).astype(np.int64)
    return torch.from_numpy(numbered).to(instances.device)


def merge_pieces(instances: Tensor, embedding: Tensor, distance: float) -> Tensor:
    """Joins pieces that touch and whose mean embeddings are nearer than ``distance``.

    The push term wants the means of two instances 2δd apart. Pieces of clearly less are parts of one
    instance whose vectors drift, as those of large nuclei do.

    Args:
        instances: int64 (H, W), ids 1..K without gaps, 0 = none.
        embedding: float (D, H, W).
        distance: in units of the embedding; below 2δd.

    Returns:
        int64 (H, W), ids 1..K' without gaps.
    """
    labels = instances.cpu().numpy()
    count = int(labels.max(initial=0))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    means = np.stack(
        [
            np.bincount(labels.ravel(), channel.ravel(), count + 1)[1:] / area
            for channel in embedding.detach().float().cpu().numpy()
        ],
        axis=1,
    )  # (K, D)
    beside = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in beside], axis=1)
    pairs = np.unique(pairs[:, (pairs[0] != pairs[1]) & (pairs.min(0) > 0)], axis=1) - 1
    near = np.linalg.norm(means[pairs[0]] - means[pairs[1]], axis=1) < distance
    graph = coo_array((near[near], pairs[:, near]), shape=(count, count))
    _, joined = graph_components(graph, directed=False)
    merged = np.append(0, joined + 1)[labels].astype(np.int64)
    return torch.from_numpy(merged).to(instances.device)
