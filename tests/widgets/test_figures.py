"""What a notebook stores of a figure: small, the same every time, with a still picture."""

from __future__ import annotations

import io
import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stored_figures import Scene, stored_state

from lessons_lib.data.pictures import PALETTE
from lessons_lib.widgets import EmbeddingExplorer, Figure, TrainingReplay
from lessons_lib.widgets.figure import _packed

BOTH = pytest.mark.parametrize("kind", ["explorer", "replay"])


def content(figure: Figure) -> dict:
    """Return the state without the name of the layout, which every widget has for itself."""
    return {k: v for k, v in figure.get_state().items() if k != "layout"}


@BOTH
def test_the_same_data_give_the_same_state_and_poster(scene: Scene, kind: str) -> None:
    first, second = getattr(scene, kind)(), getattr(Scene(), kind)()
    assert content(first) == content(second)
    assert repr(first) == repr(second)
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1]


def test_repr_says_what_it_is(scene: Scene) -> None:
    assert repr(scene.explorer()) == "EmbeddingExplorer(96×96, D=16, delta_v=0.5, delta_d=1.5)"
    assert repr(scene.replay()) == "TrainingReplay(96×96, D=16, 24 steps from 0 to 460)"
    assert "0x" not in repr(EmbeddingExplorer()) + repr(TrainingReplay())


@BOTH
def test_the_bundle_has_view_poster_and_alternative_text(scene: Scene, kind: str) -> None:
    figure = getattr(scene, kind)(alt="Eight sticks")
    data, metadata = figure._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    poster = Image.open(io.BytesIO(data["image/png"]))
    assert poster.mode == "P" and poster.width > 500 and len(data["image/png"]) < 25_000
    assert metadata["image/png"] == {"alt": "Eight sticks"}
    colours = np.asarray(poster.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 12  # not a blank sheet


def test_the_stored_state_is_small(scene: Scene) -> None:
    inside = scene.instances > 0
    three_thousand = inside & (inside.cumsum().reshape(inside.shape) <= 3000)
    assert three_thousand.sum() == 3000
    for figure, limit in [
        (scene.explorer(foreground=three_thousand), 120_000),
        (scene.replay(), 80_000),
    ]:
        text = json.dumps(stored_state(figure), indent=1)
        print(f"{type(figure).__name__}: {len(text):,} characters")
        assert len(text) < limit


def test_only_foreground_is_stored(scene: Scene) -> None:
    some = scene.instances == 3
    figure = scene.explorer(foreground=some)
    assert figure.points().shape == (some.sum(), 16)
    assert np.abs(figure.points() - scene.embedding[:, some].T).max() < 0.02


def test_replay_keeps_every_instance_and_one_direction(scene: Scene) -> None:
    figure = scene.replay(max_points=100)
    assert figure.positions().shape == (24, 100, 2)
    assert set(figure.chosen) == set(range(1, 9))
    # The last step's first axis has at least the spread of its second.
    spread = figure.positions()[-1].std(axis=0)
    assert spread[0] > spread[1] > 0.5


def write_figure(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from lessons_lib.widgets import Figure\nclass Mine(Figure):\n    pass\n"
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_new_figure_is_three_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_figure(tmp_path, "own_figure", monkeypatch)
    (tmp_path / "own_figure.js").write_text("export default { render() {} };")
    (tmp_path / "own_figure.css").write_text(".mine { color: red }")
    figure = __import__("own_figure").Mine()
    assert figure._esm.endswith("export default { render() {} };\n")
    assert "function slider" in figure._esm and ".pti-figure" in figure._css
    assert figure._css.endswith(".mine { color: red }\n")
    with pytest.raises(NotImplementedError, match="Mine does not implement poster"):
        figure._repr_mimebundle_()


def test_a_figure_without_a_module_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_figure(tmp_path, "lone_figure", monkeypatch)
    with pytest.raises(FileNotFoundError, match=r"Mine has no ES module: put lone_figure\.js"):
        __import__("lone_figure")


def test_a_subclass_of_a_figure_keeps_its_module(scene: Scene) -> None:
    class Special(EmbeddingExplorer):
        pass

    assert Special._esm == EmbeddingExplorer._esm


def test_packing_drops_comments_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "a.js"
    source.write_text("/* a\n b */\n  // c\n\n  f(1 /* d */); // e\n/** g */\nlet u = 'a//b';\n")
    assert _packed(source) == "f(1 /* d */); // e\nlet u = 'a//b';\n"


def test_the_page_and_python_use_one_palette() -> None:
    script = (files("lessons_lib.widgets") / "figure.js").read_text("utf-8")
    listed = re.search(r"const PALETTE = \[(.*?)\]", script)
    assert listed
    ours = ["#" + bytes(colour).hex() for colour in PALETTE]
    assert re.findall(r"#[0-9a-f]{6}", listed[1]) == ours
