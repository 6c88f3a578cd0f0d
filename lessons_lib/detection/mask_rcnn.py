"""Mask R-CNN: Faster R-CNN that also draws what it finds (He et al., ICCV 2017)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

import torchvision
from torch import Tensor

from .faster_rcnn import FasterRCNN, unscale
from .mask_head import MaskBranch, MaskHead, MaskLoss, paste_masks
from .pictures import PictureBatch
from .pyramid import PyramidRoIAlign, PyramidRoIPool
from .roi_heads import RoISettings
from .torchvision_copy import check_mask_layers, load_published

if TYPE_CHECKING:
    from typing_extensions import Self


class MaskRCNN(FasterRCNN):
    """:class:`~lessons_lib.detection.FasterRCNN` whose second stage has a mask branch.

    The multi-task loss is L = L_cls + L_box + L_mask (section 3), beside the two of the proposals.
    To predict, boxes come first: class, box and NMS; then one mask for each detection, that of its
    class, in the box that was found.

    Args:
        args, options: as :class:`~lessons_lib.detection.FasterRCNN`; ``branch`` is a
            :class:`~lessons_lib.detection.mask_head.MaskBranch`.
        mask_threshold: a pixel belongs to an object if its probability is greater.

    The state dict of torchvision's ``maskrcnn_resnet50_fpn`` loads into :meth:`resnet_fpn`.
    """

    learns_from: ClassVar[tuple[str, ...]] = ("masks",)

    def __init__(self, *args: Any, mask_threshold: float = 0.5, **options: Any) -> None:
        super().__init__(*args, **options)
        branch = self.roi_heads.branch
        if not isinstance(branch, MaskBranch):
            raise ValueError(f"branch is {branch}; it must be a MaskBranch")
        self.mask_threshold, self.aligned = mask_threshold, branch.aligned
        self.register_load_state_dict_pre_hook(_plain_names)

    def unscale(
        self, found: list[dict[str, Tensor]], pictures: PictureBatch
    ) -> list[dict[str, Tensor]]:
        """Detections in the pixels of the original pictures, with their masks.

        Besides ``boxes``, ``labels`` and ``scores`` each has ``masks`` bool (N, H, W), and
        ``mask_probabilities`` (N, m, m), the masks as the network draws them, each over its own box;
        :func:`~lessons_lib.detection.mask_head.paste_masks` makes the first of the second.
        """
        result = unscale(found, pictures)
        for one, size in zip(result, pictures.original_sizes, strict=True):
            one["masks"] = paste_masks(
                one["mask_probabilities"],
                one["boxes"],
                size,
                self.mask_threshold,
                aligned=self.aligned,
            )
        return result

    @classmethod
    def resnet_fpn(cls, num_classes: int = 91, name: str = "resnet50", **options: Any) -> Self:
        """The COCO model: :meth:`FasterRCNN.resnet_fpn` and masks of 28 × 28 from features of 14 × 14."""
        pool = PyramidRoIAlign(("c2", "c3", "c4", "c5"), 14)
        branch = MaskBranch(pool, MaskHead(256, num_classes))
        return super().resnet_fpn(num_classes, name, branch=branch, **options)

    @classmethod
    def coco(cls) -> Self:
        """:meth:`resnet_fpn` with the weights that torchvision publishes (34.6 mask AP on COCO val2017).

        Raises:
            RuntimeError: if they are not there and cannot be downloaded.
        """
        weights = torchvision.models.detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
        model = cls.resnet_fpn(len(weights.meta["categories"]), frozen_norm=True)
        return load_published(model, weights)

    @classmethod
    def from_torchvision(cls, model: torchvision.models.detection.FasterRCNN) -> Self:
        """A copy, in this code, of torchvision's Mask R-CNN with a ResNet and a pyramid.

        Raises:
            ValueError: for a model that is built otherwise, saying in what.
        """
        depth, width = check_mask_layers(model)
        heads: Any = model.roi_heads
        pool = PyramidRoIAlign(
            ("c2", "c3", "c4", "c5"),
            heads.mask_roi_pool.output_size[0],
            heads.mask_roi_pool.sampling_ratio,
        )
        num_classes = heads.mask_predictor.mask_fcn_logits.out_channels
        head = MaskHead(model.backbone.out_channels, num_classes, width, depth=depth)
        return cls._copy_of(model, MaskBranch(pool, head))

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        levels: tuple[str, ...] = ("c3", "c4", "c5"),
        align: bool = True,
        width: int = 32,
        canonical_size: float = 48,
        mask_width: int = 24,
        mask_loss: MaskLoss = "sigmoid",
        mask_aligned: bool = True,
        roi: RoISettings = RoISettings(samples=32),
        **options: Any,
    ) -> Self:
        """A model of some 400,000 parameters for pictures of about 128 px, for two processor cores.

        Args:
            num_classes: with the background.
            align: RoIAlign for boxes and masks; else RoI pooling.
            levels, width, canonical_size: as in :meth:`FasterRCNN.small`.
            mask_width: channels of the mask branch.
            mask_loss: see :func:`~lessons_lib.detection.mask_head.mask_loss`.
            mask_aligned: see :func:`~lessons_lib.detection.mask_head.mask_targets`; the half pixel that
                torchvision is off is a lot for things of 40 px.
            roi: settings of the second stage; at most 8 proposals a picture teach the masks, as these
                cost most of the time.
            **options: of :meth:`FasterRCNN.small`; there is always a pyramid.
        """
        kind = PyramidRoIAlign if align else PyramidRoIPool
        # one point a bin: "nearly as effective" as four (section 3), and a quarter of the work
        pool = kind(levels, 14, 1, canonical_size=canonical_size, canonical_level=3)
        branch = MaskBranch(
            pool, MaskHead(width, num_classes, mask_width), mask_loss, aligned=mask_aligned
        )
        return super().small(
            num_classes,
            levels=levels,
            align=align,
            width=width,
            canonical_size=canonical_size,
            roi=roi,
            branch=branch,
            **options,
        )


def _plain_names(module: MaskRCNN, state: dict[str, Any], *_: Any) -> None:
    """torchvision's names of the mask branch, of its older and newer versions, as ours."""
    for name in list(state):
        plain = re.sub(
            r"roi_heads\.mask_head\.mask_fcn(\d+)\.",
            lambda found: f"roi_heads.branch.head.convolutions.{int(found[1]) - 1}.",
            name,
        )
        plain = re.sub(
            r"roi_heads\.mask_head\.(\d+)\.0\.", r"roi_heads.branch.head.convolutions.\1.", plain
        )
        plain = plain.replace("roi_heads.mask_predictor.", "roi_heads.branch.head.")
        if plain != name:
            state[plain] = state.pop(name)
