"""Part II: every pixel gets a class."""

from lessons_lib.semantic.unet import UNet, UNetTrunk

__all__ = ["UNet", "UNetTrunk"]
