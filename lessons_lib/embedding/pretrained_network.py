"""A dilated residual network with ImageNet's weights that gives every pixel a class and a vector."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from lessons_lib.backbones import ResNet, SmallResNet
from lessons_lib.semantic import PSPNet  # as UNetTrunk in network.py: borrowed from Part II


class EmbeddingPSPNet(nn.Module):
    """PSPNet whose scores are those of the classes and, beside them, the pixel's embedding.

    De Brabandere, Neven and Van Gool (2017) use ResNet-38, a wide residual network of stride 8 (Wu, Shen, Van
    den Hengel, 2016), whose weights were trained on Cityscapes. What comes nearest here is PSPNet's dilated ResNet,
    stride 8 too, with ImageNet's weights.

    Args:
        embedding_dim: D, length of a pixel's vector.
        classes: number of semantic classes, the background included.
        backbone: ``"resnet50"``, ``"resnet101"`` or ``"small"``.

    ``forward(image (B, 3, H, W))`` → ``{"semantic": (B, classes, H, W) scores, "embedding": (B, D, H, W)}``.

    Raises:
        ValueError: for sizes below 1 or an unknown backbone.
    """

    def __init__(
        self, embedding_dim: int = 8, classes: int = 2, backbone: str = "resnet50"
    ) -> None:
        super().__init__()
        for name, value in [("embedding_dim", embedding_dim), ("classes", classes)]:
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self.classes = classes
        self.net = PSPNet(classes + embedding_dim, backbone, auxiliary=False)

    @property
    def backbone(self) -> ResNet | SmallResNet:
        """The residual network."""
        return self.net.backbone

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        both = self.net(image)["semantic"]
        return {"semantic": both[:, : self.classes], "embedding": both[:, self.classes :]}

    def load_resnet(self, state: Mapping[str, Tensor]) -> None:
        """Puts ImageNet's ResNet into the backbone, without its last layer."""
        self.backbone.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
