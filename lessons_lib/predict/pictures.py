"""What a trained model finds in one picture: in one go, or tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from lessons_lib.data.files import to_tensor
from lessons_lib.data.large_pictures import PictureFile
from lessons_lib.detection.targets import resize_masks
from lessons_lib.training import Recipe

from .joining import Found, find_in_tiles
from .tiles import Tile, plan_tiles

TILE, OVERLAP = 1024, 128
GRID = 32
"""Tiles begin at multiples of this, px: of the largest stride of the book's networks."""
LARGEST_WHOLE = 5000 * 5000
"""Pixels of a picture that a recipe takes whole which cannot work in tiles."""
PROBE = 128


def predict_image(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any], image: Tensor
) -> dict[str, Tensor]:
    """Predicts one picture, whole.

    Args:
        recipe: of the weights.
        model, options: as :func:`~lessons_lib.training.load_weights` gives them.
        image: float32 (3, H, W) in [0, 1], any size.

    Returns:
        the recipe's predictions: ``instances`` int64 (H, W), perhaps with ``scores`` and ``labels`` (K,)
        of ids 1..K; or ``boxes`` (N, 4) in the pixels of the image with ``labels`` and ``scores`` (N,), and
        with ``masks`` bool (N, H, W) or not; or ``semantic`` int64 (H, W).
    """
    device = next(model.parameters()).device
    prepared = recipe.prepare(image, options)
    with torch.inference_mode():
        (prediction,) = recipe.infer(model, {"image": prepared[None].to(device)}, options)
    if "boxes" in prediction:  # the recipe may have scaled the picture
        y, x = (a / b for a, b in zip(image.shape[1:], prepared.shape[1:], strict=True))
        prediction["boxes"] = prediction["boxes"] * torch.tensor([x, y, x, y])
    if "masks" in prediction:
        size = int(image.shape[1]), int(image.shape[2])
        prediction["masks"] = resize_masks(prediction["masks"], size)
    return prediction


def predict_picture(
    recipe: Recipe,
    model: nn.Module,
    options: Mapping[str, Any],
    picture: PictureFile,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    progress: bool = False,
) -> dict[str, Tensor]:
    """Predicts a picture of any size.

    One that fits into a tile is predicted whole. So is a larger one by a recipe that predicts no
    instances. For instances a larger one is cut into tiles, each of which is prepared with the brightness of the
    whole picture (:class:`~lessons_lib.data.PictureStatistics`), and what is found in them is joined by
    :func:`find_in_tiles`, with a quarter of the overlap as the margin. Objects shorter than half of the overlap
    are seen whole by one tile; longer ones are joined from pieces.

    Args:
        recipe, model, options: as for :func:`predict_image`.
        picture: as :func:`~lessons_lib.data.open_picture` gives it.
        tile: side of a tile, px.
        overlap: px that neighbouring tiles share, at most half of a tile. The two differ by a multiple of 32, so
            that a network that halves its maps up to five times sees all tiles on the same grid.
        progress: show a bar where there are tiles, on a terminal.

    Returns:
        as :func:`predict_image`; in tiles ``instances`` are int32 (H, W), numbered by falling score (without
        scores in reading order), with ``scores`` and ``labels`` if the recipe gives them. The network's outputs
        are kept for one tile only.

    Raises:
        ValueError: for sizes that are none, or a picture that is too large for a recipe that cannot work in
            tiles.
    """
    check_sizes(tile, overlap)
    size = picture.height, picture.width
    if max(size) <= tile or not _finds_instances(recipe, model, options, picture):
        if size[0] * size[1] > max(LARGEST_WHOLE, tile * tile):
            raise ValueError(
                f"{picture.path}: {size[0]} x {size[1]} pixels are too many for recipe {recipe.name}, which "
                f"takes pictures whole; it can take {LARGEST_WHOLE // 1_000_000} million (cut it into parts, "
                "or use a recipe that predicts instances, which works in tiles)"
            )
        image = to_tensor(picture.read(slice(None), slice(None)))
        return predict_image(recipe, model, options, image)
    margin = overlap // 4
    count = sum(map(len, plan_tiles(*size, tile=tile, overlap=overlap, margin=margin)))
    hidden = None if progress else True  # None: hidden where there is no terminal
    with tqdm(total=count, desc=picture.path.name, unit="tile", disable=hidden, leave=False) as bar:

        def find(part: Tile) -> Found:
            found = _predict_tile(recipe, model, options, picture, part)
            bar.update()
            return found

        found = find_in_tiles(find, size, tile=tile, overlap=overlap, margin=margin)
    rest = {"scores": found.scores, "labels": found.labels}
    return {"instances": torch.from_numpy(found.instances)} | {
        name: torch.from_numpy(values) for name, values in rest.items() if values is not None
    }


def check_sizes(tile: int, overlap: int) -> None:
    """Refuses sizes that cannot be: see :func:`predict_picture`.

    Raises:
        ValueError: naming them and the rule.
    """
    if overlap < 8 or tile < 2 * overlap:
        raise ValueError(
            f"tile is {tile} and overlap {overlap}; overlap must be at least 8 and tile at least twice as much"
        )
    if (tile - overlap) % GRID:
        raise ValueError(
            f"tile is {tile} and overlap {overlap}, which differ by {tile - overlap}; "
            f"they must differ by a multiple of {GRID}"
        )


def _finds_instances(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any], picture: PictureFile
) -> bool:
    """Whether the recipe predicts instances from outputs that can be cropped; tried on a corner."""
    if type(recipe).infer is not Recipe.infer:  # boxes, and masks in them
        return False
    corner = to_tensor(picture.read(slice(0, PROBE), slice(0, PROBE)))
    return "instances" in predict_image(recipe, model, options, corner)


def _predict_tile(
    recipe: Recipe,
    model: nn.Module,
    options: Mapping[str, Any],
    picture: PictureFile,
    tile: Tile,
) -> Found:
    """The instances of what is kept of a tile: the outputs are cropped before instances are made of them."""
    image = to_tensor(picture.read(*tile.window))
    prepared = recipe.prepare(image, options, picture.statistics())
    if prepared.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"recipe {recipe.name} scales pictures from {tuple(image.shape[1:])} to "
            f"{tuple(prepared.shape[1:])}; tiles cannot be scaled"
        )
    rows, columns = tile.kept_of_window
    with torch.inference_mode():
        outputs = model(prepared[None].to(next(model.parameters()).device))
        kept = {name: value[..., rows, columns].cpu() for name, value in outputs.items()}
        (prediction,) = recipe.predict(kept, options)
    return Found(
        prediction["instances"].numpy(),
        *(prediction[k].numpy() if k in prediction else None for k in ("scores", "labels")),
    )
