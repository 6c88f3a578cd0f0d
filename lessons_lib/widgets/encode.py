"""What figures store: checked, foreground only, one byte a number."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Quantised(NamedTuple):
    """Numbers stored as bytes: ``value = low + code / 255 * (high - low)``.

    Attributes:
        codes: uint8, the shape of what was quantised.
        low: Smallest value of each column (last axis), float64.
        high: Largest value of each column, float64.
    """

    codes: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def restore(self) -> np.ndarray:
        """Return the values as the page sees them, at most half a step from the original."""
        return self.low + self.codes / 255.0 * (self.high - self.low)


class Projection(NamedTuple):
    """A linear map from the embedding to the plane of the screen.

    Attributes:
        mean: (D,), the point that becomes the origin.
        axes: (2, D), orthonormal rows (a row of zeros when D is 1).
        kept: Share of the variance that the plane keeps, in [0, 1].
    """

    mean: np.ndarray
    axes: np.ndarray
    kept: float

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Map points (..., D) to the plane, (..., 2)."""
        return (points - self.mean) @ self.axes.T


def quantise(values: np.ndarray) -> Quantised:
    """Store numbers in one byte each, every column over its own range.

    Args:
        values: Finite numbers (..., columns), at least one row.
    """
    columns = values.reshape(-1, values.shape[-1]).astype(np.float64)
    low, high = columns.min(axis=0), columns.max(axis=0)
    width = np.where(high > low, high - low, 1.0)
    codes = np.rint((values - low) / width * 255).astype(np.uint8)
    return Quantised(codes, low, high)


def project(points: np.ndarray) -> Projection:
    """Find the plane that shows most of a point cloud: its two principal components.

    Points that are already two-dimensional keep their axes. The sign of a component is free;
    here its largest entry is positive, so that the same points always give the same picture.

    Args:
        points: (N, D), N at least 1.
    """
    dims = points.shape[1]
    mean = points.mean(axis=0, dtype=np.float64)
    centred = points - mean
    if dims <= 2:
        return Projection(mean, np.eye(2, dims), 1.0)
    variances, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1].T[:2]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[[0, 1], largest] < 0, -1, 1)[:, None]
    total = variances.sum()
    kept = float(variances[-2:].sum() / total) if total > 0 else 1.0
    return Projection(mean, axes, kept)


def picture_state(
    image: np.ndarray, instances: np.ndarray, foreground: np.ndarray
) -> dict[str, Any]:
    """Pack a picture for ``decodePicture`` of ``figure.js``.

    Args:
        image: uint8 (H, W) or (H, W, 3). A colour picture is reduced to its best 256 colours.
        instances: (H, W), 0 to 255, 0 = none.
        foreground: bool (H, W), the pixels whose data a figure stores, in reading order.
    """
    height, width = instances.shape
    if image.ndim == 2:
        pixels, palette = image, np.repeat(np.arange(256, dtype=np.uint8), 3)
    else:
        indexed = Image.fromarray(image).quantize(
            256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
        )
        pixels, palette = np.asarray(indexed), np.array(indexed.getpalette(), dtype=np.uint8)
    return {
        "height": height,
        "width": width,
        "pixels": pixels.tobytes(),
        "palette": b"" if image.ndim == 2 else palette.tobytes(),
        "foreground": np.packbits(foreground).tobytes(),
        "instances": instances[foreground].astype(np.uint8).tobytes(),
    }


def to_numpy(values: Any) -> np.ndarray:
    """Return an array or tensor as NumPy, on the CPU and without its gradient."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16, so every floating tensor passes through float32.
        values = values.float() if values.is_floating_point() else values
    return np.asarray(values)


def check_image(image: Any) -> np.ndarray:
    """Return a picture as uint8 (H, W) or (H, W, 3).

    Args:
        image: Values in [0, 1]; (H, W), (1, H, W), (3, H, W) or (H, W, 3).

    Raises:
        ValueError: If the shape or the range is another.
    """
    image = to_numpy(image)
    shape = image.shape
    if image.ndim == 3 and shape[0] in (1, 3) and shape[2] != 3:
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ValueError(f"image has shape {shape}; expected (H, W), (3, H, W) or (H, W, 3)")
    check_finite("image", image)
    if image.min() < 0 or image.max() > 1:
        low, high = float(image.min()), float(image.max())
        raise ValueError(f"image has values from {low:g} to {high:g}; expected 0 to 1")
    if image.ndim == 3 and (image == image[..., :1]).all():
        image = image[..., 0]
    return np.rint(image * 255.0).astype(np.uint8)


def check_instances(instances: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return instance ids renumbered to 1, 2, … in their order, 0 staying the background.

    Args:
        instances: Whole numbers, at least 0, at most 255 different ones above 0.
        shape: (H, W) of the picture.

    Raises:
        ValueError: If shape, type, sign or number of ids is another.
    """
    instances = to_numpy(instances)
    check_shape("instances", instances, shape)
    if instances.dtype == bool or not np.issubdtype(instances.dtype, np.integer):
        raise ValueError(f"instances has type {instances.dtype}; expected whole numbers")
    if instances.min() < 0:
        raise ValueError(f"instances contains {instances.min()}; ids are 0 (background) or more")
    ids = np.unique(instances[instances > 0])
    if len(ids) > 255:
        raise ValueError(f"instances has {len(ids)} ids; a figure shows at most 255")
    return np.where(instances > 0, np.searchsorted(ids, instances) + 1, 0)


def check_foreground(foreground: Any, instances: np.ndarray) -> np.ndarray:
    """Return the mask of the pixels to store: the given one, else every instance's pixels.

    Raises:
        ValueError: If the mask is not boolean, not the picture's shape, or empty.
    """
    mask = instances > 0 if foreground is None else to_numpy(foreground)
    check_shape("foreground", mask, instances.shape)
    if mask.dtype != bool:
        raise ValueError(f"foreground has type {mask.dtype}; expected bool")
    if not mask.any():
        name = "instances" if foreground is None else "foreground"
        raise ValueError(f"{name} marks no pixel; expected at least one")
    return mask


def check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless an array has exactly this shape."""
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}; expected {shape}")


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise ValueError if an array is not numeric or holds NaN or infinity."""
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise ValueError(f"{name} has type {values.dtype}; expected numbers")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(f"{name} has {bad} values that are NaN or infinite; expected none")


def check_positive(name: str, value: float) -> float:
    """Return a number, or raise ValueError unless it is finite and above 0."""
    value = float(value)
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {value:g}; expected a finite number above 0")
    return value


def check_whole(name: str, value: Any, low: int, high: int, rule: str = "") -> int:
    """Return a whole number, or raise ValueError unless it is from ``low`` to ``high``.

    Args:
        name: What the argument is called.
        value: The argument.
        low: Smallest value allowed.
        high: Largest value allowed.
        rule: How the largest value comes about, for the message.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
    if not low <= value <= high:
        limit = f"{high} = {rule}" if rule else f"{high}"
        raise ValueError(f"{name} is {value}; expected a whole number from {low} to {limit}")
    return int(value)


def as_floats(values: np.ndarray) -> Any:
    """Return nested lists of short decimals, so that the stored text is small and stable."""
    return np.round(np.asarray(values, dtype=np.float64), 5).tolist()
