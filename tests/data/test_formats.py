"""Annotation formats: both ways, random and awkward input, independent decoders, broken files."""

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from lessons_lib.data import DataError
from lessons_lib.data.annotations import Annotations, MarkedObject, MarkedPicture
from lessons_lib.data.box_tables import box_from, box_to
from lessons_lib.data.contest_runs import decode_gaps, decode_starts, encode_gaps, encode_starts
from lessons_lib.data.cvat_xml import read_cvat, write_cvat
from lessons_lib.data.forms import FORMS, Choices, losses, recognise
from lessons_lib.data.outlines import mask_to_polygons
from lessons_lib.data.rle import decode_rle, encode_rle, polygons_to_rle
from lessons_lib.data.voc_xml import read_voc_xml, write_voc_xml

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))
NUMBER = st.one_of(
    st.integers(-3, 70).map(float),
    st.floats(0, 70, allow_subnormal=False).filter(lambda v: v == 0 or v > 1e-9),
)
NAMES = st.sampled_from(["cell", "white cell", 'a "b" <c> & d', "größer", "x,y;z"])


@st.composite
def boxed(draw: st.DrawFn) -> Annotations:
    """Pictures with boxes of any kind: empty ones, fractions, beyond the picture."""
    pictures = []
    for number in range(draw(st.integers(1, 3))):
        objects = tuple(
            MarkedObject(
                draw(NAMES),
                draw(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER)),
                difficult=draw(st.booleans()),
                truncated=draw(st.booleans()),
                occluded=draw(st.booleans()),
            )
            for _ in range(draw(st.integers(0, 4)))
        )
        size = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
        pictures.append(MarkedPicture(f"p{number}.png", size, objects))
    names = tuple(sorted({o.label for p in pictures for o in p.objects}))
    return Annotations(tuple(pictures), names)


@st.composite
def masked(draw: st.DrawFn) -> Annotations:
    """Pictures of objects that do not overlap, each with at least one pixel."""
    pictures = []
    for number in range(draw(st.integers(1, 3))):
        labels = draw(
            hnp.arrays(
                np.int32,
                st.tuples(st.integers(1, 9), st.integers(1, 9)),
                elements=st.integers(0, 4),
            )
        )
        labels = (
            np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
            if (labels == 0).any()
            else labels * 0
        )
        objects = []
        for value in range(1, labels.max() + 1):
            runs = encode_rle(labels == value)
            x, y, width, height = coco_mask.toBbox(
                coco_mask.frPyObjects(runs, *labels.shape)
            ).tolist()
            objects.append(MarkedObject("object", (x, y, x + width, y + height), runs))
        pictures.append(MarkedPicture(f"p{number}.png", labels.shape, tuple(objects)))
    return Annotations(tuple(pictures), ("object",))


def there_and_back(annotations: Annotations, form: str, path: Path, **choices: Any) -> Annotations:
    path = path / "x"
    if FORMS[form].folder:
        for old in path.rglob("*") if path.exists() else []:
            if old.is_file():
                old.unlink()
        for old in sorted(path.rglob("*"), reverse=True) if path.exists() else []:
            old.rmdir()
        path.mkdir(exist_ok=True)
    FORMS[form].write(path, annotations, Choices(**choices))
    return FORMS[form].read(path, Choices(**choices))


def plain(annotations: Annotations, *names: str) -> list[Any]:
    """File names, sizes, and of each object the class, the box and what else is named."""
    return [
        (
            p.file_name,
            tuple(p.size),
            [(o.label, o.box, *(getattr(o, n) for n in names)) for o in p.objects],
        )
        for p in annotations.pictures
    ]


@pytest.mark.parametrize("counting", ["pixels", "corners"])
@settings(max_examples=25, deadline=None)
@given(annotations=boxed())
def test_voc_and_back(
    tmp_path_factory: pytest.TempPathFactory, counting: str, annotations: Annotations
) -> None:
    folder = tmp_path_factory.mktemp("voc")
    back = there_and_back(annotations, "voc", folder, counting=counting)
    flags = ("difficult", "truncated", "occluded")
    assert plain(back, *flags) == plain(annotations, *flags) and back.classes == annotations.classes


