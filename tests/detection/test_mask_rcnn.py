"""Our Mask R-CNN is torchvision's: the same weights give the same boxes, scores, masks and losses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lessons_lib.data import Shapes
from lessons_lib.detection import FasterRCNN, MaskRCNN
from lessons_lib.detection.mask_head import MaskBranch, MaskHead, paste_masks
from lessons_lib.detection.pyramid import PyramidRoIPool
from lessons_lib.detection.targets import targets_of
from lessons_lib.training import collate
from tests.detection.test_faster_rcnn import SIZES, pictures, randomise
from tests.detection.test_faster_rcnn import targets as box_targets
from tests.detection.test_small_detector import AWKWARD, target

DETECTION = torchvision.models.detection
RENAMED = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "class": "loss_classifier",
    "box": "loss_box_reg",
    "mask": "loss_mask",
}


def balance_classes(model: Any) -> None:
    """Takes each class's mean score off, else one class would win everywhere."""
    layer, scores = model.roi_heads.box_predictor.cls_score, []
    handle = layer.register_forward_hook(lambda *call: scores.append(call[2]))
    with torch.no_grad():
        model(pictures())
        handle.remove()
        layer.bias.sub_(torch.cat(scores).mean(0))


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    torch.manual_seed(0)
    model = DETECTION.maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=12,
        min_size=128,
        max_size=180,
        box_score_thresh=0.0,
        box_detections_per_img=20,
        box_nms_thresh=0.1,
        rpn_post_nms_top_n_test=200,
        box_batch_size_per_image=32,
    )
    randomise(model)
    balance_classes(model.eval())
    with torch.no_grad():  # else all probabilities are about a half
        model.roi_heads.mask_predictor.mask_fcn_logits.weight.mul_(3)
    return model


def test_the_same_detections_and_masks(theirs: nn.Module) -> None:
    ours = MaskRCNN.from_torchvision(theirs)
    images = pictures()
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    labels = torch.cat([e["labels"] for e in expected])
    assert len(labels) >= 20 and len(labels.unique()) >= 5, "too little to compare"
    for one, other, size in zip(expected, found, SIZES, strict=True):
        assert torch.equal(other["labels"], one["labels"])
        for name in ("boxes", "scores"):
            torch.testing.assert_close(other[name], one[name], atol=1e-4, rtol=0)
        pasted = paste_masks(other["mask_probabilities"], other["boxes"], size, None)
        torch.testing.assert_close(pasted[:, None], one["masks"], atol=1e-4, rtol=0)
        assert float(pasted.std()) > 0.1, "masks without anything in them"
        assert other["masks"].dtype == torch.bool and other["masks"].shape == pasted.shape
        clear = (pasted - 0.5).abs() > 1e-4
        assert torch.equal(other["masks"][clear], (one["masks"][:, 0] > 0.5)[clear])


def targets(seed: int = 0) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {**t, "masks": torch.rand(len(t["boxes"]), *size, generator=generator) > 0.4}
        for t, size in zip(box_targets(), SIZES, strict=True)
    ]


def test_the_same_losses_and_gradients(theirs: nn.Module) -> None:
    ours = MaskRCNN.from_torchvision(theirs)
    images = pictures(1)
    results = []
    for model in (theirs, ours):
        model.train()
        model.zero_grad()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            losses = model(images, targets())
        sum(losses.values()).backward()
        heads: Any = model.roi_heads
        branch = heads.branch.head if model is ours else heads.mask_predictor
        layers = [branch.conv5_mask.weight, branch.mask_fcn_logits.bias]
        layers += [model.rpn.head.cls_logits.weight, model.backbone.body.layer4[0].conv1.weight]
        grads = [p.grad.flatten() for p in layers]
        results.append(({k: float(v.detach()) for k, v in losses.items()}, torch.cat(grads)))
    theirs.eval()
    (expected, expected_grads), (found, grads) = results
    assert found == pytest.approx({k: expected[v] for k, v in RENAMED.items()}, rel=1e-4)
    torch.testing.assert_close(grads, expected_grads, atol=1e-4, rtol=1e-3)
    assert float(grads.abs().max()) > 0.01


def test_published_names_load_old_and_new() -> None:
    """The file that torchvision publishes numbers its mask convolutions from 1."""
    with torch.device("meta"):
        model = DETECTION.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        ours = MaskRCNN.resnet_fpn(91)
    state = {k: torch.full_like(v, 0.5, device="cpu") for k, v in model.state_dict().items()}
    state["roi_heads.mask_head.2.0.weight"][0, 0] = 3.0
    old = {}
    for name, value in state.items():
        name = re.sub(r"((?:inner|layer)_blocks\.\d+|rpn\.head\.conv)(?:\.0)+\.", r"\1.", name)
        found = re.fullmatch(r"roi_heads\.mask_head\.(\d)\.0\.(.*)", name)
        if found:
            name = f"roi_heads.mask_head.mask_fcn{int(found[1]) + 1}.{found[2]}"
        old[name] = value
    assert "roi_heads.mask_head.mask_fcn4.bias" in old
    for names in (state, old):
        ours.load_state_dict(names, assign=True)
        branch = ours.roi_heads.branch
        assert isinstance(branch, MaskBranch)
        third = branch.head.convolutions[2]
        assert torch.equal(third.weight, state["roi_heads.mask_head.2.0.weight"])
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({k: v for k, v in state.items() if "mask_fcn_logits" not in k})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("fasterrcnn_resnet50_fpn", "model is a FasterRCNN without a mask branch"),
        ("maskrcnn_resnet50_fpn_v2", "normalises in its mask head"),
    ],
)
def test_other_models_are_refused(build: str, message: str) -> None:
    with torch.device("meta"):
        model = getattr(DETECTION, build)(weights=None, weights_backbone=None)
    with pytest.raises(ValueError, match=message):
        MaskRCNN.from_torchvision(model)


