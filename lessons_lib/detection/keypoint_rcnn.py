"""Keypoint R-CNN: Mask R-CNN whose masks have one pixel (He et al., ICCV 2017, section 5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import torchvision
from torch import Tensor

from .faster_rcnn import FasterRCNN, unscale
from .keypoint_head import KeypointBranch, KeypointHead
from .pictures import PictureBatch
from .pyramid import PyramidRoIAlign
from .roi_heads import RoISettings
from .targets import resize_keypoints
from .torchvision_copy import check_keypoint_layers, load_published

if TYPE_CHECKING:
    from typing_extensions import Self


class KeypointRCNN(FasterRCNN):
    """:class:`~lessons_lib.detection.FasterRCNN` whose second stage has a keypoint branch.

    A keypoint is a mask of one pixel, so the branch is that of masks with finer maps, and a softmax
    over places instead of a sigmoid a place. All classes share the K keypoints. It costs the boxes of
    people some accuracy (table 5: 53.6 AP with masks, 50.7 with keypoints, where Faster R-CNN has 52.5).

    Args:
        args, options: as :class:`~lessons_lib.detection.FasterRCNN`; ``branch`` is a
            :class:`~lessons_lib.detection.keypoint_head.KeypointBranch`.

    Targets need ``keypoints`` (N, K, 3): x, y, px, and visibility, 0 = not labelled. The state dict of
    torchvision's ``keypointrcnn_resnet50_fpn`` loads into :meth:`resnet_fpn`.
    """

    learns_from: ClassVar[tuple[str, ...]] = ("keypoints",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if not isinstance(self.roi_heads.branch, KeypointBranch):
            raise ValueError(f"branch is {self.roi_heads.branch}; it must be a KeypointBranch")
        self.register_load_state_dict_pre_hook(_plain_names)

    def unscale(
        self, found: list[dict[str, Tensor]], pictures: PictureBatch
    ) -> list[dict[str, Tensor]]:
        """Detections in the pixels of the original pictures; besides ``boxes``, ``labels`` and ``scores``
        each has ``keypoints`` (N, K, 3) and ``keypoint_scores`` (N, K), logits that are not bounded."""
        result = unscale(found, pictures)
        for one, size, original in zip(
            result, pictures.sizes, pictures.original_sizes, strict=True
        ):
            one["keypoints"] = resize_keypoints(one["keypoints"], size, original)
        return result

    @classmethod
    def resnet_fpn(
        cls, num_classes: int = 2, name: str = "resnet50", *, keypoints: int = 17, **options: Any
    ) -> Self:
        """The COCO model: :meth:`FasterRCNN.resnet_fpn` and maps of 56 × 56 from features of 14 × 14."""
        pool = PyramidRoIAlign(("c2", "c3", "c4", "c5"), 14)
        branch = KeypointBranch(pool, KeypointHead(256, keypoints))
        return super().resnet_fpn(num_classes, name, branch=branch, **options)

    @classmethod
    def coco(cls) -> Self:
        """:meth:`resnet_fpn` with the weights that torchvision publishes: people and their 17 keypoints
        (54.6 box AP and 65.0 keypoint AP on COCO val2017).

        Raises:
            RuntimeError: if they are not there and cannot be downloaded.
        """
        weights = torchvision.models.detection.KeypointRCNN_ResNet50_FPN_Weights.COCO_V1
        model = cls.resnet_fpn(
            len(weights.meta["categories"]),
            keypoints=len(weights.meta["keypoint_names"]),
            frozen_norm=True,
        )
        return load_published(model, weights)

    @classmethod
    def from_torchvision(cls, model: torchvision.models.detection.FasterRCNN) -> Self:
        """A copy, in this code, of torchvision's Keypoint R-CNN with a ResNet and a pyramid.

        Raises:
            ValueError: for a model that is built otherwise, saying in what.
        """
        depth, width = check_keypoint_layers(model)
        heads: Any = model.roi_heads
        pool = PyramidRoIAlign(
            ("c2", "c3", "c4", "c5"),
            heads.keypoint_roi_pool.output_size[0],
            heads.keypoint_roi_pool.sampling_ratio,
        )
        keypoints = heads.keypoint_predictor.kps_score_lowres.out_channels
        head = KeypointHead(model.backbone.out_channels, keypoints, width, depth=depth)
        return cls._copy_of(model, KeypointBranch(pool, head))

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        keypoints: int = 3,
        levels: tuple[str, ...] = ("c3", "c4", "c5"),
        width: int = 32,
        canonical_size: float = 48,
        keypoint_width: int = 24,
        keypoint_depth: int = 4,
        roi: RoISettings = RoISettings(samples=32),
        **options: Any,
    ) -> Self:
        """A model of some 400,000 parameters for pictures of about 128 px, for two processor cores.

        Args:
            num_classes: with the background.
            keypoints: of every object.
            levels, width, canonical_size, roi: as in :meth:`FasterRCNN.small`.
            keypoint_width, keypoint_depth: of the keypoint branch.
            **options: of :meth:`FasterRCNN.small`; there is always a pyramid.
        """
        pool = PyramidRoIAlign(levels, 14, 1, canonical_size=canonical_size, canonical_level=3)
        head = KeypointHead(width, keypoints, keypoint_width, depth=keypoint_depth)
        return super().small(
            num_classes,
            levels=levels,
            width=width,
            canonical_size=canonical_size,
            roi=roi,
            branch=KeypointBranch(pool, head),
            **options,
        )


def _plain_names(module: KeypointRCNN, state: dict[str, Any], *_: Any) -> None:
    """torchvision's names of the keypoint branch as ours; its convolutions alternate with ReLUs."""
    for name in list(state):
        plain = re.sub(
            r"roi_heads\.keypoint_head\.(\d+)\.",
            lambda found: f"roi_heads.branch.head.convolutions.{int(found[1]) // 2}.",
            name,
        )
        plain = plain.replace("roi_heads.keypoint_predictor.", "roi_heads.branch.head.")
        if plain != name:
            state[plain] = state.pop(name)