@pytest.mark.parametrize("form", ["coco", "boxes", "cvat"])
@settings(max_examples=25, deadline=None)
@given(annotations=boxed())
def test_boxes_and_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, annotations: Annotations
) -> None:
    back = there_and_back(annotations, form, tmp_path_factory.mktemp(form))
    flags = ("occluded",) if form == "cvat" else ("difficult", "truncated", "occluded")
    if form == "coco":  # width = x2 - x1 is rounded, so x + width may differ in the last bit
        for a, b in zip(back.pictures, annotations.pictures, strict=True):
            for mine, theirs in zip(a.objects, b.objects, strict=True):
                assert mine.box == pytest.approx(theirs.box, rel=0, abs=1e-13)
        back = dataclasses.replace(
            annotations,
            pictures=tuple(
                dataclasses.replace(
                    a,
                    objects=tuple(
                        dataclasses.replace(o, box=p.box)
                        for o, p in zip(a.objects, b.objects, strict=True)
                    ),
                )
                for a, b in zip(back.pictures, annotations.pictures, strict=True)
            ),
            classes=back.classes,
        )
    assert plain(back, *flags) == plain(annotations, *flags) and back.classes == annotations.classes


@pytest.mark.parametrize(
    ("form", "masks"),
    [("coco", "as-found"), ("coco", "runs"), ("coco", "compressed"), ("coco", "polygons")]
    + [(form, "runs") for form in ("cvat", "panoptic", "labels")],
)
@settings(max_examples=25, deadline=None)
@given(annotations=masked())
def test_masks_and_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, masks: str, annotations: Annotations
) -> None:
    back = there_and_back(annotations, form, tmp_path_factory.mktemp(form), masks=masks)
    assert plain(back) == plain(annotations)
    for a, b in zip(back.pictures, annotations.pictures, strict=True):
        for mine, theirs in zip(a.objects, b.objects, strict=True):
            found = mine.segmentation
            if masks == "compressed":
                assert isinstance(found["counts"], str)
            if masks == "polygons":
                assert isinstance(found, list)
                found = polygons_to_rle(found, a.size)
            assert np.array_equal(decode_rle(found), decode_rle(theirs.segmentation))


@pytest.mark.parametrize("form", ["dsb", "siim"])
@settings(max_examples=25, deadline=None)
@given(annotations=masked())
def test_contest_files_and_back(
    tmp_path_factory: pytest.TempPathFactory, form: str, annotations: Annotations
) -> None:
    from PIL import Image

    folder = tmp_path_factory.mktemp(form)
    for picture in annotations.pictures:
        Image.new("L", picture.size[::-1]).save(folder / picture.file_name)
    back = there_and_back(annotations, form, folder, images=folder)
    assert plain(back) == plain(annotations)
    for a, b in zip(back.pictures, annotations.pictures, strict=True):
        for mine, theirs in zip(a.objects, b.objects, strict=True):
            assert np.array_equal(decode_rle(mine.segmentation), decode_rle(theirs.segmentation))


@settings(max_examples=20, deadline=None)
@given(annotations=boxed())
def test_yolo_and_back(tmp_path_factory: pytest.TempPathFactory, annotations: Annotations) -> None:
    from PIL import Image

    folder = tmp_path_factory.mktemp("yolo")
    for picture in annotations.pictures:
        Image.new("L", picture.size[::-1]).save(folder / picture.file_name)
    back = there_and_back(annotations, "yolo", folder, images=folder)
    assert back.classes == annotations.classes
    for a, b in zip(back.pictures, annotations.pictures, strict=True):
        assert (a.file_name, a.size) == (b.file_name, b.size)
        for mine, theirs in zip(a.objects, b.objects, strict=True):
            assert mine.label == theirs.label
            assert mine.box == pytest.approx(theirs.box, rel=0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    box=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER),
    form=st.sampled_from(["xyxy", "xywh", "cxcywh", "yolo"]),
)
def test_box_forms(box: tuple[float, float, float, float], form: str) -> None:
    size = (48, 64)
    assert box_from(box_to(box, form, size), form, size) == pytest.approx(box, rel=0, abs=1e-12)


