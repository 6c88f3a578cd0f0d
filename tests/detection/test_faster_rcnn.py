"""Our Faster R-CNN is torchvision's: the same weights give the same boxes, scores and losses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lessons_lib.detection import FasterRCNN

SIZES = ((96, 128), (150, 90), (64, 64), (129, 201))
"""Heights and widths; none but one is a multiple of 32, and two are turned by the scaling."""


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Heads that say something and statistics that differ, so that a mistake cannot hide in zeros."""
    generator = torch.Generator().manual_seed(seed)

    def normal(value: Tensor) -> Tensor:
        return torch.randn(value.shape, generator=generator)

    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif name.endswith("running_mean"):
            value.copy_(0.2 * normal(value))
        elif "bn3.weight" in name:  # else 16 residual blocks would pile up to thousands
            value.copy_(0.2 + 0.1 * normal(value))
        elif "bn" in name and name.endswith("bias"):
            value.copy_(0.1 * normal(value))
        elif "cls_logits" in name:
            value.copy_(0.2 * normal(value))
        elif "cls_score.weight" in name:
            value.copy_(0.1 * normal(value))
        elif "bbox_pred" in name:
            value.copy_(0.05 * normal(value))


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def theirs(request: pytest.FixtureRequest) -> Iterator[nn.Module]:
    frozen = {"norm_layer": torchvision.ops.FrozenBatchNorm2d}
    options = frozen if request.param == "resnet50" else {}
    backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name=request.param, weights=None, trainable_layers=5, **options
    )
    torch.manual_seed(0)
    model = torchvision.models.detection.FasterRCNN(
        backbone, 12, min_size=128, max_size=180, box_score_thresh=0.0, box_detections_per_img=800
    )
    randomise(model)
    yield model.eval()


def pictures(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, *size, generator=generator) for size in SIZES]


def test_the_same_detections(theirs: nn.Module) -> None:
    ours = FasterRCNN.from_torchvision(theirs)
    images = pictures()
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    labels = torch.cat([e["labels"] for e in expected])
    assert len(labels) >= 20 and len(labels.unique()) >= 5, "too little to compare"
    assert len(torch.cat([e["scores"] for e in expected]).unique()) > len(labels) // 2
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        torch.testing.assert_close(other["labels"], one["labels"])
        torch.testing.assert_close(other["boxes"], one["boxes"], atol=1e-4, rtol=0)
        torch.testing.assert_close(other["scores"], one["scores"], atol=1e-4, rtol=0)


TARGETS = [
    {"boxes": [[5.0, 6, 60, 70], [30, 20, 100, 90], [0, 0, 128, 96]], "labels": [1, 4, 11]},
    {"boxes": [[10.0, 60, 50, 140]], "labels": [2]},
    {"boxes": [], "labels": []},
    {"boxes": [[100.0, 20, 190, 120], [3, 4, 9, 12]], "labels": [3, 5]},
]


def targets() -> list[dict[str, Tensor]]:
    return [
        {
            "boxes": torch.tensor(t["boxes"]).reshape(-1, 4),
            "labels": torch.tensor(t["labels"], dtype=torch.int64),
        }
        for t in TARGETS
    ]


def test_the_same_losses_and_gradients(theirs: nn.Module) -> None:
    """The samples are drawn in the same order, so one seed gives both the same."""
    ours = FasterRCNN.from_torchvision(theirs)
    images = pictures(1)
    results = []
    for model in (theirs, ours):
        model.train()
        model.zero_grad()
        torch.manual_seed(5)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            losses = model(images, targets())
        sum(losses.values()).backward()
        norms = {
            name.replace(".0.0.", ".").replace("blocks.", ""): float(p.grad.norm())
            for name, p in model.named_parameters()
            if p.grad is not None and ("bbox_pred" in name or "fc6" in name or "layer2" in name)
        }
        results.append(({k: float(v.detach()) for k, v in losses.items()}, norms))
    theirs.eval()
    (expected, expected_norms), (found, norms) = results
    renamed = {
        "rpn_objectness": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
    }
    assert found == pytest.approx({k: expected[v] for k, v in renamed.items()}, rel=1e-4)
    assert norms == pytest.approx(expected_norms, rel=1e-3)


def test_published_names_load_old_and_new() -> None:
    """The file that torchvision publishes is older than the sequences round its convolutions."""
    theirs = torchvision.models.detection.fasterrcnn_resnet50_fpn(
        weights=None, weights_backbone=None
    )
    state = theirs.state_dict()
    ours = FasterRCNN.resnet_fpn(91)
    ours.load_state_dict(state)
    old = {
        re.sub(r"((?:inner|layer)_blocks\.\d+|rpn\.head\.conv)(?:\.0)+\.", r"\1.", name): value
        for name, value in state.items()
    }
    assert "backbone.fpn.inner_blocks.0.weight" in old and "rpn.head.conv.weight" in old
    ours.load_state_dict(old)
    assert "rpn.head.conv.weight" in ours.state_dict()
    assert torch.equal(ours.rpn.head.conv.weight, state["rpn.head.conv.0.0.weight"])
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({k: v for k, v in state.items() if "bbox_pred" not in k})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("fasterrcnn_resnet50_fpn_v2", "box_head FastRCNNConvFCHead; it must be a TwoMLPHead"),
        (
            "fasterrcnn_mobilenet_v3_large_fpn",
            "body of IntermediateLayerGetter; it must be a ResNet",
        ),
    ],
)
def test_other_models_are_refused(build: str, message: str) -> None:
    with torch.device("meta"):
        model = getattr(torchvision.models.detection, build)(weights=None, weights_backbone=None)
    with pytest.raises(ValueError, match=message):
        FasterRCNN.from_torchvision(model)
