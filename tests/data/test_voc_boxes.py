"""Pascal VOC's boxes: lists, pixel convention, flags, what is not there."""

from pathlib import Path

import pytest
import torch

from lessons_lib.data import VOC, DataError

from .labelled_trees import lessons_data, noise, save
from .test_voc import kit

OBJECT = """
<object>
  <name>{name}</name><pose>Left</pose><truncated>{truncated}</truncated>
  <difficult>{difficult}</difficult>
  <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
  <part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>
</object>"""
PAGE = """<annotation>
<folder>VOC2012</folder><filename>{id}.jpg</filename>
<source><database>The VOC2007 Database</database></source>
<size><width>50</width><height>40</height><depth>3</depth></size><segmented>0</segmented>
{objects}
</annotation>
"""
OBJECTS = {
    "2007_000032": [("aeroplane", 0, 1, (1, 1, 50, 40)), ("person", 1, 0, (5, 6, 5, 6))],
    "2008_000001": [("tvmonitor", 0, 0, ("10.5", 2, "20.25", 30))],
    "2007_000033": [("background", 0, 0, (1, 2, 3, 4))],
    "000005": [],
}
LISTS = {"train": ["2007_000032", "2008_000001"], "val": ["000005"], "trainval": [*OBJECTS]}


def boxed_kit(folder: Path, year: str = "2012") -> Path:
    """The kit with boxes: numbers from 1, both ends included, a person's part, decimals."""
    kit(folder, year)
    base = folder / "VOCdevkit" / f"VOC{year}"
    for part in ("ImageSets/Main", "Annotations"):
        (base / part).mkdir()
    for split, names in LISTS.items():
        (base / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
    for name, rows in OBJECTS.items():
        objects = "".join(
            OBJECT.format(name=label, difficult=difficult, truncated=truncated, box=box)
            for label, difficult, truncated, box in rows
        )
        (base / "Annotations" / f"{name}.xml").write_text(PAGE.format(id=name, objects=objects))
        save(base / "JPEGImages" / f"{name}.jpg", noise(3, (40, 50)))
    return folder


def test_samples(tmp_path: Path) -> None:
    voc = VOC(boxed_kit(tmp_path), task="detection")
    assert voc.ids == LISTS["train"] and voc.sizes == [(40, 50)] * 2
    first, second = voc
    assert set(first) == {"image", "boxes", "labels", "difficult", "truncated", "ignore", "id"}
    # 1..50 are all fifty columns; 5..5 is the one pixel number 5
    assert first["boxes"].tolist() == [[0, 0, 50, 40], [4, 5, 5, 6]]
    assert first["boxes"].dtype == torch.float32 and first["labels"].dtype == torch.int64
    assert [VOC.CLASSES[k] for k in first["labels"]] == ["aeroplane", "person"]
    assert first["difficult"].tolist() == first["ignore"].tolist() == [False, True]
    assert first["truncated"].tolist() == [True, False]
    assert second["boxes"].tolist() == [[9.5, 1, 20.25, 30]]
    assert second["labels"].tolist() == [20]
    (nothing,) = VOC(tmp_path, split="val", task="detection")
    assert nothing["boxes"].shape == (0, 4) and nothing["ignore"].shape == (0,)
    assert nothing["ignore"].dtype == torch.bool
    assert VOC(tmp_path, split="train")[0]["semantic"].shape == (40, 50), "both tasks, one kit"


def test_convert_by_name(tmp_path: Path) -> None:
    boxed_kit(tmp_path / "voc")
    assert (
        lessons_data("convert", "voc", tmp_path / "a.csv", "--to", "boxes", "--root", tmp_path) == 0
    )
    rows = (tmp_path / "a.csv").read_text().splitlines()
    assert "2007_000032.jpg,50,40,person,4,5,5,6,1,0,0,0" in rows
    assert "2008_000001.jpg,50,40,tvmonitor,9.5,1,20.25,30,0,0,0,0" in rows


def test_year_2007_has_its_test_part(tmp_path: Path) -> None:
    base = boxed_kit(tmp_path, "2007") / "VOCdevkit" / "VOC2007"
    (base / "ImageSets" / "Main" / "test.txt").write_text("000005\n")
    assert VOC(tmp_path, split="test", year="2007", task="detection").ids == ["000005"]


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxed_kit(tmp_path / "voc")
    voc = VOC(tmp_path / "voc", split="trainval", task="detection")
    with pytest.raises(
        DataError, match=r"000033\.xml: object 1 is a 'background'; expected one of a"
    ):
        voc[2]
    with pytest.raises(ValueError, match="task is 'detection'"):
        voc.read(0)
    with pytest.raises(ValueError, match="those pictures have no boxes"):
        VOC(tmp_path / "voc", split="trainaug", task="detection")
    assert lessons_data("check", "voc", "--root", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "1 train with boxes" not in printed and "2 train with boxes" in printed
    assert "000005.xml: has no object" in printed and printed.rstrip().endswith(" 1 problem")
    (tmp_path / "voc" / "VOCdevkit" / "VOC2012" / "Annotations" / "000005.xml").unlink()
    with pytest.raises(DataError, match=r"000005\.xml: is missing, but is in the list of val"):
        VOC(tmp_path / "voc", split="val", task="detection")