def test_box_forms_by_hand() -> None:
    box = (10.0, 20.0, 40.0, 32.0)
    assert box_to(box, "xywh", (48, 64)) == (10, 20, 30, 12)
    assert box_to(box, "cxcywh", (48, 64)) == (25, 26, 30, 12)
    assert box_to(box, "yolo", (48, 64)) == (25 / 64, 26 / 48, 30 / 64, 12 / 48)
    for function in (box_to, box_from):
        with pytest.raises(ValueError, match="form is 'voc'; expected one of xyxy"):
            function(box, "voc", (48, 64))


# --- polygons -----------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(mask=MASKS)
def test_polygons_are_exact(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask)
    if not mask.any():
        assert polygons == []
        return
    parts = coco_mask.frPyObjects(polygons, *mask.shape)
    assert np.array_equal(coco_mask.decode(coco_mask.merge(parts)).astype(bool), mask)
    assert np.array_equal(decode_rle(polygons_to_rle(polygons, mask.shape)), mask)


def test_polygons_by_hand() -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    (square,) = mask_to_polygons(mask)
    assert sorted(zip(square[::2], square[1::2], strict=True)) == [(2, 1), (2, 4), (7, 1), (7, 4)]
    mask[2, 4] = False
    assert len(mask_to_polygons(mask)) == 2, "a ring is cut in two, since no polygon can be a hole"
    y, x = np.ogrid[:60, :60]
    disc = (y - 30) ** 2 + (x - 30) ** 2 < 25**2
    exact, rough = mask_to_polygons(disc), mask_to_polygons(disc, tolerance=1.5)
    assert len(rough[0]) < len(exact[0]) / 3
    kept = decode_rle(polygons_to_rle(rough, disc.shape))
    assert 0 < (kept != disc).mean() < 0.03
    for wrong in (np.zeros((2, 2)), np.zeros((1, 2, 2), bool)):
        with pytest.raises(DataError, match=r"expected bool \(H, W\)"):
            mask_to_polygons(wrong)
    with pytest.raises(DataError, match="tolerance is -1"):
        mask_to_polygons(mask, -1)


def test_a_mask_without_a_pixel(tmp_path: Path) -> None:
    runs = encode_rle(np.zeros((3, 4), bool))
    empty = MarkedPicture("a.png", (3, 4), (MarkedObject("x", (0, 0, 0, 0), runs),))
    annotations = Annotations((empty,), ("x",))
    for masks in ("runs", "compressed", "polygons"):
        back = there_and_back(annotations, "coco", tmp_path, masks=masks)
        found = back.pictures[0].objects[0].segmentation
        assert found is None if masks == "polygons" else not decode_rle(found).any()
    for form in ("cvat", "panoptic"):
        (tmp_path / form).mkdir()
        with pytest.raises(DataError, match=r"a.png: object 1 has a mask without a pixel"):
            FORMS[form].write(tmp_path / form, annotations, Choices())


# --- the contests' runs -------------------------------------------------------------------------


