"""The figure of chapter 14: the page decodes as torch does, and the point follows mouse and keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from moving import PHONE, check_phone, checksum, data, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.data import Digits, HalfDigits
from lessons_lib.recipes import get_recipe
from lessons_lib.saliency import CVAE, VAE, AutoEncoder
from lessons_lib.training import load_weights
from lessons_lib.widgets import LatentWalk
from lessons_lib.widgets.latent_walk import REACH, _points, window

Open = Callable[..., Any]
Call = Callable[..., Any]

TEST = Digits("test")
IMAGES = torch.stack([TEST[i]["image"] for i in range(60)])
LABELS = torch.tensor([int(TEST[i]["label"]) for i in range(60)])
HALVES = [HalfDigits("test")[i] for i in range(5)]
CONDITIONS = torch.stack([s["image"] for s in HALVES])
TARGETS = torch.stack([s["target"] for s in HALVES])


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Packaged weights, whose outputs go from no ink to full ink, and an untrained autoencoder."""
    torch.manual_seed(0)
    ae = AutoEncoder(2, 32)
    with torch.no_grad():
        for p in ae.parameters():
            p.mul_(3)
    vae, cvae = (load_weights(get_recipe(n))[0] for n in ("digits-vae", "digits-cvae"))
    return {"ae": ae, "vae": vae, "cvae": cvae}


@pytest.fixture
def figure(models: dict[str, Any]) -> Callable[..., LatentWalk]:
    def make(**options: Any) -> LatentWalk:
        with torch.inference_mode():
            codes = models["ae"].encode(IMAGES), models["vae"].encode(IMAGES).mean
        planes = {
            name: (models[key].decoder, code)
            for name, key, code in zip(("AE", "VAE"), ("ae", "vae"), codes, strict=True)
        }
        asked = {"completer": models["cvae"], "conditions": CONDITIONS, "targets": TARGETS}
        given = {"planes": planes, "labels": LABELS, **asked, **options}
        return LatentWalk.from_decoders(**given)

    return make


def on_page(call: Call, shown: LatentWalk, places: np.ndarray) -> np.ndarray:
    """What the page decodes: on plane k the places[k] (P, 2), the last plane for each question."""
    state = shown.get_state()
    packed = json.loads(json.dumps({k: state[k] for k in ("planes", "questions")}, default=list))
    code = """(() => {
        const isBytes = (o) => o.length && o.every((x) => Number.isInteger(x));
        const list = (o) => (isBytes(o) ? new Uint8Array(o).buffer : o.map(open));
        const dict = (o) => Object.fromEntries(Object.entries(o).map(([k, x]) => [k, open(x)]));
        const open = (o) => (Array.isArray(o) ? list(o) : o && typeof o === "object" ? dict(o) : o);
        const planes = v.planes.map(p => m.openPlane(open(p)));
        const asked = m.openQuestions(open(v.questions));
        return [...planes.map((p, k) => v.places[k].map(z => p.answer(z, 0))),
            v.places.at(-1).map((z, i) => asked.answer(z, i % asked.count))];
    })()"""
    return np.array(call(LatentWalk._esm, code, places=places.tolist(), **packed))


def test_the_page_decodes_as_torch(figure: Callable, call: Call, models: dict[str, Any]) -> None:
    shown = figure()
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (3, 40, 2))  # anywhere on the planes
    for k, plane in enumerate(shown.planes):
        middle, half = window(_points(plane))
        places[k] = middle + half * places[k]
    places[2] *= REACH
    found = on_page(call, shown, places).reshape(3, 40, 8, 8)
    z = torch.from_numpy(places).float()
    with torch.inference_mode():
        expected = [models[k].decode(z[i]).sigmoid()[:, 0] for i, k in enumerate(("ae", "vae"))]
        which = torch.arange(40) % 5
        answers = models["cvae"].sample(CONDITIONS[which], z[2][None])[0]
        answers = torch.where(CONDITIONS[which, 1:] > 0, TARGETS[which], answers)[:, 0]
    for page, torchs in zip(found, [*expected, answers], strict=True):
        away = np.abs(page - torchs.numpy())
        assert away.mean() < 1 / 255 and away.max() < 12 / 255  # a byte a weight
        assert torchs.max() > 0.9 and torchs.min() < 0.1
    for plane in range(3):  # and to rounding what Python says of the stored bytes
        for i in range(5):
            shown.plane, shown.question = plane, i
            shown.x, shown.y = places[plane, i]
            assert np.abs(shown.decoded() - found[plane, i]).max() < 1e-6


