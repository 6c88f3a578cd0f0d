"""COCO with a segment for every pixel, things and stuff.

Kirillov, He, Girshick, Rother, Dollár, *Panoptic Segmentation*, CVPR 2019; Lin et al., *Microsoft COCO*,
ECCV 2014; Caesar, Uijlings, Ferrari, *COCO-Stuff*, CVPR 2018.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from .checks import Report
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .labelled import IGNORE
from .nuclei import is_test
from .panoptic import read_json, read_segments
from .picture_sets import Part, Pictures, check_choice, data_folder

SPLITS = ("all", "train", "val")


@dataclass(frozen=True)
class PanopticPicture:
    """One picture, its panoptic PNG, and what the JSON says of it."""

    id: str
    image: Path
    truth: Path
    segments: list[Mapping[str, Any]]
    facts: Mapping[str, Any]
    licence: Mapping[str, Any]

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return picture_size(self.image)

    def credit(self) -> str:
        """Who may be thanked for the picture: where it is from, and its licence."""
        where = self.facts.get("flickr_url") or self.facts.get("coco_url") or "no address known"
        terms = [str(self.licence[key]) for key in ("name", "url") if key in self.licence]
        return f"{self.facts['file_name']}: {where}, {', '.join(terms) or 'licence not stated'}"

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels as stored, row of the segment of each pixel (0 = none, k + 1 = row k), boxes (N, 4).

        Raises:
            DataError: A file is missing or broken, sizes differ, or ids and JSON do not agree.
        """
        pixels = read_pixels(self.image)
        index, boxes = read_segments(self.truth, self.segments, self.image, pixels.shape[:2])
        return pixels, index, boxes


