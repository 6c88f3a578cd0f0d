"""A small convolutional network for digits."""

from __future__ import annotations

from torch import Tensor, nn


class DigitsCNN(nn.Module):
    """Three convolutions, two poolings, one linear layer: a small relative of LeNet-5.

    LeCun, Bottou, Bengio and Haffner, 1998, section II, has average pooling, squashing functions and 32 x 32 px; this
    has max-pooling, ReLUs and 8 x 8 px.

    Args:
        channels: of the first convolution; the other two have twice and four times as many.
        classes: number of scores.

    ``forward(image (B, 1, 8, 8))`` → ``{"scores": (B, classes)}``.

    Raises:
        ValueError: for sizes below 1, and for images of another size.
    """

    def __init__(self, channels: int = 16, classes: int = 10) -> None:
        super().__init__()
        for name, value in [("channels", channels), ("classes", classes)]:
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1),  # (B, c, 8, 8)
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, padding=1),  # (B, 2c, 8, 8)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 2c, 4, 4)
            nn.Conv2d(2 * channels, 4 * channels, 3, padding=1),  # (B, 4c, 4, 4)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 4c, 2, 2)
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(16 * channels, classes))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        if image.ndim != 4 or image.shape[1:] != (1, 8, 8):
            raise ValueError(f"image has shape {tuple(image.shape)}; it must be (B, 1, 8, 8)")
        return {"scores": self.classifier(self.features(image))}
