"""What is done to pictures before a network sees them, and after it has spoken."""

from typing import TypeVar

import numpy as np
import torch

from .errors import DataError
from .files import as_labels

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
    darkest, brightest = percentile_limits(values, low, high)
    span = max(brightest - darkest, 1e-12)
    if isinstance(image, torch.Tensor):
        return ((image.float() - darkest) / span).clamp(0, 1)
    return np.clip((values.astype(np.float32) - darkest) / span, 0, 1)


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
