"""The nuclei: layouts, split, kinds, crops; and the facts of the real pictures where they are."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import DataLoader

from lessons_lib.data import DataError, Nuclei, NucleiCrops, normalize_image
from lessons_lib.data.instance_crops import _labels_at, _mirror
from lessons_lib.data.nuclei import KINDS, kind_of

from .nuclei_trees import Picture, blobs, example, merged_tree, original_tree, save

Tree = Callable[[Path, dict[str, Picture]], Path]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return merged_tree(tmp_path_factory.mktemp("merged"), example())


@pytest.mark.parametrize("tree", [merged_tree, original_tree])
def test_both_layouts_give_the_same_samples(tmp_path: Path, tree: Tree) -> None:
    pictures = example()
    nuclei = Nuclei(tree(tmp_path, pictures), split="all")
    assert nuclei.ids == sorted(pictures)
    for sample, size in zip((nuclei[i] for i in range(len(nuclei))), nuclei.sizes, strict=True):
        pixels, labels = pictures[sample["id"]]
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
        assert sample["image"].dtype == torch.float32
        assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), rgb / np.float32(255))
        assert sample["instances"].dtype == torch.int64
        assert np.array_equal(sample["instances"].numpy(), labels)
        assert size == labels.shape
        assert sample["kind"] == nuclei.kinds[nuclei.ids.index(sample["id"])]


@pytest.mark.parametrize("where", ["dev", "stage1_train"])
def test_found_in_subfolders(tmp_path: Path, where: str) -> None:
    tree = merged_tree if where == "dev" else original_tree
    tree(tmp_path / where, {"a": blobs(0)})
    assert Nuclei(tmp_path, split="all").ids == ["a"]


def test_later_mask_wins_and_hidden_ones_leave_no_gap(tmp_path: Path) -> None:
    pixels, _ = blobs(0, (20, 20))
    original_tree(tmp_path, {"a": (pixels, np.zeros((20, 20), np.int32))})
    for name, rows in {"1": slice(0, 5), "2": slice(6, 8), "3": slice(4, 10)}.items():
        mask = np.zeros((20, 20), np.uint8)
        mask[rows] = 255
        save(tmp_path / "a" / "masks" / f"{name}.png", mask)
    instances = Nuclei(tmp_path, split="all")[0]["instances"]
    assert instances[:, 0].tolist() == [1] * 4 + [2] * 6 + [0] * 10


def test_gaps_in_labels_are_closed(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[:5], labels[10:] = 700, 12
    merged_tree(tmp_path, {"a": (blobs(0, (20, 20))[0], labels)})
    instances = Nuclei(tmp_path, split="all")[0]["instances"]
    assert torch.equal(instances, torch.tensor(np.where(labels == 700, 2, labels // 12)))


def test_split_is_by_id_alone_whatever_else_is_there(merged: Path, tmp_path: Path) -> None:
    train, test = Nuclei(merged), Nuclei(merged, split="test")
    assert sorted(train.ids + test.ids) == Nuclei(merged, split="all").ids
    assert test.ids == [i for i in sorted(example()) if zlib.crc32(i.encode()) % 5 == 4]
    assert test.ids, "the example has pictures in both halves"
    few = {
        name: picture for name, picture in example().items() if name in [*test.ids[:1], "small0"]
    }
    merged_tree(tmp_path, few)
    assert set(Nuclei(tmp_path, split="test").ids) <= set(test.ids)


def test_kinds(merged: Path) -> None:
    nuclei = Nuclei(merged, split="all")
    assert nuclei.kind_counts() == {
        "fluorescence-small": 8,
        "fluorescence-large": 4,
        "stained": 4,
    }
    assert Nuclei(merged, split="all", kinds="stained").ids == [f"purple{i}" for i in range(4)]
    assert len(Nuclei(merged, split="all", kinds=KINDS[:2])) == 12
    assert kind_of(np.full((10, 10), 40000, np.uint16)) == "stained"


def test_arguments_are_named(merged: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val'"):
        Nuclei(merged, split="val")
    with pytest.raises(ValueError, match="kinds has"):
        Nuclei(merged, kinds=["purple"])
    with pytest.raises(FileNotFoundError, match="lessons data fetch nuclei"):
        Nuclei(tmp_path)


def test_missing_labels_and_pictures_are_named(tmp_path: Path) -> None:
    merged_tree(tmp_path / "m", {"a": blobs(0), "b": blobs(1)})
    (tmp_path / "m" / "labels" / "a.png").unlink()
    with pytest.raises(DataError, match=r"images/a\.png: its labels .* missing"):
        Nuclei(tmp_path / "m")
    (tmp_path / "m" / "images" / "a.png").unlink()
    (tmp_path / "m" / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"labels/b\.png: its picture .* missing"):
        Nuclei(tmp_path / "m")
    original_tree(tmp_path / "o", {"a": blobs(0)})
    (tmp_path / "o" / "a" / "images" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a/images/a\.png: the picture is missing"):
        Nuclei(tmp_path / "o")


@pytest.mark.parametrize("tree", [merged_tree, original_tree])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_truncated_files_are_named(tmp_path: Path, tree: Tree, part: str) -> None:
    tree(tmp_path, {"a": blobs(0)})
    folder = "masks" if part == "labels" and tree is original_tree else part
    path = next(tmp_path.rglob(f"{folder}/*.png"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=path.name):
        Nuclei(tmp_path, split="all")[0]


@pytest.mark.parametrize("tree", [merged_tree, original_tree])
def test_other_size_is_named(tmp_path: Path, tree: Tree) -> None:
    tree(tmp_path, {"a": blobs(0)})
    folder = "masks" if tree is original_tree else "labels"
    path = next(tmp_path.rglob(f"{folder}/*.png"))
    save(path, np.ones((61, 80), np.uint8))
    with pytest.raises(DataError, match=rf"{path.name}: is 80×61, but .* is 80×60"):
        Nuclei(tmp_path, split="all")[0]


def test_coloured_labels_are_refused(tmp_path: Path) -> None:
    merged_tree(tmp_path, {"a": blobs(0)})
    save(tmp_path / "labels" / "a.png", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(DataError, match=r"labels/a\.png: has the colour mode RGB"):
        Nuclei(tmp_path, split="all")[0]


# --- crops ------------------------------------------------------------------------------------


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k] for k in a)


def test_crop_is_a_function_of_seed_and_index(merged: Path) -> None:
    nuclei = Nuclei(merged, split="all")
    first, second = (NucleiCrops(nuclei, size=48, length=12, seed=7) for _ in range(2))
    backwards = [second[i] for i in reversed(range(12))][::-1]
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    assert all(same(first[i], backwards[i]) for i in range(12))
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    other = NucleiCrops(nuclei, size=48, length=12, seed=8)
    assert not any(same(first[i], other[i]) for i in range(12))
    with pytest.raises(IndexError):
        first[12]


def test_workers_change_nothing(merged: Path) -> None:
    crops = NucleiCrops(Nuclei(merged, split="all"), size=32, length=10)
    alone = list(DataLoader(crops, batch_size=5))
    shared = list(DataLoader(crops, batch_size=5, num_workers=2))
    assert all(same(a, b) for a, b in zip(alone, shared, strict=True))


@pytest.mark.parametrize("size", [24, 128])
@pytest.mark.parametrize("augment", [True, False])
def test_crops_keep_the_vocabulary(merged: Path, size: int, augment: bool) -> None:
    nuclei = Nuclei(merged, split="all")
    crops = NucleiCrops(nuclei, size=size, length=30, augment=augment, min_area=8)
    for index in range(30):
        crop = crops[index]
        assert crop["image"].shape == (3, size, size) and crop["image"].dtype == torch.float32
        assert crop["image"].min() >= 0 and crop["image"].max() <= 1
        areas = torch.bincount(crop["instances"].flatten())[1:]
        assert crop["instances"].dtype == torch.int64 and (areas >= 8).all()
        name, number = crop["id"].split("#")
        assert name in nuclei.ids and int(number) == index
        assert crop["kind"] == nuclei.kinds[nuclei.ids.index(name)]


def test_plain_crop_of_full_size_is_the_normalised_picture(tmp_path: Path) -> None:
    nuclei = Nuclei(merged_tree(tmp_path, {"a": blobs(0, (64, 64))}), split="all")
    crop = NucleiCrops(nuclei, size=64, augment=False, min_area=1)[0]
    assert torch.equal(crop["instances"], nuclei[0]["instances"])
    torch.testing.assert_close(crop["image"], normalize_image(nuclei[0]["image"]))


def test_labels_follow_the_image_through_augmentation(tmp_path: Path) -> None:
    """On pictures whose brightness is the label, image and labels of any crop agree."""
    labels = blobs(3, (90, 90), 6)[1]
    pixels = np.where(labels > 0, 250, 5).astype(np.uint8)
    nuclei = Nuclei(merged_tree(tmp_path, {"a": (pixels, labels)}), split="all")
    for crop in NucleiCrops(nuclei, size=64, length=40, min_area=1):
        foreground = crop["instances"] > 0
        if not foreground.any() or foreground.all():
            continue
        values = crop["image"][0]
        threshold = (values.min() + values.max()) / 2
        agreement = ((values > threshold) == foreground).float().mean()
        assert agreement > 0.98


def test_ids_are_never_mixed_by_scaling(merged: Path) -> None:
    """Nearest neighbour: where ids 1 and 3 touch, no 2 appears between them."""
    labels = np.zeros((40, 40), np.int32)
    labels[:, :20], labels[:, 20:] = 1, 3
    for side in (23, 40):
        for target in (16, 61):
            at = np.floor((np.arange(target) + 0.5) * side / target).astype(int)
            assert set(np.unique(_labels_at(labels, at, at))) <= {1, 3}


def test_mirror_is_reflection_without_the_edge() -> None:
    for length in (1, 2, 3, 7):
        positions = np.arange(-20, 30)
        expected = np.pad(np.arange(length), (20, 30 - length), mode="reflect")
        assert np.array_equal(_mirror(positions, length), expected)


def test_mirror_images_are_instances_of_their_own_unless_they_touch() -> None:
    labels = np.zeros((10, 10), np.int32)
    labels[4:6, 0:2] = 1  # touches the left edge
    labels[4:6, 5:7] = 2
    result = _labels_at(labels, np.arange(10), np.arange(-9, 10))
    row = result[4]
    assert row[8:11].tolist() == [1, 1, 1]
    assert set(row[14:16]) == {2} and len(set(row[3:5])) == 1 and row[3] not in (0, 1, 2)


def test_balance(merged: Path) -> None:
    nuclei = Nuclei(merged, split="all")
    probability = NucleiCrops(nuclei, balance=1.0)._probability
    for kind in KINDS:
        share = sum(p for p, k in zip(probability, nuclei.kinds, strict=True) if k == kind)
        assert share == pytest.approx(1 / 3)
    assert np.allclose(NucleiCrops(nuclei, balance=0.0)._probability, 1 / len(nuclei))


@pytest.mark.parametrize(
    "arguments",
    [{"size": 0}, {"seed": -1}, {"scale": (1.4, 0.7)}, {"balance": 2.0}, {"length": -1}],
)
def test_crop_arguments_are_named(merged: Path, arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        NucleiCrops(Nuclei(merged), **arguments)


# --- the real pictures ------------------------------------------------------------------------


def test_facts_of_the_real_pictures(data_root: Callable[[str], Path]) -> None:
    folder = data_root("dsb2018")
    facts = json.loads((folder / "dev" / "facts.json").read_text())
    nuclei = Nuclei(folder, split="all")
    counts, components, area = [], 0, 0
    for index in range(len(nuclei)):
        instances = nuclei[index]["instances"].numpy()
        counts.append(int(instances.max()))
        components += ndimage.label(instances > 0, structure=np.ones((3, 3)))[1]
        area += int((instances > 0).sum())
    assert len(counts) == facts["instances_per_image"]["n"] == 337
    assert sum(counts) == facts["instances_per_image"]["sum"] == 11700
    assert (min(counts), max(counts)) == (1, 313)
    assert components == facts["components_of_union_8conn"] == 9929
    assert sum(counts) - components == facts["touching_lost"] == 1771
    assert area == facts["area_px"]["sum"]
    assert nuclei.kind_counts() == {
        "fluorescence-small": 257,
        "fluorescence-large": 61,
        "stained": 19,
    }
    assert (len(Nuclei(folder)), len(Nuclei(folder, split="test"))) == (266, 71)


def test_original_layout_equals_the_merged_one(data_root: Callable[[str], Path]) -> None:
    folder = data_root("dsb2018")
    merged_form = Nuclei(folder, split="all")
    original = Nuclei(folder / "as_found_examples", split="all")
    assert len(original) == 8
    for index, name in enumerate(original.ids):
        assert same(original[index], merged_form[merged_form.ids.index(name)])
