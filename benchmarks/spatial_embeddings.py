"""What the loss and the clustering of spatial embeddings cost, beside straightforward versions.

    python benchmarks/spatial_embeddings.py [--threads 2] [--store]

Both versions of each work on the same outputs, taking turns, in one run, and must agree: the losses to 1e-3 (single
precision), the label maps in all but 1 in 10,000 pixels. A time is the median, a ratio the median of the ratios of
neighbouring calls.

The loss, forward and backward, on 4 pictures of 256 x 256 px. The straightforward version goes from picture to
picture and from instance to instance, and sorts all pixels for each. Outputs are those of a network that begins (pixels
point to themselves, margins of 6 px), of one that has learned (pixels point near the centre, margins of half of the
instance's radius), and, with 8 instances, of one with margins as wide as the picture: there no pixel may be left
out, and nothing is won.

The clustering, of one picture of 1024 x 2048 px with 30 instances. The straightforward version looks at all foreground
pixels for every seed. `--store` writes the table to lessons_lib/results/benchmarks/spatial_embeddings.json.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from beside import seconds
from timing import machine
from torch import Tensor

from lessons_lib.data import Sticks
from lessons_lib.embedding import cluster_spatial, spatial_embedding_loss
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.state import write_json

UNIT, WIDE_UNIT = 64.0, 256.0  # px, of the small pictures and of the large one
LEAST = {8: 1.0, 100: 3.0}
MOST_MILLISECONDS = 250

Outputs = dict[str, Tensor]


# ---- the loss


def hinge(scores: Tensor, mask: Tensor) -> Tensor:
    """The Lovász hinge of one mask (P,), all of whose pixels are sorted."""
    errors, order = (1 - torch.where(mask, scores, -scores)).sort(descending=True)
    inside = mask[order].float()
    found = inside.cumsum(0)
    jaccard = 1 - (inside.sum() - found) / (inside.sum() + (1 - inside).cumsum(0))
    steps = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return torch.dot(errors.clamp(min=0), steps)


def looping(outputs: Mapping[str, Tensor], instances: Tensor) -> Tensor:
    """Readable, and as most public versions are: a picture at a time, an instance at a time."""
    _, _, height, width = outputs["offset"].shape
    rows, columns = torch.arange(height) / UNIT, torch.arange(width) / UNIT
    grid = torch.stack([columns.expand(height, width), rows[:, None].expand(height, width)])
    total = outputs["offset"].new_zeros(())
    for offset, sigma, raw_seed, ids in zip(
        outputs["offset"], outputs["sigma"], outputs["seed"], instances, strict=True
    ):
        embedding, seed = grid + offset.tanh(), raw_seed[0].sigmoid()
        background = ids == 0
        instance = smoothness = total.new_zeros(())
        seed_term = seed[background].square().sum()
        known = [k for k in ids.unique().tolist() if k]
        for k in known:
            mask = ids == k
            own = sigma[:, mask]
            mean = own.mean(1)
            smoothness = smoothness + (own - mean.detach()[:, None]).square().mean()
            centre = embedding[:, mask].mean(1)
            apart = (embedding - centre[:, None, None]).square()
            phi = torch.exp(-(apart * torch.exp(10 * mean)[:, None, None]).sum(0))
            instance = instance + hinge((2 * phi - 1).flatten(), mask.flatten())
            seed_term = seed_term + 10 * (seed[mask] - phi[mask].detach()).square().sum()
        count = max(1, len(known))
        total = total + instance / count + 10 * smoothness / count + seed_term / (height * width)
    return total / len(instances)


def sticks(size: int) -> Tensor:
    """Four pictures with 8 sticks, (4, size, size)."""
    scenes = Sticks(4, size=size)
    return torch.stack([scenes[k]["instances"] for k in range(4)])


def discs(size: int) -> Tensor:
    """Four pictures with 100 discs that do not touch, a tenth of the picture apart, (4, size, size)."""
    step = size / 10
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    pictures = []
    for _ in range(4):
        labels = torch.zeros(size, size, dtype=torch.int64)
        for k in range(100):
            jitter = step * (0.08 * torch.rand(2, generator=generator) - 0.04)
            y, x = (jitter + step * torch.tensor([k // 10 + 0.5, k % 10 + 0.5])).tolist()
            radius = step * (0.2 + 0.2 * float(torch.rand((), generator=generator)))
            labels[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] = k + 1
        pictures.append(labels)
    return torch.stack(pictures)


def outputs_of(labels: Tensor, stage: str, unit: float = UNIT) -> Outputs:
    """What a network may say of pictures (B, H, W), for one that begins, has learned, or sees too widely."""
    batch, height, width = labels.shape
    generator = torch.Generator().manual_seed(1)

    def noise(channels: int, deviation: float) -> Tensor:
        return deviation * torch.randn(batch, channels, height, width, generator=generator)

    if stage != "learned":
        margin = 6.0 if stage == "begins" else 2.0 * max(height, width)
        return {
            "offset": noise(2, 0.6 / unit),
            "sigma": raw_sigma(torch.tensor(margin), unit) + noise(2, 0.01),
            "seed": noise(1, 0.3),
        }
    start = raw_sigma(torch.tensor(6.0), unit)
    outputs = {
        "offset": noise(2, 1.2 / unit),
        "sigma": noise(2, 0.01) + start,
        "seed": noise(1, 0.3) - 3,
    }
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    for number, picture in enumerate(labels):
        for k in picture.unique().tolist():
            if not k:
                continue
            mask = picture == k
            y, x = rows[mask].float(), columns[mask].float()
            away = torch.stack([x.mean() - x, y.mean() - y]) / unit
            outputs["offset"][number][:, mask] += away.clamp(-0.95, 0.95).atanh()
            radius = (mask.sum() / math.pi).sqrt()
            outputs["sigma"][number][:, mask] += raw_sigma(radius / 2, unit) - start
            outputs["seed"][number][:, mask] += 6
    return outputs


def raw_sigma(margin: Tensor, unit: float) -> Tensor:
    """The raw sigma whose margin is so many px."""
    return torch.log(math.log(2) * (unit / margin) ** 2) / 10


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> dict[str, float]:
    """Median milliseconds of both, and the median of their ratios; they take turns."""
    for call in (ours, theirs):
        call()
    pairs = [(seconds(ours, "cpu"), seconds(theirs, "cpu")) for _ in range(repeats)]
    mine, other = (1000 * statistics.median(times) for times in zip(*pairs, strict=True))
    return {"ours_ms": mine, "loop_ms": other, "ratio": statistics.median(b / a for a, b in pairs)}


def time_loss(labels: Tensor, stage: str, repeats: int) -> dict[str, float]:
    """The loss on one set of outputs, forward and backward, both versions."""
    leaves = {name: v.requires_grad_() for name, v in outputs_of(labels, stage).items()}

    def backward(loss: Tensor) -> Tensor:
        for leaf in leaves.values():
            leaf.grad = None
        loss.backward()
        return loss.detach()

    def ours() -> Tensor:
        return backward(sum(spatial_embedding_loss(leaves, labels, unit=UNIT).values()))

    def loops() -> Tensor:
        return backward(looping(leaves, labels))

    values, gradients = [], []
    for call in (ours, loops):
        values.append(call())
        gradients.append({name: leaf.grad.clone() for name, leaf in leaves.items()})
    torch.testing.assert_close(*values, rtol=1e-3, atol=1e-3)
    for name in leaves:
        mine, other = (g[name] for g in gradients)
        # pixels of nearly the same error may stand in another order
        assert (mine - other).norm() <= 0.01 * other.norm(), name
    return compare(ours, loops, repeats)


# ---- the clustering


def street(height: int = 1024, width: int = 2048, count: int = 30) -> tuple[Tensor, Outputs]:
    """A picture with ``count`` ellipses of very different sizes, some behind others, and good outputs for it."""
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    labels = torch.zeros(1, height, width, dtype=torch.int64)
    step = width / 6
    for k in range(count):
        a, b, u, v = torch.rand(4, generator=generator).tolist()
        y, x = (k // 6 + 0.3 + 0.4 * u) * height / 5, (k % 6 + 0.3 + 0.4 * v) * step
        half = 15 + 150 * a, 15 + 100 * b
        labels[0][((columns - x) / half[0]) ** 2 + ((rows - y) / half[1]) ** 2 < 1] = k + 1
    outputs = outputs_of(labels, "learned", WIDE_UNIT)
    return labels[0], {name: values[0] for name, values in outputs.items()}


def cluster_looping(outputs: Mapping[str, Tensor], min_size: int) -> Tensor:
    """Section 3.3 as it reads: every seed is compared with all foreground pixels."""
    seed = outputs["seed"][0].sigmoid()
    height, width = seed.shape
    foreground = seed > 0.5
    y, x = foreground.nonzero(as_tuple=True)
    embedding = torch.stack([x, y]) + WIDE_UNIT * outputs["offset"][:, foreground].tanh()
    spread = torch.exp(10 * outputs["sigma"][:, foreground]) / WIDE_UNIT**2
    free = seed[foreground].clone()
    owner = torch.zeros(len(x), dtype=torch.int64)
    found = 0
    while free.numel() and free.max() >= 0.5:
        best = free.argmax()
        apart = (embedding - embedding[:, best, None]).square()
        proposal = torch.exp(-(apart * spread[:, best, None]).sum(0)) > 0.5
        unclaimed = proposal & (owner == 0)
        if unclaimed.sum() >= min_size and unclaimed.sum() >= 0.5 * proposal.sum():
            found += 1
            owner[unclaimed] = found
        free[proposal] = -1
        free[best] = -1
    instances = torch.zeros(height, width, dtype=torch.int64)
    instances[foreground] = owner
    return instances


def time_clustering(repeats: int) -> dict[str, float]:
    """The clustering of a large picture, both versions, and how many instances they find."""
    labels, outputs = street()

    def ours() -> Tensor:
        return cluster_spatial(outputs, unit=WIDE_UNIT, min_size=128).instances

    def loops() -> Tensor:
        return cluster_looping(outputs, min_size=128)

    mine, other = ours(), loops()
    assert (mine != other).float().mean() < 1e-4, "the label maps differ"
    facts = {
        "instances": len(labels.unique()) - 1,
        "found": int(mine.max()),
        "foreground": float((outputs["seed"] > 0).float().mean()),
    }
    return {**facts, **compare(ours, loops, repeats)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table: dict[str, Any] = {"machine": machine(), "size": args.size, "loss": []}
    print(table["machine"])
    print(f"\nloss, 4 x {args.size} x {args.size}, forward + backward")
    print(f"{'instances':>9}  {'network':10}{'ours':>11}{'loops':>12}{'times':>8}{'wanted':>8}")
    for count, labels in ((8, sticks(args.size)), (100, discs(args.size))):
        for stage in ("begins", "learned", "too wide")[: 3 if count == 8 else 2]:
            row = time_loss(labels, stage, args.repeats)
            table["loss"].append({"instances": count, "stage": stage, **row})
            wanted = f"{LEAST[count]:8.1f}" if stage != "too wide" else ""
            print(f"{count:9}  {stage:10}{row['ours_ms']:8.1f} ms{row['loop_ms']:9.1f} ms"
                  f"{row['ratio']:8.2f}{wanted}")  # fmt: skip
    row = time_clustering(args.repeats)
    table["clustering"] = row
    print(f"\nclustering, 1024 x 2048, {row['instances']} instances, {row['found']} found, "
          f"{row['foreground']:.0%} foreground")  # fmt: skip
    print(f"ours {row['ours_ms']:.0f} ms (wanted: under {MOST_MILLISECONDS}), "
          f"loop {row['loop_ms']:.0f} ms, {row['ratio']:.1f} times")  # fmt: skip
    if args.store:
        folder = PACKAGED / "benchmarks"
        folder.mkdir(exist_ok=True)
        write_json(folder / "spatial_embeddings.json", table)


if __name__ == "__main__":
    main()