class CocoPanoptic(Pictures):
    """Photographs in which every pixel belongs to a thing, to stuff, or to nothing that was named.

    ``dataset[i]`` is a dict:

    * ``image`` float32 (3, H, W) in [0, 1];
    * ``semantic`` int64 (H, W), index in :attr:`classes`, 255 where no segment is;
    * ``instances`` int64 (H, W), 0 on stuff and on nothing, 1..N on things;
    * ``boxes`` float32 (N, 4), round the pixels (x1, y1, x2, y2; x2, y2 exclusive), ``labels`` int64 (N,),
      ``masks`` bool (N, H, W), ``crowd`` bool (N,): things only, row k belongs to id k + 1. A crowd is many
      things of one class in one segment, which nobody separated; it is no object to learn from;
    * ``id`` str, COCO's file name without suffix.

    Segments do not overlap, unlike COCO's own instance annotations: of two things that cover one pixel, one
    has it.

    **Classes** are read from the JSON: "background" first, which no pixel has, then the names in the file's
    order; in COCO these are the 80 kinds of things, then 53 kinds of stuff. COCO's own category ids run
    to 200 with gaps; :attr:`category_ids` has them.

    Two layouts are read. The original's: ``annotations/panoptic_<split>2017.json``, the PNGs in
    ``annotations/panoptic_<split>2017``, the pictures in ``<split>2017``. And a small one, in the folder
    itself or in ``dev``: ``panoptic.json``, ``panoptic/<id>.png``, ``images/<id>.jpg``; it has no split of
    its own, so a picture is in "val" if ``zlib.crc32(id) % 5 == 4``, else in "train".

    The photographs belong to those who took them, each under its own licence: show :meth:`credit` with every
    one that you print.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "coco_cc"``.
        split: "train", "val" or "all".

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file is missing or broken, or PNG and JSON do not agree.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "coco-panoptic"
    IGNORE: ClassVar[int] = IGNORE

    def __init__(self, root: str | os.PathLike[str] | None = None, split: str = "all") -> None:
        check_choice("split", split, SPLITS)
        folder = data_folder(self.NAME, root, download=False)
        part, categories = find_pictures(folder, split)
        super().__init__(folder, split, part)
        self.classes = ("background", *(str(category["name"]) for category in categories))
        self.category_ids = (0, *(int(category["id"]) for category in categories))
        self.is_thing = (False, *(bool(category["isthing"]) for category in categories))
        self._index = {number: index for index, number in enumerate(self.category_ids)}

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = self.pictures[index]
        pixels, segment, boxes = picture.read()
        labels = np.array([self._index[s["category_id"]] for s in picture.segments], np.int64)
        crowd = np.array([bool(s.get("iscrowd", 0)) for s in picture.segments], bool)
        things = np.flatnonzero(np.array(self.is_thing)[labels])
        number = np.zeros(len(labels) + 1, np.int64)
        number[things + 1] = np.arange(1, len(things) + 1)
        instances = number[segment]
        return {
            "image": to_tensor(pixels),
            "semantic": torch.from_numpy(np.concatenate(([IGNORE], labels))[segment]),
            "instances": torch.from_numpy(instances),
            "boxes": torch.from_numpy(boxes[things]),
            "labels": torch.from_numpy(labels[things]),
            "masks": torch.from_numpy(instances == np.arange(1, len(things) + 1)[:, None, None]),
            "crowd": torch.from_numpy(crowd[things]),
            "id": picture.id,
        }

    def credit(self, index: int) -> str:
        """Address and licence of a photograph, to be shown with it."""
        credit: str = self.pictures[index].credit()
        return credit


Categories = list[Mapping[str, Any]]


def find_pictures(folder: Path, split: str) -> tuple[Part, Categories]:
    """The pictures of a split and the categories; nothing is decoded.

    Raises:
        FileNotFoundError: Nothing of the kind is there.
        DataError: The JSON is broken.
    """
    for base in (folder, folder / "dev"):
        if (base / "panoptic.json").is_file():
            part, categories = _read_list(
                base / "panoptic.json", base / "panoptic", base / "images"
            )
            chosen = [p for p in part.pictures if split in ("all", part_of(p.id))]
            return Part(split, chosen, part.problems), categories
    lists = folder / "annotations"
    names = [f"{s}2017" for s in ("train", "val") if split in ("all", s)]
    found = [
        _read_list(lists / f"panoptic_{name}.json", lists / f"panoptic_{name}", folder / name)
        for name in names
        if (lists / f"panoptic_{name}.json").is_file()
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no panoptic COCO here, neither panoptic.json nor "
            f"annotations/panoptic_{names[0]}.json; `lessons data fetch coco-panoptic` says what to do"
        )
    parts = [part for part, _ in found]
    categories = found[0][1]
    if any(other != categories for _, other in found):
        raise DataError(f"{lists}: the lists of {' and '.join(names)} have different categories")
    pictures = [picture for part in parts for picture in part.pictures]
    return Part(split, pictures, [line for part in parts for line in part.problems]), categories


def part_of(picture_id: str) -> str:
    """ "train" or "val", by the id alone."""
    return "val" if is_test(picture_id) else "train"


def _read_list(path: Path, panoptic: Path, images: Path) -> tuple[Part, Categories]:
    content = read_json(path, "images", "annotations", "categories")
    try:
        categories = content["categories"]
        known = {
            category["id"] for category in categories if {"name", "isthing"} <= category.keys()
        }
        licences = {licence["id"]: licence for licence in content.get("licenses", [])}
        facts = {image["id"]: image for image in content["images"]}
        pictures, problems = [], []
        for annotation in content["annotations"]:
            fact = facts[annotation["image_id"]]
            image, truth = images / fact["file_name"], panoptic / annotation["file_name"]
            segments = annotation["segments_info"]
            problems += [f"{file}: is missing" for file in (image, truth) if not file.is_file()]
            problems += [
                f"{path}: segment {s['id']} of {truth.name} has the category {s['category_id']}, "
                "which is not listed with name and isthing"
                for s in segments
                if s["category_id"] not in known
            ]
            licence = licences.get(fact.get("license"), {})
            pictures.append(PanopticPicture(image.stem, image, truth, segments, fact, licence))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no panoptic annotation of COCO's form ({error!r})") from error
    return Part("all", sorted(pictures, key=lambda picture: picture.id), problems), categories


def check_panoptic(folder: Path, progress: bool = True) -> Report:
    """Read every file of a panoptic folder and list all problems; ``instances`` counts segments.

    Problems are: a missing or broken file, another size than the picture's, an id that PNG or JSON lacks,
    an unknown category, and an area or box in the JSON that is not the PNG's.

    Raises:
        FileNotFoundError: There is nothing of the kind in the folder at all.
        DataError: The JSON is broken.
    """
    part, _ = find_pictures(folder, "all")
    report = Report(problems=list(part.problems))
    for picture in tqdm(part.pictures, desc="check", unit="picture", disable=not progress):
        report.pictures += 1
        report.kinds["panoptic"] += 1
        if not (picture.image.is_file() and picture.truth.is_file()):
            continue  # listed already
        try:
            _, index, boxes = picture.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        report.instances += len(picture.segments)
        areas = np.bincount(index.ravel(), minlength=len(boxes) + 1)[1:]
        boxes[:, 2:] -= boxes[:, :2]
        for segment, area, box in zip(
            picture.segments, areas.tolist(), boxes.tolist(), strict=True
        ):
            for name, value in (("area", area), ("bbox", box)):
                if name in segment and segment[name] != value:
                    report.problems.append(
                        f"{picture.truth}: segment {segment['id']} has {name} {segment[name]} in the "
                        f"JSON, but {value} in the picture"
                    )
    return report
