"""What all checkers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class NotYet(AssertionError):  # a verdict for a reader, not an error of the program
    """The answer is not right yet; the message says what to look at."""


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's answer; whatever it raises becomes a :class:`NotYet` that names it."""
    name = getattr(function, "__name__", "your answer")  # a partial or a module has none
    try:
        answer = function(*arguments)
    except NotYet:
        raise
    except Exception as error:
        raise NotYet(f"{name} stopped with {type(error).__name__}: {error}") from error
    if answer is None or answer is ...:
        raise NotYet(f"{name} returned nothing yet: end it with a return statement.")
    return answer


def number(answer: Any, what: str) -> float:
    """The answer as one number."""
    yours = f"{what} should be one number; yours is a {type(answer).__name__}"
    try:
        value = answer.detach().numpy() if isinstance(answer, Tensor) else np.asarray(answer)
    except (RuntimeError, TypeError, ValueError):  # a list of unlike things
        raise NotYet(f"{yours}.") from None
    if value.size != 1 or value.dtype.kind not in "fiu":
        raise NotYet(f"{yours} of shape {value.shape}.")
    result = float(value.reshape(()))
    if not np.isfinite(result):
        raise NotYet(f"{what} is {result}; look for a division by zero.")
    return result


def close(a: float, b: float) -> bool:
    """Equal up to rounding."""
    return abs(a - b) <= 1e-5 * max(1.0, abs(b))


def numbers(answer: Any, what: str, ndim: int = 1) -> NDArray[np.float64]:
    """The answer as an array of finite numbers with so many axes, not empty."""
    yours = f"{what} should be {'a row' if ndim == 1 else 'an array'} of numbers; yours is"
    try:
        value = answer.detach().numpy() if isinstance(answer, Tensor) else np.asarray(answer)
    except (RuntimeError, TypeError, ValueError):  # rows of unlike lengths
        raise NotYet(f"{yours} a {type(answer).__name__}.") from None
    if value.dtype.kind not in "fiu" or value.ndim != ndim or value.size == 0:
        raise NotYet(f"{yours} a {type(answer).__name__} of shape {value.shape}.")
    if not np.isfinite(value).all():
        raise NotYet(f"{what} holds numbers that are not finite; look for a division by zero.")
    return value.astype(np.float64)
