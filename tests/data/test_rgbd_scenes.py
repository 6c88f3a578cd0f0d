import numpy as np
import pytest
import torch

from lessons_lib.data import RGBDScenes, nearness, sense_depth
from lessons_lib.data.rgbd_scenes import most_shares


def test_a_sample_is_what_the_vocabulary_says():
    sample = RGBDScenes(3, size=48, seed=4)[2]
    assert sample["image"].shape == (3, 48, 48) and sample["image"].dtype == torch.float32
    assert sample["image"].min() >= 0 and sample["image"].max() <= 1
    for name in ("depth", "true_depth", "saliency", "majority"):
        assert sample[name].shape == (1, 48, 48) and sample[name].dtype == torch.float32
    assert sample["annotations"].shape == (3, 1, 48, 48)
    assert set(sample["annotations"].unique().tolist()) == {0, 1}
    labels = sample["instances"]
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))
    assert sample["id"] == "rgbd-4-2"


def test_depends_on_seed_and_index_only():
    a, b = RGBDScenes(5, seed=1), RGBDScenes(900, seed=1)
    b[3]
    for name in ("image", "depth", "saliency"):
        assert torch.equal(a[4][name], b[4][name])
    assert not torch.equal(a[4]["image"], RGBDScenes(5, seed=2)[4]["image"])
    assert not torch.equal(a[4]["image"], a[3]["image"])


def test_each_annotator_chooses_by_what_is_in_the_picture():
    for i in range(40):
        sample = RGBDScenes(40, noise=0, sensor=0, seed=3)[i]
        labels, depth = sample["instances"], sample["true_depth"][0]
        ids = range(1, int(labels.max()) + 1)
        nearest = min(ids, key=lambda k: depth[labels == k].mean())
        largest = max(ids, key=lambda k: (labels == k).sum())
        wall = sample["image"][:, labels == 0].mean(1)
        colour = {k: sample["image"][:, labels == k].mean(1) for k in ids}
        contrast = {k: float((colour[k] - wall).norm()) for k in ids}
        near, large, striking = sample["annotations"][:, 0]
        assert torch.equal(near, (labels == nearest).float())
        assert torch.equal(large, (labels == largest).float())
        # what was drawn is what is seen, as far as light and clipped colours allow
        chosen = int(labels[striking > 0][0])
        assert contrast[chosen] >= max(contrast.values()) - 0.06


def test_one_annotation_a_picture_drawn_with_the_shares():
    scenes = RGBDScenes(400, size=32, seed=5)
    drawn = {name: 0 for name in RGBDScenes.ANNOTATORS}
    told_apart = 0
    for i in range(400):
        sample = scenes[i]
        same = [torch.equal(sample["saliency"], a) for a in sample["annotations"]]
        assert any(same)
        if sum(same) == 1:
            told_apart += 1
            drawn[RGBDScenes.ANNOTATORS[same.index(True)]] += 1
    assert drawn["nearness"] > drawn["size"] * 0.9 and min(drawn.values()) > 0.1 * told_apart


def test_the_majority_is_what_most_shares_choose():
    shares = RGBDScenes.SHARES
    assert most_shares([1, 2, 3], shares) == 0
    assert most_shares([1, 2, 2], shares) == 1  # 0.30 + 0.25 > 0.45
    assert most_shares([1, 2, 1], shares) == 0
    sample = RGBDScenes(1, seed=9)[0]
    assert any(torch.equal(sample["majority"], a) for a in sample["annotations"])


def test_one_annotator_can_be_kept_to():
    for position, name in enumerate(RGBDScenes.ANNOTATORS):
        sample = RGBDScenes(2, annotator=name, seed=6)[1]
        assert torch.equal(sample["saliency"], sample["annotations"][position])


def test_annotators_disagree_in_most_pictures():
    scenes = RGBDScenes(200, size=32, seed=7)
    modes = [len({a.numpy().tobytes() for a in scenes[i]["annotations"]}) for i in range(200)]
    share = np.bincount(modes, minlength=4) / 200
    assert share[1] < 0.3 and share[2] > 0.3 and share[3] > 0.05


def test_the_camera_errs_as_cameras_do():
    scenes = RGBDScenes(30, seed=8)
    holes, near, far = [], [], []
    for i in range(30):
        sample = scenes[i]
        depth, truth = sample["depth"][0], sample["true_depth"][0]
        measured = depth > 0
        holes.append(float((~measured).float().mean()))
        flat = measured & (sample["instances"] == 0)
        error = (depth - truth).abs()
        near.append(float(error[flat & (truth < 2.8)].median()))
        far.append(float(error[flat & (truth > 3.2)].median()))
    assert 0.03 < np.mean(holes) < 0.12
    assert np.nanmean(far) > 1.2 * np.nanmean(near)  # noise grows with the distance


def test_a_perfect_camera_measures_the_truth():
    sample = RGBDScenes(1, sensor=0, seed=8)[0]
    assert torch.equal(sample["depth"], sample["true_depth"])


def test_the_shadow_lies_left_of_what_is_near():
    depth = np.full((64, 64), 3.0, np.float32)
    depth[20:40, 30:44] = 1.0
    never = np.random.default_rng(0)
    holes = np.mean([sense_depth(depth, never, 1.0)[24:36] == 0 for _ in range(40)], axis=(0, 1))
    # 4 px of disparity at one metre, a third of it at three: two pixels are not lit
    assert holes[28:30].min() > 0.9 and holes[46:52].max() < 0.3


def test_nearness_is_one_near_and_zero_only_where_nothing_was_measured():
    depth = torch.tensor([0.0, 0.2, 0.5, 2.5, 4.5, 9.0])
    expected = [0, 1, 1, 0.5, 1 / 255, 1 / 255]
    assert nearness(depth).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 16}, "size is 16"),
        ({"count": (0, 3)}, "count is 0"),
        ({"count": (4, 3)}, r"count is \(4, 3\)"),
        ({"noise": -1}, "noise is -1"),
        ({"sensor": -0.5}, "sensor is -0.5"),
        ({"annotator": "mood"}, "annotator is 'mood'"),
    ],
)
def test_arguments_that_make_no_scene(change, words):
    with pytest.raises(ValueError, match=words):
        RGBDScenes(1, **change)


def test_a_range_that_is_none():
    with pytest.raises(ValueError, match=r"nearest is 3.* farthest is 2"):
        nearness(torch.ones(1), 3.0, 2.0)
    with pytest.raises(IndexError, match="index is 3"):
        RGBDScenes(3)[3]


def test_nearness_of_what_was_not_measured():
    depth = torch.tensor([torch.nan, torch.inf, -torch.inf, -1.0, 2.5])
    assert nearness(depth).tolist() == pytest.approx([0, 0, 0, 0, 0.5])