def test_a_branch_is_needed() -> None:
    with pytest.raises(ValueError, match="branch is None; it must be a MaskBranch"):
        FasterRCNN.small.__func__(MaskRCNN, 3)  # type: ignore[attr-defined]


# The small model: awkward targets, sizes, precision, learning


def small(seed: int = 0, **options: Any) -> MaskRCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MaskRCNN.small(
            6, channels=(8, 8, 16, 16), width=8, head_width=16, mask_width=8, **options
        )


def with_masks(one: dict[str, Tensor], size: tuple[int, int] = (64, 64)) -> dict[str, Tensor]:
    return {**one, "masks": torch.ones(len(one["boxes"]), *size, dtype=torch.bool)}


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", AWKWARD)
def test_losses_and_gradients_stay_finite(name: str, loss: str) -> None:
    model = small(mask_loss=loss).train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = model(images, [with_masks(AWKWARD[name]), with_masks(AWKWARD["no boxes"])])
    assert losses.keys() == RENAMED.keys()
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key


def test_a_target_without_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="a target has no masks; it has boxes, labels"):
        small().train()(torch.rand(1, 3, 64, 64), [AWKWARD["no boxes"]])


def test_masks_of_pictures_of_any_size() -> None:
    model = small().eval()
    images = [torch.rand(3, *size) for size in [(64, 96), (33, 47), (7, 5)]]
    with torch.inference_mode():
        found = model(images)
    assert sum(len(one["boxes"]) for one in found) > 20
    for image, one in zip(images, found, strict=True):
        count = len(one["boxes"])
        assert one["masks"].shape == (count, *image.shape[1:])
        assert one["mask_probabilities"].shape == (count, 28, 28)
        size = (image.shape[1], image.shape[2])
        pasted = paste_masks(one["mask_probabilities"], one["boxes"], size, None, aligned=True)
        clear = (pasted - 0.5).abs() > 1e-5
        assert torch.equal(one["masks"][clear], pasted[clear] > 0.5)


def test_the_threshold_is_the_models() -> None:
    model, image = small().eval(), torch.rand(1, 3, 64, 64)
    areas = []
    with torch.inference_mode():
        for threshold in (0.3, 0.5, 0.7):
            model.mask_threshold = threshold
            areas.append(int(model(image)[0]["masks"].sum()))
    assert areas[0] > areas[1] > areas[2]


def test_nothing_found() -> None:
    model = small(seed=1).eval()
    nn.init.zeros_(model.roi_heads.box_predictor.cls_score.weight)
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.bias.copy_(torch.tensor([9.0, 0, 0, 0, 0, 0]))
    with torch.inference_mode():
        (found,) = model(torch.rand(1, 3, 40, 50))
    assert found["masks"].shape == (0, 40, 50) and found["masks"].dtype == torch.bool
    assert found["mask_probabilities"].shape == (0, 28, 28)


@pytest.mark.parametrize("training", [True, False])
def test_half_precision(training: bool) -> None:
    model = small().train(training)
    images = torch.rand(2, 3, 64, 64)
    given = [with_masks(target([[8.0, 8, 40, 40]], [1])), with_masks(target([], []))]
    with torch.autocast("cpu", torch.bfloat16):
        result = model(images, given) if training else model(images)
    if training:
        sum(result.values()).backward()
        assert all(value.dtype == torch.float32 for value in result.values())
    else:
        assert all(one["mask_probabilities"].dtype == torch.float32 for one in result)


def test_pooling_is_a_choice_for_boxes_and_masks() -> None:
    model = small(align=False)
    branch = model.roi_heads.branch
    assert isinstance(branch, MaskBranch) and isinstance(branch.head, MaskHead)
    assert isinstance(branch.pool, PyramidRoIPool)
    assert isinstance(model.roi_heads.pool, PyramidRoIPool)
    assert branch.pool.output_size == 14 and model.roi_heads.pool.output_size == 7


def test_the_default_size() -> None:
    assert sum(p.numel() for p in MaskRCNN.small(6).parameters()) == 397_643


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_it_learns_to_draw_one_picture(loss: str) -> None:
    sample = Shapes(1, size=64, radius=(12, 20), count=2, seed=3)[0]
    batch = collate([sample])
    model = small(mask_loss=loss).train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(100):
            terms = model(batch["image"], targets_of(batch, "masks"))
            optimizer.zero_grad()
            sum(terms.values()).backward()
            optimizer.step()
    with torch.inference_mode():
        (found,) = model.eval()(batch["image"])
    best = found["masks"][:5].flatten(1).float()
    truth = sample["masks"].flatten(1).float()
    shared = truth @ best.T
    iou = shared / (truth.sum(1)[:, None] + best.sum(1) - shared)
    assert bool((iou.amax(1) > 0.7).all()), iou