def plain_starts(text: str, size: tuple[int, int]) -> np.ndarray:
    """Pixel by pixel: starts from 1, down the columns."""
    mask = np.zeros(size, bool)
    numbers = [int(v) for v in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for place in range(start - 1, start - 1 + length):
            mask[place % size[0], place // size[0]] = True
    return mask


def plain_gaps(text: str, size: tuple[int, int]) -> np.ndarray:
    """As the contest's own function does it: walk on by the gap, fill, walk on by the length."""
    mask, place = np.zeros(size, bool), 0
    numbers = [] if text == "-1" else [int(v) for v in text.split()]
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        for offset in range(length):
            mask[(place + gap + offset) % size[0], (place + gap + offset) // size[0]] = True
        place += gap + length
    return mask


@settings(max_examples=60, deadline=None)
@given(mask=MASKS)
def test_contest_runs(mask: np.ndarray) -> None:
    for encode, decode, loop in (
        (encode_starts, decode_starts, plain_starts),
        (encode_gaps, decode_gaps, plain_gaps),
    ):
        text = encode(mask)
        assert np.array_equal(loop(text, mask.shape), mask)
        assert np.array_equal(decode(text, mask.shape), mask)


def test_contest_runs_by_hand() -> None:
    mask = np.zeros((3, 3), bool)
    mask[1:, 0] = mask[0, 1] = mask[2, 2] = True
    assert encode_starts(mask) == "2 3 9 1"
    assert encode_gaps(mask) == "1 3 4 1"
    assert encode_starts(mask & False) == "" and encode_gaps(mask & False) == "-1"
    assert not decode_gaps(" -1 ").any() and decode_gaps("-1").shape == (1024, 1024)
    assert decode_gaps("5 2 0 3", (4, 3)).sum() == 5, "a gap of nothing is allowed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "expected pairs"),
        ("a b", "expected pairs"),
        ("-3 4", "expected pairs"),
        ("1 2.5", "expected pairs"),
        ("99999999999999999999 1", "expected pairs"),
        ("8 3", "leave the picture of 3×3"),
    ],
)
def test_broken_runs(text: str, message: str) -> None:
    for decode in (decode_starts, decode_gaps):
        with pytest.raises(DataError, match=message):
            decode(text, (3, 3))


def test_broken_absolute_runs() -> None:
    for text, message in (
        ("0 2", "leave the picture"),
        ("4 2 5 1", "overlap"),
        ("7 1 1 2", "order"),
    ):
        with pytest.raises(DataError, match=message):
            decode_starts(text, (3, 3))


# --- COCO ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("masks", ["runs", "compressed", "polygons"])
def test_pycocotools_reads_what_is_written(tmp_path: Path, masks: str) -> None:
    rng = np.random.default_rng(3)
    pictures, truth = [], []
    for number in range(3):
        stack = rng.random((4, 20, 30)) < 0.5
        runs = [encode_rle(mask) for mask in stack]
        objects = tuple(
            MarkedObject("ab"[k % 2], (k, 1, k + 5, 9), r, crowd=k == 3) for k, r in enumerate(runs)
        )
        pictures.append(MarkedPicture(f"{number}.jpg", (20, 30), objects))
        truth.append(stack)
    FORMS["coco"].write(
        tmp_path / "c.json", Annotations(tuple(pictures), ("b", "a")), Choices(masks=masks)
    )
    coco = COCO(tmp_path / "c.json")
    assert {c["name"]: c["id"] for c in coco.cats.values()} == {"b": 1, "a": 2}
    for number, stack in enumerate(truth, start=1):
        rows = coco.imgToAnns[number]
        for k, (row, mask) in enumerate(zip(rows, stack, strict=True)):
            assert np.array_equal(coco.annToMask(row).astype(bool), mask)
            assert row["area"] == mask.sum() and row["iscrowd"] == (k == 3)
            assert row["bbox"] == [k, 1, 5, 8] and row["category_id"] == 2 - k % 2


def test_coco_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 4, "width": 5, "license": 3}],
        "categories": [{"id": 90, "name": "x"}, {"id": 4, "name": "y"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 4, "bbox": [0, 1.5, 2, 2], "iscrowd": 0, "area": 3.7,
             "segmentation": [[0, 0, 2.5, 0, 2.5, 3]], "keypoints": [1, 2, 2],
             "attributes": {"occluded": True, "colour": "red"}},
        ],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(content))
    read = FORMS["coco"].read(tmp_path / "a.json", Choices())
    (thing,) = read.pictures[0].objects
    assert thing.occluded and thing.label == "y" and thing.box == (0, 1.5, 2, 3.5)
    FORMS["coco"].write(tmp_path / "b.json", read, Choices())
    assert json.loads((tmp_path / "b.json").read_text()) == content


COCO_FILE: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 4, "width": 5}],
    "categories": [{"id": 1, "name": "x"}],
    "annotations": [{"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": [{"id": 9, "category_id": 1}]}, "annotation 9 has no 'image_id'"),
        (
            {"annotations": [{"id": 9, "image_id": 2, "category_id": 1}]},
            "annotation 9 is of image 2",
        ),
        (
            {"annotations": [{"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]},
            "annotation 9: bbox is",
        ),
        ({"annotations": [3]}, "annotation 1 has no 'image_id'"),
        (
            {"images": [{"id": 1, "file_name": "a", "height": 0, "width": 2}]},
            "image 1: height is 0",
        ),
        ({"images": COCO_FILE["images"] * 2}, "its images have an id more than once"),
        ({"categories": [{"id": 1}]}, "category 1 has no 'name'"),
        (
            {"categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]},
            "two categories have one name",
        ),
        ({"categories": {}}, "has no list 'categories'"),
    ],
)
def test_broken_coco(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**COCO_FILE, **change}))
    with pytest.raises(DataError, match=f"a.json: {message}"):
        FORMS["coco"].read(path, Choices())


