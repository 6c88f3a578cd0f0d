"""What the discriminative loss costs, forward and backward, in passes over the embedding.

    python benchmarks/discriminative_loss.py

One pass is `embedding * 2`: every value read once and written once, measured in the same run. Beside
it stands a straightforward version that loops over pictures and instances. Peak memory is what the
allocations of forward and backward add up to at their highest, the gradient included, in units of the
embedding.
"""

from __future__ import annotations

import argparse

import torch
from timing import machine, milliseconds
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from lessons_lib.data import Sticks
from lessons_lib.embedding import discriminative_loss

LIMITS = {"8 sticks": 12, "8, full cover": 30, "200, full cover": 40}


def looping(embedding: Tensor, instances: Tensor) -> Tensor:
    """Readable, and written as most public versions are: one mask an instance."""
    total = embedding.new_zeros(())
    for x, ids in zip(embedding, instances, strict=True):
        pixels = [x[:, ids == k].T for k in ids.unique() if k != 0]
        means = torch.stack([p.mean(0) for p in pixels])
        pull = sum(
            ((p - m).norm(dim=1) - 0.5).clamp(min=0).square().mean()
            for p, m in zip(pixels, means, strict=True)
        ) / len(pixels)
        push = (3 - torch.pdist(means)).clamp(min=0).square().mean()
        total = total + pull + push + 0.001 * means.norm(dim=1).mean()
    return total / len(embedding)


def scenes(size: int) -> dict[str, Tensor]:
    """Label maps (4, size, size)."""
    sticks = Sticks(4, size=size)
    generator = torch.Generator().manual_seed(0)

    def cells(count: int) -> Tensor:  # every pixel to the nearest of `count` random points
        points = torch.rand(4, count, 2, generator=generator) * size
        grid = torch.cartesian_prod(torch.arange(size), torch.arange(size)).float()
        return (torch.cdist(grid.expand(4, -1, -1), points).argmin(2) + 1).view(4, size, size)

    return {
        "8 sticks": torch.stack([sticks[i]["instances"] for i in range(4)]),
        "8, full cover": cells(8),
        "200, full cover": cells(200),
    }


def peak(embedding: Tensor, labels: Tensor) -> float:
    """Highest sum of live allocations during forward and backward, in embeddings."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        sum(discriminative_loss(embedding, labels).values()).backward()
    live = highest = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            highest = max(highest, live)
    return highest / (embedding.numel() * embedding.element_size())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(machine())
    print(f"4 x 16 x {args.size} x {args.size}, float32, forward + backward")
    print(f"{'layout':14}{'instances':17}{'pass':>8}{'ours':>9}{'passes':>8}{'limit':>7}"
          f"{'peak':>6}{'loops':>10}{'times':>7}")  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 16, args.size, args.size, generator=generator)
    for layout in (torch.contiguous_format, torch.channels_last):
        embedding = values.contiguous(memory_format=layout).requires_grad_()
        for name, labels in scenes(args.size).items():

            def ours(labels: Tensor = labels, embedding: Tensor = embedding) -> None:
                embedding.grad = None
                sum(discriminative_loss(embedding, labels).values()).backward()

            def loops(labels: Tensor = labels, embedding: Tensor = embedding) -> None:
                embedding.grad = None
                looping(embedding, labels).backward()

            one = milliseconds(lambda e=embedding: e.detach() * 2, 51)
            mine, other = milliseconds(ours), milliseconds(loops, 5)
            embedding.grad = None
            print(f"{str(layout)[6:]:14}{name:17}{one:5.2f} ms{mine:6.1f} ms{mine / one:8.1f}"
                  f"{LIMITS[name]:7}{peak(embedding, labels):6.1f}{other:7.0f} ms"
                  f"{other / mine:7.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
