"""The RGB-D saliency sets: layouts, parts, both signs and depths of bits, soft masks, and what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib.data import DataError, DownloadError, RGBDSaliency
from lessons_lib.data.depth import LEAST
from lessons_lib.data.rgbd_saliency import relative_depth, salient, stored_size
from lessons_lib.saliency import as_pairs

from .labelled_trees import cut, lessons_data, noise, save

SIZE = (24, 32)
LAYOUTS = {  # folder of a part, names of the three folders
    "benchmark": ("{set}_{SPLIT}", ("RGB", "depth", "GT")),
    "parts": ("{set}/{split}set", ("Image", "Depth", "Mask")),
    "above": ("TestingSet/{set}_{SPLIT}", ("rgb", "Depth", "gt")),
    "prefixed": ("{set}", ("{split}_images", "{split}_depth", "{split}_masks")),
    "released": ("test_dataset/{set}", ("RGB", "depth", "GT")),
}


def scene(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, nearness in 0..255 (an object in front of a slope), and its mask, bool."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = (rows - 12) ** 2 + (columns - 8 - number % 12) ** 2 < 36
    near = np.where(mask, 255, 40 + 3 * rows)
    near[0, 0] = 0
    return noise(number, SIZE), near.astype(np.uint8), mask


def write(
    folder: Path,
    numbers: range,
    names: tuple[str, str, str] = ("RGB", "depth", "GT"),
    near: str = "bright",
    ending: str = ".png",
) -> Path:
    for number in numbers:
        pixels, nearest, mask = scene(number)
        stem = f"{number:06d}_left"
        save(folder / names[0] / f"{stem}.png", pixels)
        save(folder / names[1] / f"{stem}{ending}", nearest if near == "bright" else 255 - nearest)
        save(folder / names[2] / f"{stem}.png", (mask * 255).astype(np.uint8))
    return folder


@pytest.mark.parametrize("ending", [".png", ".bmp"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["NJU2K", "NLPR"])
def test_layouts_give_the_same_sample(tmp_path: Path, layout: str, name: str, ending: str) -> None:
    near = RGBDSaliency.SETS[name].near
    base, folders = LAYOUTS[layout]
    splits = {"train": range(4), "test": range(4, 7)}
    if layout == "released":
        del splits["train"]
    for split, numbers in splits.items():
        folder = tmp_path / base.format(set=name, split=split, SPLIT=split.upper())
        three = tuple(part.format(split=split) for part in folders)
        write(folder, numbers, (three[0], three[1], three[2]), near, ending)
    for split, numbers in splits.items():
        dataset = RGBDSaliency(name, split, tmp_path)
        assert dataset.ids == [f"{name}/{n:06d}_left" for n in numbers]
        assert dataset.sizes == [SIZE] * len(numbers) and dataset.near == near
        for number, sample in zip(numbers, dataset, strict=True):
            pixels, nearest, mask = scene(number)
            assert sample["image"].shape == (3, *SIZE)
            assert np.array_equal(
                sample["image"].permute(1, 2, 0).numpy(), pixels / np.float32(255)
            )
            expected = LEAST + (1 - LEAST) * nearest[None] / 255
            np.testing.assert_allclose(sample["depth"].numpy(), expected, atol=1e-6)
            assert sample["depth"].dtype == sample["saliency"].dtype == torch.float32
            assert np.array_equal(sample["saliency"].numpy(), mask[None].astype(np.float32))


def test_lists_divide_a_whole_set(tmp_path: Path) -> None:
    folder = write(tmp_path / "NJUD", range(6))
    with pytest.raises(FileNotFoundError, match=r"no train part of NJU2K here.*NJU2K_TRAIN"):
        RGBDSaliency("NJU2K", "train", tmp_path)
    (folder / "train.txt").write_text("000001_left.jpg\n\n000004_left\n")
    (folder / "NJUD_test.txt").write_text("\n".join(f"{n:06d}_left" for n in (0, 2, 3, 5)))
    ids = {split: RGBDSaliency("NJU2K", split, tmp_path).ids for split in ("train", "test")}
    assert ids["train"] == ["NJU2K/000001_left", "NJU2K/000004_left"] and len(ids["test"]) == 4
    (folder / "train.txt").write_text("000001_left\n7\n8\n")
    with pytest.raises(DataError, match=r"train\.txt: no file for 7 and 1 more in"):
        RGBDSaliency("NJU2K", "train", tmp_path)


def test_sets_for_testing_lie_as_they_are(tmp_path: Path) -> None:
    for name, folder in (("STERE", "SSB"), ("DES", "RGBD135"), ("SSD", "SSD"), ("LFSD", "LFSD")):
        write(tmp_path / folder, range(2), near=RGBDSaliency.SETS[name].near)
        assert len(RGBDSaliency(name, "test", tmp_path)) == 2
        with pytest.raises(ValueError, match=f"split is 'train', but {name} has no part"):
            RGBDSaliency(name, "train", tmp_path)


def test_numbers_of_pictures_are_those_of_the_papers() -> None:
    sets = RGBDSaliency.SETS
    assert sets["NJU2K"].train + sets["NLPR"].train == 2185
    assert sum(known.train + known.test for known in sets.values()) == 5229


def test_sixteen_bits_have_holes_and_eight_do_not() -> None:
    rng = np.random.default_rng(0)
    millimetres = rng.integers(500, 4500, SIZE).astype(np.uint16)
    millimetres[:5] = 0
    near = relative_depth(millimetres, "dark")
    assert (near[:5] == 0).all() and (near[5:] > 0).all()
    nearest = millimetres[5:].argmin()
    assert near[5:].ravel()[nearest] == 1 and np.isclose(near[5:].min(), LEAST)
    order = np.argsort(millimetres[5:].ravel(), kind="stable")
    assert (np.diff(near[5:].ravel()[order]) <= 0).all()
    filled = relative_depth(millimetres, "dark", holes=False)
    assert (filled[:5] == 1).all()
    eight = (millimetres // 20).astype(np.uint8)
    assert (relative_depth(eight, "dark")[:5] == 1).all()
    assert (relative_depth(eight, "dark", holes=True)[:5] == 0).all()
    bright = relative_depth(millimetres, "bright")
    np.testing.assert_allclose((bright + near)[5:], 1 + LEAST, atol=1e-6)
    assert (relative_depth(np.full(SIZE, 7, np.uint8), "dark") == 1).all()
    assert (relative_depth(np.zeros(SIZE, np.uint16), "dark") == 0).all()
    assert relative_depth(millimetres, "dark").dtype == np.float32


def test_soft_edges_fall_to_the_nearer_side(tmp_path: Path) -> None:
    """As pysodmetrics takes a truth: above 128 of 255."""
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(salient(values), values > 128)
    assert np.array_equal(salient((values > 128).astype(np.uint8)), values > 128)
    assert as_pairs(values, values).truth[0].equal(torch.from_numpy(salient(values)))
    wide = np.array([[32767, 32768, 32769, 65535]], np.uint16)
    assert salient(wide).tolist() == [[False, False, True, True]]
    large = Image.fromarray((scene(0)[2] * 255).astype(np.uint8)).resize((320, 240))
    smooth = np.asarray(large.resize(SIZE[::-1], Image.Resampling.BILINEAR))
    assert len(np.unique(smooth)) > 10
    assert set(np.unique(salient(smooth))) == {False, True}


def test_the_sign_can_be_turned_round_and_the_check_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "rgbd_saliency" / "NJU2K_TEST", range(12), near="dark")
    write(tmp_path / "rgbd_saliency" / "SIP", range(12), near="dark")
    folder = tmp_path / "rgbd_saliency"
    wrong, right = (
        RGBDSaliency("NJU2K", "test", folder),
        RGBDSaliency("NJU2K", "test", folder, near="dark"),
    )
    np.testing.assert_allclose(wrong[3]["depth"] + right[3]["depth"], 1 + LEAST, atol=1e-6)
    assert lessons_data("check", "rgbd-saliency", "--root", tmp_path) == 0
    said = capsys.readouterr().out
    assert "NJU2K: the salient object is the nearer part in 0 of 12 pictures" in said
    assert "near='dark'" in said and "SIP: the salient" not in said
    assert "note: SIP test: 12 pictures; papers have 929" in said
    assert "24 pictures (12 NJU2K test, 12 SIP test), no problems" in said


def test_every_problem_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "rgbd_saliency" / "LFSD", range(8))
    rng = np.random.default_rng(0)
    (folder / "depth" / "000000_left.png").unlink()
    (folder / "GT" / "000001_left.png").unlink()
    (folder / "RGB" / "000001_left.png").unlink()
    save(folder / "GT" / "000002_left.png", np.zeros((5, 6), np.uint8))
    save(folder / "depth" / "000003_left.png", rng.integers(0, 255, (*SIZE, 3)).astype(np.uint8))
    cut(folder / "GT" / "000004_left.png")
    save(folder / "GT" / "000005_left.png", np.zeros(SIZE, np.uint8))
    save(folder / "GT" / "000006_left.png", np.full(SIZE, 255, np.uint8))
    save(folder / "depth" / "000007_left.png", np.full(SIZE, 9, np.uint8))
    with pytest.raises(DataError, match=r"000000_left has no depth \(and 1 more"):
        RGBDSaliency("LFSD", "test", tmp_path / "rgbd_saliency")
    assert lessons_data("check", "rgbd-saliency", "--root", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    for text in (
        "000000_left.png: 000000_left has no depth",
        "000001_left.png: 000001_left has no image and truth",
        "000002_left.png: is 6×5, but its picture",
        "000003_left.png: is in colour; expected one channel",
        "000004_left.png: ",
        "000005_left.png: marks nothing as salient",
        "000006_left.png: marks everything as salient",
        "000007_left.png: has one value only",
    ):
        assert any(text in line for line in lines), text


def test_mismatched_pictures_can_be_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "SSD", range(4))
    save(folder / "GT" / "000002_left.png", np.zeros((5, 6), np.uint8))
    everything = RGBDSaliency("SSD", "test", tmp_path)
    with pytest.raises(DataError, match=r"GT/000002_left\.png: is 6×5"):
        everything[2]
    fitting = RGBDSaliency("SSD", "test", tmp_path, skip_mismatched=True)
    assert len(everything) == 4 and "SSD/000002_left" not in fitting.ids and len(fitting) == 3


def test_bmp_of_one_and_three_channels_and_broken(tmp_path: Path) -> None:
    folder = write(tmp_path / "SSD", range(2), ending=".bmp")
    _, near, _ = scene(0)
    Image.fromarray(np.repeat(near[..., None], 3, -1)).save(folder / "depth" / "000000_left.bmp")
    dataset = RGBDSaliency("SSD", "test", tmp_path)
    assert np.allclose(dataset[0]["depth"][0], LEAST + (1 - LEAST) * near / 255, atol=1e-6)
    assert stored_size(folder / "depth" / "000001_left.bmp") == SIZE
    cut(folder / "depth" / "000001_left.bmp", 200)
    with pytest.raises(DataError, match=r"000001_left\.bmp: cannot be decoded as BMP"):
        dataset[1]
    (folder / "depth" / "000001_left.bmp").write_bytes(b"BM12")
    with pytest.raises(DataError, match="truncated BMP, 4 bytes"):
        dataset[1]


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "SSD", range(2))
    save(folder / "depth" / "000000_left.bmp", scene(0)[1])
    with pytest.raises(DataError, match=r"000000_left\.png: 000000_left\.bmp has the same name"):
        RGBDSaliency("SSD", "test", tmp_path)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    for arguments, message in (
        ({"name": "NJU"}, "name is 'NJU'"),
        ({"name": "NJU2K", "split": "val"}, "split is 'val'"),
        ({"name": "NJU2K", "near": "white"}, "near is 'white'; expected one of bright, dark"),
    ):
        with pytest.raises(ValueError, match=message):
            RGBDSaliency(**arguments, root=tmp_path)
    with pytest.raises(FileNotFoundError, match="no test part of SIP here"):
        RGBDSaliency("SIP", "test", tmp_path)
    with pytest.raises(DownloadError, match="link to copies of NJU2K"):
        RGBDSaliency("SIP", "test", tmp_path / "empty", download=True)
    assert lessons_data("check", "rgbd-saliency", "--root", tmp_path) == 1