# --- CVAT ---------------------------------------------------------------------------------------

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>cell</name><attributes/></label><label><name>other</name></label></labels></task></meta>
<image id="0" name="a.jpg" width="8" height="6">
  <box label="cell" source="manual" occluded="1" xtl="0.50" ytl="1.00" xbr="3.25" ybr="4.00" z_order="2">
    <attribute name="stage">late</attribute></box>
  <polygon label="other" source="manual" occluded="0" points="1.0,1.0;5.0,1.0;5.0,4.0" z_order="0"/>
  <mask label="cell" source="semi-auto" occluded="0" rle="1, 2, 1, 3, 2"
    left="2" top="1" width="3" height="3" z_order="0"/>
  <tag label="cell" source="manual"/>
</image>
<image id="1" name="b.jpg" width="3" height="2"></image>
</annotations>
"""


def test_cvat(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(CVAT)
    read = read_cvat(tmp_path / "a.xml")
    assert read.classes == ("cell", "other")
    assert [(p.file_name, p.size, len(p.objects)) for p in read.pictures] == [
        ("a.jpg", (6, 8), 3),
        ("b.jpg", (2, 3), 0),
    ]
    box, polygon, mask = read.pictures[0].objects
    assert box.box == (0.5, 1, 3.25, 4) and box.occluded and box.segmentation is None
    assert box.extra == {"source": "manual", "z_order": "2", "attributes": {"stage": "late"}}
    assert polygon.segmentation == [[1, 1, 5, 1, 5, 4]] and polygon.box == (1, 1, 5, 4)
    expected = np.zeros((6, 8), bool)
    # along the rows of its rectangle: .XX / .XX / X..
    expected[1:4, 2:5] = [[0, 1, 1], [0, 1, 1], [1, 0, 0]]
    assert np.array_equal(decode_rle(mask.segmentation), expected) and mask.box == (2, 1, 5, 4)
    write_cvat(tmp_path / "b.xml", read)
    assert read_cvat(tmp_path / "b.xml") == read
    rle = ElementTree.parse(tmp_path / "b.xml").getroot().find("image/mask")
    assert rle is not None and rle.get("rle") == "1, 2, 1, 3, 2"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<image id="1"', '<track id="1"/><image id="1"', "has <track> elements"),
        ("<tag ", '<points points="1,2" ', r"a.jpg: shape 4 \(<points>\); only box, polygon, mask"),
        ('xtl="0.50"', "", r"a.jpg: shape 1 \(<box>\): xtl is ''"),
        ("1.0,1.0;5.0,1.0;5.0,4.0", "1.0,1.0;5.0,1.0", "shape 2 .*three pairs"),
        ("5.0,4.0", "5.0,x", "shape 2 .*: a point is 'x'"),
        ("1, 2, 1, 3, 2", "1, 2, 1, 3, 3", "rle adds up to 10; its rectangle has 9"),
        ("1, 2, 1, 3, 2", "1, -2", "rle must be whole numbers"),
        ('left="2"', 'left="6"', "reaches beyond the picture of 8×6"),
        ('label="other"', 'label="new"', "the label 'new' is not among those"),
        ('label="other" ', "", "shape 2 .* has no label"),
        ('width="3" height="2"', 'width="3"', "b.jpg: height is ''"),
        ("<annotations>", "<!DOCTYPE annotations><annotations>", "has a document type"),
    ],
)
def test_broken_cvat(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in CVAT
    (tmp_path / "a.xml").write_text(CVAT.replace(old, new))
    with pytest.raises(DataError, match=f"a.xml: .*{message}"):
        read_cvat(tmp_path / "a.xml")


# --- VOC ----------------------------------------------------------------------------------------


def test_voc_counts_from_one(tmp_path: Path) -> None:
    """The left upper pixel of a picture is 1, 1, 1, 1 in VOC's own way of counting."""
    picture = MarkedPicture("a.jpg", (4, 6), (MarkedObject("x", (0, 0, 1, 1)),))
    for counting, numbers in (("pixels", ["1", "1", "1", "1"]), ("corners", ["0", "0", "1", "1"])):
        write_voc_xml(tmp_path / "a.xml", picture, counting)
        root = ElementTree.parse(tmp_path / "a.xml").getroot()
        assert [
            root.findtext(f"object/bndbox/{k}") for k in ("xmin", "ymin", "xmax", "ymax")
        ] == numbers
        assert read_voc_xml(tmp_path / "a.xml", counting).objects[0].box == (0, 0, 1, 1)
    with pytest.raises(ValueError, match="counting is 'zero'; expected one of pixels, corners"):
        read_voc_xml(tmp_path / "a.xml", "zero")


