"""What is done to pictures before a network sees them, and after it has spoken."""

from typing import TypeVar

import numpy as np
import torch

from .errors import DataError
from .files import as_labels
from .palettes import voc_palette

# Okabe and Ito's palette, told apart by colour-blind readers too, with a darker yellow and a violet in
# place of their yellow and black, so that all eight show on white and on black.
PALETTE = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (204, 121, 167),
        (0, 114, 178),
        (213, 94, 0),
        (179, 168, 30),
        (127, 127, 191),
    ],
    dtype=np.uint8,
)

Picture = TypeVar("Picture", torch.Tensor, np.ndarray)


def normalize_image(image: Picture, low: float = 1.0, high: float = 99.8) -> Picture:
    """Stretch a picture so that its ``low`` percentile becomes 0 and its ``high`` percentile 1.

    One pair of limits for all channels together, so that colours keep their balance. What lies
    outside is clipped. A picture whose two percentiles coincide (a constant one) becomes 0
    everywhere up to that value, 1 above it.

    Args:
        image: One picture, float (C, H, W) or (H, W), of any range.
        low: Percentile, 0 <= low < high.
        high: Percentile, at most 100.

    Returns:
        float32 in [0, 1], of the type and shape that came in, on the same device.

    Raises:
        ValueError: Percentiles out of order, or a shape of more than one picture.
    """
    if image.ndim not in (2, 3):
        raise ValueError(f"image has shape {tuple(image.shape)}; expected (C, H, W) or (H, W)")
    values = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else image
    return stretch(image, *percentile_limits(values, low, high))


def stretch(image: Picture, darkest: float, brightest: float) -> Picture:
    """Float values with ``darkest`` moved to 0 and ``brightest`` to 1, and clipped; float32."""
    span = max(brightest - darkest, 1e-12)
    if isinstance(image, torch.Tensor):
        return ((image.float() - darkest) / span).clamp(0, 1)
    return np.clip((image.astype(np.float32) - darkest) / span, 0, 1)


def percentile_limits(
    values: np.ndarray, low: float = 1.0, high: float = 99.8
) -> tuple[float, float]:
    """The two percentiles of all values of one picture together.

    Raises:
        ValueError: Percentiles out of order or out of 0..100, or an empty picture.
    """
    if not 0 <= low < high <= 100:
        raise ValueError(f"low={low}, high={high}; expected 0 <= low < high <= 100")
    if values.size == 0:
        raise ValueError(f"image has shape {values.shape}; expected at least one pixel")
    darkest, brightest = np.percentile(values, [low, high], method="inverted_cdf")
    return float(darkest), float(brightest)


def overlay(image: torch.Tensor | np.ndarray, instances: torch.Tensor | np.ndarray) -> np.ndarray:
    """Draw the outline of every instance on the picture.

    The outline is the instance's own outermost ring of pixels, so those of touching instances stay
    apart. Colours go round a palette that colour-blind readers can tell apart.

    Args:
        image: Values in [0, 1], (3, H, W), (1, H, W) or (H, W).
        instances: Integers (H, W); 0 is background.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        DataError: The sizes differ.
    """
    labels = as_labels(instances, "instances")
    values = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    if values.shape[-2:] != labels.shape or values.ndim not in (2, 3):
        raise DataError(
            f"image has shape {values.shape}, instances {labels.shape}; expected (3, H, W), "
            "(1, H, W) or (H, W) and (H, W)"
        )
    if values.ndim == 3 and len(values) not in (1, 3):
        raise DataError(f"image has {len(values)} channels; expected 1 or 3")
    planes = np.broadcast_to(values, (3, *labels.shape))
    canvas = np.round(np.clip(planes, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
    ring = outlines(labels)
    canvas[ring] = PALETTE[(labels[ring] - 1) % len(PALETTE)]
    return canvas


def overlay_panoptic(
    image: torch.Tensor | np.ndarray,
    semantic: torch.Tensor | np.ndarray,
    instances: torch.Tensor | np.ndarray,
    opacity: float = 0.6,
) -> np.ndarray:
    """Colour every segment of a picture: things one by one, stuff by class, with light borders.

    Args:
        image: Values in [0, 1], (3, H, W), (1, H, W) or (H, W).
        semantic: Classes (H, W) of every pixel; what is 255 keeps the picture's gray.
        instances: Integers (H, W); 0 where no thing is.
        opacity: Of the colours, in [0, 1].

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        DataError: The sizes differ.
        ValueError: An opacity out of [0, 1].
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; it must be in 0..1")
    classes, things = as_labels(semantic, "semantic"), as_labels(instances, "instances")
    if classes.shape != things.shape:
        raise DataError(f"semantic has shape {classes.shape}, instances {things.shape}")
    gray = overlay(image, np.zeros(things.shape, np.uint8)).mean(axis=2, keepdims=True)
    stuff = voc_palette()[classes.clip(0, 255)] // 2 + 64  # muted, so that things stand out
    colours = np.where(things[..., None] > 0, PALETTE[(things - 1) % len(PALETTE)], stuff)
    mixed = gray + opacity * (colours - gray)
    mixed = np.where(((classes == 255) & (things == 0))[..., None], gray, mixed)
    segments = np.where(things > 0, things + 256, classes) + 1
    mixed[outlines(segments)] = 245
    return np.round(mixed).astype(np.uint8)


def overlay_boxes(
    image: torch.Tensor | np.ndarray,
    boxes: torch.Tensor | np.ndarray,
    labels: torch.Tensor | np.ndarray,
) -> np.ndarray:
    """Draw the frame of every box on the picture, in the colour of its class.

    Args:
        image: Values in [0, 1], (3, H, W), (1, H, W) or (H, W).
        boxes: (N, 4) as x1, y1, x2, y2 in pixels, x2 and y2 exclusive; the frame lies inside.
        labels: Classes (N,), from 1 on.

    Returns:
        uint8 RGB (H, W, 3).

    Raises:
        ValueError: Another number of labels than of boxes.
    """
    frames, classes = np.asarray(boxes).reshape(-1, 4), np.asarray(labels)
    if len(frames) != len(classes):
        raise ValueError(
            f"labels has {len(classes)} entries, boxes {len(frames)}; expected as many"
        )
    canvas = overlay(image, np.zeros(image.shape[-2:], np.uint8))
    width = max(1, round(min(canvas.shape[:2]) / 200))
    for (x1, y1, x2, y2), label in zip(np.round(frames).astype(int), classes, strict=True):
        y1, x1 = max(0, y1), max(0, x1)
        part = canvas[y1:y2, x1:x2]  # a view: what is painted here is painted on the canvas
        inner = part[width:-width, width:-width].copy()
        part[:] = PALETTE[(label - 1) % len(PALETTE)]
        part[width:-width, width:-width] = inner
    return canvas


def outlines(labels: np.ndarray) -> np.ndarray:
    """Pixels of an instance with a 4-neighbour of another value, bool (H, W)."""
    padded = np.pad(labels, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    differs = (
        (middle != padded[:-2, 1:-1])
        | (middle != padded[2:, 1:-1])
        | (middle != padded[1:-1, :-2])
        | (middle != padded[1:-1, 2:])
    )
    return differs & (middle != 0)
