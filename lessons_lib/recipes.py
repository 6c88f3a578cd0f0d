"""Every recipe of the book by name."""

from __future__ import annotations

from lessons_lib.convolution.recipes import DigitsClassifier
from lessons_lib.detection.hog_recipes import ShapesHOG
from lessons_lib.detection.mask_public_recipes import (
    CocoMaskRCNN,
    NucleiMaskRCNN,
    PennFudanMaskRCNN,
)
from lessons_lib.detection.mask_recipes import ShapesMaskRCNN, SticksMaskRCNN
from lessons_lib.detection.one_stage_recipes import BloodCellsRetinaNet, ShapesRetinaNet, ShapesSSD
from lessons_lib.detection.public_recipes import BloodCellsFasterRCNN, VOCFasterRCNN
from lessons_lib.detection.recipes import ShapesFasterRCNN
from lessons_lib.detection.region_recipes import ShapesFastRCNN, ShapesRCNN, ShapesSPPNet
from lessons_lib.detection.yolo_recipes import ShapesYOLOv1, ShapesYOLOv2, ShapesYOLOv3
from lessons_lib.embedding.folder_recipe import SpatialFolder
from lessons_lib.embedding.paper_recipes import (
    CityscapesDiscriminative,
    CityscapesSpatial,
    CVPPPDiscriminative,
)
from lessons_lib.embedding.recipes import NucleiDiscriminative, SticksDiscriminative
from lessons_lib.embedding.spatial_recipes import DiscsSpatial, NucleiSpatial, SticksSpatial
from lessons_lib.saliency.digits_recipes import DigitsCVAE, DigitsVAE
from lessons_lib.saliency.fusion_recipes import RGBDFusion
from lessons_lib.saliency.paper_recipes import NJU2KUCNet
from lessons_lib.saliency.rgbd_recipes import (
    RGBDVAE,
    RGBDDeterministic,
    RGBDMonteCarloDropout,
    RGBDUCNet,
)
from lessons_lib.semantic.public_recipes import (
    VOCFCN,
    CamVidPSPNet,
    CityscapesPSPNet,
    NYUv2PSPNet,
    VOCPSPNet,
    WhiteBloodCellsFCN,
)
from lessons_lib.semantic.recipes import ContextPSPNet, NucleiUNet, ShapesFCN, ShapesUNet
from lessons_lib.training import Recipe

__all__ = ["RECIPES", "get_recipe"]

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        DigitsClassifier(),
        ShapesFCN(32),
        ShapesFCN(16),
        ShapesFCN(8),
        WhiteBloodCellsFCN(),
        VOCFCN(),
        ShapesUNet(),
        NucleiUNet(),
        ContextPSPNet(),
        VOCPSPNet(),
        CityscapesPSPNet(),
        CamVidPSPNet(),
        NYUv2PSPNet(),
        ShapesHOG(),
        ShapesRCNN(),
        ShapesSPPNet(),
        ShapesFastRCNN(),
        ShapesFasterRCNN(),
        BloodCellsFasterRCNN(),
        VOCFasterRCNN(),
        ShapesSSD(),
        ShapesRetinaNet(),
        BloodCellsRetinaNet(),
        ShapesYOLOv1(),
        ShapesYOLOv2(),
        ShapesYOLOv3(),
        ShapesMaskRCNN(),
        SticksMaskRCNN(),
        NucleiMaskRCNN(),
        PennFudanMaskRCNN(),
        CocoMaskRCNN(),
        SticksDiscriminative(),
        NucleiDiscriminative(),
        CityscapesDiscriminative(),
        CVPPPDiscriminative(),
        SticksSpatial(),
        DiscsSpatial(),
        NucleiSpatial(),
        CityscapesSpatial(),
        SpatialFolder(),
        DigitsVAE(),
        DigitsCVAE(),
        RGBDFusion("early"),
        RGBDFusion("late"),
        RGBDFusion("cross"),
        RGBDUCNet(),
        RGBDDeterministic(),
        RGBDMonteCarloDropout(),
        RGBDVAE(),
        NJU2KUCNet(),
    )
}
"""All recipes by name, in the order of the book.

:meta hide-value:
"""


def get_recipe(name: str) -> Recipe:
    """The recipe of that name; its words may come in any order, as ``discriminative-nuclei``.

    Raises:
        ValueError: naming those there are.
    """
    words = sorted(name.split("-"))
    for known, recipe in RECIPES.items():
        if sorted(known.split("-")) == words:
            return recipe
    raise ValueError(f"recipe {name!r} is unknown; there are: {', '.join(RECIPES)}")