def test_losses_and_recognition(tmp_path: Path) -> None:
    runs = encode_rle(np.ones((3, 3), bool))
    objects = (
        MarkedObject("x", (0, 0, 3, 3), runs, crowd=True, difficult=True),
        MarkedObject("y", (0, 0, 3, 3), occluded=True, extra={"pose": "Left", "score": 0.5}),
    )
    annotations = Annotations((MarkedPicture("a.png", (3, 3), objects),), ("x", "y"))
    assert losses(annotations, FORMS["voc"]) == [
        "crowd of 1 objects",
        "masks of 1 objects",
        "score of 1 objects",
    ]
    assert losses(annotations, FORMS["coco"]) == []
    assert "class of 2 objects" in losses(annotations, FORMS["dsb"])
    with pytest.raises(FileNotFoundError):
        recognise(tmp_path / "none")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="expected a folder, or a file ending in"):
        recognise(tmp_path / "a.txt")
    (tmp_path / "a.csv").write_text("ImageId,EncodedPixels\nx,1 2\n")
    with pytest.raises(DataError, match="say --from dsb or --from siim"):
        recognise(tmp_path / "a.csv")


# --- known answers ------------------------------------------------------------------------------


def test_panoptic_and_detection_form(data_root: Callable[[str], Path], tmp_path: Path) -> None:
    """The panoptic PNGs give the same run lengths, boxes and areas as COCO's own conversion."""
    folder = data_root("oracle_panoptic") / "sample_data"
    given = json.loads((folder / "panoptic_coco_detection_format.json").read_text())
    read = FORMS["panoptic"].read(folder / "panoptic_examples.json", Choices())
    FORMS["coco"].write(tmp_path / "c.json", read, Choices(masks="compressed"))
    ours = json.loads((tmp_path / "c.json").read_text())

    def rows(content: dict[str, Any]) -> list[Any]:
        keys = ("image_id", "category_id", "area", "iscrowd", "bbox", "segmentation")
        return sorted(
            json.dumps([row[key] for key in keys], sort_keys=True) for row in content["annotations"]
        )

    assert rows(ours) == rows(given)
    back = FORMS["coco"].read(tmp_path / "c.json", Choices())
    (tmp_path / "p").mkdir()
    FORMS["panoptic"].write(tmp_path / "p", back, Choices())
    for path in sorted((folder / "panoptic_examples").iterdir()):
        from lessons_lib.data.panoptic import read_panoptic

        assert np.array_equal(
            read_panoptic(tmp_path / "p" / "panoptic" / path.name), read_panoptic(path)
        )


def test_real_panoptic_pictures_there_and_back(
    data_root: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = data_root("coco_cc")
    read = FORMS["panoptic"].read(folder, Choices())
    for form, masks in (("coco", "polygons"), ("cvat", "runs")):
        few = dataclasses.replace(read, pictures=read.pictures[:2])
        back = there_and_back(few, form, tmp_path, masks=masks)
        for a, b in zip(back.pictures, few.pictures, strict=True):
            for mine, theirs in zip(a.objects, b.objects, strict=True):
                found = mine.segmentation
                found = polygons_to_rle(found, a.size) if isinstance(found, list) else found
                assert found["counts"] == theirs.segmentation["counts"]
