"""Part V: salient objects, how they are scored, and networks that give more than one answer."""

from .gaussians import DiagonalGaussian

__all__ = ["DiagonalGaussian"]
