"""The recipe for a reader's own pictures: what it takes from the folder, trains, stores and measures."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lessons_lib.__main__ import main
from lessons_lib.data import DataError, DataWarning, InstanceFolder, normalize_image, read_image
from lessons_lib.data.folder_parts import ScaledParts
from lessons_lib.embedding.folder_recipe import SpatialFolder
from lessons_lib.recipes import RECIPES, get_recipe
from lessons_lib.training import fit, load_weights
from lessons_lib.training.state import save_weights
from tests.data.folder_trees import coco_tree, empty, example, label_tree
from tests.data.nuclei_trees import blobs

RECIPE = SpatialFolder()
TINY = {"steps": 2, "batch_size": 2, "warmup": 0, "size": 32, "depth": 2, "base_channels": 4}
SET = [part for name, value in TINY.items() for part in ("--set", f"{name}={value}")]


def options_of(preset: str = "live", **changes: Any) -> dict[str, Any]:
    return {**RECIPE.preset(preset).options, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return label_tree(tmp_path / "mine", example())


def test_it_is_listed() -> None:
    assert isinstance(RECIPES["spatial-folder"], SpatialFolder)
    assert get_recipe("spatial-folder").name == "spatial-folder"
    assert {"live", "quick", "full"} <= RECIPE.presets.keys()


# --- what follows from the folder ---------------------------------------------------------------


def test_sizes_follow_from_the_training_half(tmp_path: Path) -> None:
    """The longest object has a diagonal of 50 px, but those of the validation half do not count."""
    small, large = np.zeros((90, 90), np.int32), np.zeros((90, 90), np.int32)
    small[10:22, 10:22] = small[40:52, 40:52] = 1
    small[40:52, 40:52] = 2
    small[60:90, 10:50] = 3
    large[:90, :90] = 1
    pixels = blobs(0, (90, 90))[0]
    label_tree(tmp_path / "train", {"a": (pixels, small)})
    label_tree(tmp_path / "val", {"b": (pixels, large)})
    settled = RECIPE.settle(options_of(data=str(tmp_path)))
    assert settled["unit"] == 56.0  # 50 px, in steps of 8
    diameter = np.sqrt(4 * 144 / np.pi)
    assert settled["margin"] == pytest.approx(0.375 * diameter, abs=0.05)
    assert settled["min_size"] == 144 // 8
    kept = RECIPE.settle(options_of(data=str(tmp_path), unit=30.0, margin=3.0, min_size=7))
    assert (kept["unit"], kept["margin"], kept["min_size"]) == (30.0, 3.0, 7)


def test_objects_that_do_not_fit_are_told(tmp_path: Path) -> None:
    label_tree(tmp_path, {"a": blobs(0), "b": blobs(1)})
    with pytest.warns(DataWarning, match=r"px long; crops are 8 px \(size\)"):
        RECIPE.settle(options_of(data=str(tmp_path), size=8))
    with pytest.warns(DataWarning, match=r"an offset reaches 2 px \(unit\)"):
        RECIPE.settle(options_of(data=str(tmp_path), unit=2.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RECIPE.settle(options_of(data=str(tmp_path)))


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"spatial-folder needs a folder of pictures: --data DIR"):
        fit(RECIPE, "live", progress=False)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        fit(RECIPE, "live", progress=False, data=str(tmp_path / "absent"))
    label_tree(tmp_path / "nothing", {"a": empty(), "b": empty()})
    with pytest.raises(ValueError, match="no object in its training pictures"):
        fit(RECIPE, "live", progress=False, data=str(tmp_path / "nothing"))
    broken = label_tree(tmp_path / "broken", example())
    (broken / "labels" / "purple.png").unlink()
    with pytest.raises(DataError, match=r"purple\.png: has no labels"):
        fit(RECIPE, "live", progress=False, data=str(broken), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="start is 'nobody'; expected a file of weights"):
        RECIPE.settle(options_of(data=str(broken), start="nobody"))


# --- data ---------------------------------------------------------------------------------------


def test_crops_and_pictures_are_scaled_alike(folder: Path) -> None:
    options = RECIPE.settle(options_of(data=str(folder), size=40))
    crops = RECIPE.training_data(options, 20, seed=1)
    train = set(InstanceFolder(folder, "train").ids)
    for index in range(20):
        crop = crops[index]
        assert crop["image"].shape == (3, 40, 40) and crop["instances"].shape == (40, 40)
        assert crop["id"].partition("#")[0] in train
    pictures: Any = RECIPE.validation_data(options)
    assert len(pictures) == len(InstanceFolder(folder, "val")) > 0
    for index in range(len(pictures)):
        sample = pictures[index]
        image = read_image(folder / "images" / f"{sample['id']}.png")
        assert torch.equal(sample["image"], normalize_image(image))
        assert torch.equal(sample["image"], RECIPE.prepare(image, options))


def test_large_pictures_are_measured_in_parts(folder: Path) -> None:
    whole = InstanceFolder(folder)
    for side in (10, 33, 60, 1000):
        parts = ScaledParts(whole, side)
        names = {sample["id"].partition("[")[0] for sample in (parts[k] for k in range(len(parts)))}
        assert names == set(whole.ids)
        for index, name in enumerate(whole.ids):
            image = torch.full((3, *whole.sizes[index]), -1.0)
            covered = torch.zeros(whole.sizes[index], dtype=torch.int64)
            foreground = torch.zeros(whole.sizes[index], dtype=torch.bool)
            for k, part in enumerate(parts.parts):
                if part.picture == index:
                    sample = parts[k]
                    assert sample["image"].shape[1:] == sample["instances"].shape
                    assert max(sample["instances"].shape) <= side
                    ids = sample["instances"].unique()
                    assert ids[ids > 0].tolist() == list(range(1, int(ids.max()) + 1))
                    place = (part.rows, part.columns)
                    image[(slice(None), *place)] = sample["image"]
                    foreground[place] = sample["instances"] > 0
                    covered[place] += 1
            assert (covered == 1).all(), name
            assert torch.equal(image, normalize_image(whole[index]["image"]))
            assert torch.equal(foreground, whole[index]["instances"] > 0)


# --- training, from the command line ------------------------------------------------------------


def metrics_of(printed: str) -> dict[str, float]:
    return {n: float(v) for n, v in re.findall(r"^(\w+) +(-?\d+\.\d+)$", printed, re.M)}


@pytest.mark.parametrize("tree", [label_tree, coco_tree])
def test_train_and_evaluate(tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tree(tmp_path / "mine", {**example(), "nothing": empty()})
    run = tmp_path / "run"
    train = ["train", "spatial-folder", "--data", str(mine), "--preset", "live", *SET]
    assert main([*train, "--out", str(run)]) == 0
    trained = metrics_of(capsys.readouterr().out)
    assert {"dsb_50", "dsb_mean", "pq", "aji", "absolute_dic"} <= trained.keys()

    # what can be given away says nothing of the reader's folders, and knows what was taken from them
    _, facts = load_weights(RECIPE, run / "last.safetensors")
    settled = RECIPE.settle(options_of(data=str(mine), size=32))
    assert facts["options"]["unit"] == settled["unit"] > 0
    assert facts["options"]["margin"] == settled["margin"] > 0
    assert facts["options"]["data"] == ""
    for name in ("last.safetensors", "best.safetensors", "ledger.json"):
        assert str(tmp_path).encode() not in (run / name).read_bytes(), name

    weights = ["--weights", str(run / "last.safetensors")]
    moved = mine.rename(tmp_path / "elsewhere")
    assert main(["evaluate", "spatial-folder", "--data", str(moved), *weights]) == 0
    assert metrics_of(capsys.readouterr().out) == trained
    assert main(["evaluate", "spatial-folder", *weights]) == 1
    assert "needs a folder of pictures: --data DIR" in capsys.readouterr().err


def test_resuming_needs_the_same_folder(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "spatial-folder", "--preset", "live", *SET, "--out", str(tmp_path / "run")]
    assert main([*train, "--data", str(folder)]) == 0
    first = metrics_of(capsys.readouterr().out)
    assert main([*train, "--data", str(folder), "--resume"]) == 0
    assert metrics_of(capsys.readouterr().out) == first
    other = label_tree(tmp_path / "other", {"a": blobs(7), "b": blobs(8)})
    assert main([*train, "--data", str(other), "--resume"]) == 1
    assert "which holds a run with other settings" in capsys.readouterr().err


def test_other_recipes_take_no_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["train", "sticks-spatial", "--preset", "live"], ["evaluate", "digits-cnn"]):
        assert main([*command, "--data", str(folder)]) == 1
        assert "has data of its own and takes no --data" in capsys.readouterr().err


def test_warnings_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = label_tree(tmp_path / "mine", {"a": blobs(0)})
    train = ["train", "spatial-folder", "--data", str(mine), "--preset", "live", *SET]
    assert main([*train, "--out", str(tmp_path / "run")]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "one picture" in line]
    assert told and all(line.startswith("lessons: note: ") for line in told)


# --- weights to begin with ----------------------------------------------------------------------


def other_weights(channels: int, unit: float, path: Path) -> nn.Module:
    """A network of another recipe in evaluation mode, stored in a file."""

    class Other(SpatialFolder):
        pass

    Other.channels = channels
    options = options_of(depth=2, base_channels=4, sigma="one", unit=unit, margin=5.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = Other().model(options)
    save_weights(theirs, path, {"recipe": "other", "options": options})
    return theirs.eval()


@pytest.mark.parametrize("channels", [1, 3])
def test_start_from_weights(channels: int, folder: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    theirs = other_weights(channels, 40.0, start)
    options = RECIPE.settle(options_of(data=str(folder), start=str(start)))
    assert (options["depth"], options["base_channels"], options["sigma"]) == (2, 4, "one")
    model = RECIPE.model(options)
    RECIPE.initialize(model, options)
    image = torch.rand(1, 1, 32, 32).expand(1, 3, 32, 32)  # gray, so that one channel is enough
    with torch.no_grad():
        expected, found = theirs(image[:, :channels]), model.eval()(image)
    assert expected["seed"].std() > 1e-4
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def test_unit_of_the_weights_that_a_run_starts_from(folder: Path, tmp_path: Path) -> None:
    own = RECIPE.settle(options_of(data=str(folder)))["unit"]
    for unit, expected in ((own + 100, own + 100), (own / 2, own)):
        other_weights(3, unit, tmp_path / "start.safetensors")
        chosen = options_of(data=str(folder), start=str(tmp_path / "start.safetensors"))
        assert RECIPE.settle(chosen)["unit"] == expected
        assert RECIPE.settle({**chosen, "unit": 33.0})["unit"] == 33.0


def test_the_place_of_the_first_weights_is_not_stored(folder: Path, tmp_path: Path) -> None:
    start = tmp_path / "private" / "start.safetensors"
    other_weights(3, 40.0, start)
    chosen = {"data": str(folder), "start": str(start), **TINY}
    fit(RECIPE, "live", progress=False, out=tmp_path / "run", **chosen)
    stored = json.loads((tmp_path / "run" / "ledger.json").read_text())["settings"]["options"]
    assert (stored["start"], stored["sigma"], stored["depth"]) == ("start.safetensors", "one", 2)
    for name in ("last.safetensors", "ledger.json"):
        assert b"private" not in (tmp_path / "run" / name).read_bytes()


def test_weights_of_another_network(folder: Path, tmp_path: Path) -> None:
    facts = {"recipe": "digits-cnn", "options": {}}
    start = tmp_path / "start.safetensors"
    save_file({"a": torch.zeros(3)}, str(start), metadata={"lessons_lib": json.dumps(facts)})
    with pytest.raises(ValueError, match="weights of recipe digits-cnn, which is another network"):
        fit(RECIPE, "live", progress=False, data=str(folder), start=str(start), **TINY)