def test_state_is_the_same_every_time_and_small(figure: Callable) -> None:
    first, second = figure(), figure()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert "0x" not in repr(first) + repr(LatentWalk())
    assert "AE, 60 digits" in repr(first)
    assert len(json.dumps(stored_state(first))) < 90_000
    units = [len(layer["bias"]) // 4 for layer in first.questions["layers"]]
    assert units[0] < 110 and units[1] < 110 and units[2] == 64  # the silent ones stay out
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 60_000


def test_without_planes_or_without_questions(figure: Callable, models: dict[str, Any]) -> None:
    assert len(figure(completer=None).planes) == 2 and not figure(completer=None).questions
    alone = figure(planes={})
    assert alone.planes == [] and (alone.x, alone.y) == (0, 0)
    assert alone.decoded().shape == (8, 8) and alone.poster().height == 288


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": LABELS[:9]}, r"planes\['AE'\]'s codes has shape \(60, 2\); expected \(9, 2\)"),
        ({"labels": LABELS.float()}, "labels is float32"),
        ({"labels": LABELS + 5}, "labels goes from 5 to 14; expected 0 to 9"),
        ({"planes": {}, "completer": None}, "planes is empty, and there is no completer"),
        ({"plane": 3}, "plane is 3; expected a whole number from 0 to 2"),
        ({"targets": None}, "completer needs conditions and targets"),
        ({"targets": TARGETS[:2]}, r"targets has shape \(2, 1, 8, 8\); expected \(5, 1, 8, 8\)"),
        ({"completer": CVAE(3, 8)}, "completer has 3 latent numbers; expected 2"),
    ],
)
def test_a_wrong_argument_is_named(figure: Callable, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figure(**changed)


def test_a_decoder_of_another_size_is_named() -> None:
    codes = torch.zeros(60, 2)
    for decoder, message in [
        (VAE(3, 8).decoder, "decodes 3 numbers; expected 2"),
        (VAE(2, 8).encoder, "is no decoder of 64 pixels"),
        (torch.nn.Sequential(torch.nn.ReLU()), "is no decoder of 64 pixels"),
    ]:
        with pytest.raises(ValueError, match=message):
            LatentWalk.from_decoders({"a": (decoder, codes)}, LABELS)


def test_mouse_keys_and_switches(figure: Callable, open_page: Open) -> None:
    shown = figure()
    page = open_page(shown)
    canvas, digit = page.locator("canvas").nth(0), page.locator("canvas").nth(1)
    assert data(page, "x") == f"{shown.start(0)[0]:.3f}"
    before = checksum(page, digit)
    canvas.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_function(
        "x => document.querySelector('.pti-figure').dataset.x !== x", arg=f"{shown.start(0)[0]:.3f}"
    )
    assert checksum(page, digit) != before
    page.keyboard.press("Escape")
    wait_for(page, "x", f"{shown.start(0)[0]:.3f}")
    page.get_by_role("radio", name="VAE", exact=True).check(force=True)
    wait_for(page, "plane", "1")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    page.wait_for_timeout(60)
    stopped = data(page, "x"), data(page, "y")
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    page.wait_for_timeout(60)
    assert (data(page, "x"), data(page, "y")) == stopped  # let go: nothing moves any more
    shown.plane, shown.x, shown.y = 1, *(float(v) for v in stopped)
    assert float(data(page, "ink")) == pytest.approx(shown.decoded().sum(), abs=2e-3)
    plain = checksum(page, canvas)
    page.get_by_role("radio", name="decoded digits").check(force=True)
    wait_for(page, "look", "decoded")
    assert checksum(page, canvas) != plain
    assert not page.get_by_role("slider", name="question", exact=True).is_visible()
    page.get_by_role("radio", name="CVAE").check(force=True)
    wait_for(page, "plane", "2")
    assert (data(page, "x"), data(page, "y")) == ("0.000", "0.000")
    before = data(page, "ink"), checksum(page, digit)
    set_slider(page, "question", 4)
    wait_for(page, "question", "3")
    assert data(page, "ink") != before[0] and checksum(page, digit) != before[1]
    shown.plane, shown.question, shown.x, shown.y = 2, 3, 0.0, 0.0
    assert float(data(page, "ink")) == pytest.approx(shown.decoded().sum(), abs=2e-3)


def test_the_point_stays_on_the_plane(figure: Callable, open_page: Open) -> None:
    page = open_page(figure(plane=2))
    page.locator("canvas").nth(0).focus()
    for _ in range(15):
        page.keyboard.press("Shift+ArrowUp")
    wait_for(page, "y", "3.000")


def test_on_a_phone_and_in_the_dark(figure: Callable, open_page: Open) -> None:
    for plane in (0, 2):
        page = open_page(figure(plane=plane), **PHONE)
        check_phone(page)
    page = open_page(figure())
    before = checksum(page, page.locator("canvas").first)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, page.locator("canvas").first) != before
