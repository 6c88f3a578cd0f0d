"""Sample and vote: the page's votes and hits are NumPy's and the library's, and everything moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from moving import PHONE, check_phone, checksum, data, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.saliency import consensus
from lessons_lib.widgets import SampleVote

Call = Callable[..., Any]
Open = Callable[..., Any]
NAMES = ("nearness", "size", "contrast")
SIZE = (40, 48)


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).astype(np.float64)


def arrays(count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two pictures with three objects, soft samples of one of them each, and three annotators."""
    rng = np.random.default_rng(5)
    objects = [disc(12, 12, 8), disc(34, 26, 10), disc(38, 8, 5)]
    image = np.clip(0.3 + 0.2 * np.stack(objects), 0, 1)
    images = np.stack([image, image[::-1]])
    samples = np.empty((2, count, *SIZE))
    for n, k in np.ndindex(2, count):
        which = rng.choice(3, p=[0.5, 0.3, 0.2])
        soft = 0.85 * objects[which] + 0.05 * objects[(which + 1) % 3]
        samples[n, k] = np.clip(soft + rng.uniform(0, 0.04, SIZE), 0, 1)
    annotations = np.stack([objects, [objects[0], objects[1], objects[1]]])
    return images, samples, annotations


@pytest.fixture(scope="module")
def given() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return arrays()


def points(figure: SampleVote) -> tuple[list[list[int]], list[list[int]]]:
    """Stored samples and annotations of the shown picture, as flat lists."""
    maps = np.rint(7 * figure.stored_samples()[figure.picture]) + 8 * figure.votes()
    maps = maps.astype(int)
    drawn = figure.stored_annotations()[figure.picture].astype(int)
    return maps.reshape(len(maps), -1).tolist(), drawn.reshape(len(drawn), -1).tolist()


@pytest.mark.parametrize("picture", [0, 1])
def test_the_page_votes_as_the_library(call: Call, given: Any, picture: int) -> None:
    figure = SampleVote(*given, picture=picture)
    maps, drawn = points(figure)
    code = "v.maps.map((s) => [...m.votesOf(s)])"
    votes = np.array(call(SampleVote._esm, code, maps=maps)).reshape(-1, *SIZE)
    assert np.array_equal(votes, figure.votes())
    theirs = consensus(torch.from_numpy(given[1][picture]))
    assert np.array_equal(votes.mean(0) > 0.5, theirs.binary.numpy())
    np.testing.assert_allclose(votes.mean(0), theirs.share.numpy(), atol=1e-6)
    for taken in (1, 5, 12):
        figure.drawn = taken
        code = "m.hitsOf(v.votes, v.drawn)"
        flat = votes[:taken].reshape(taken, -1).tolist()
        hits = call(SampleVote._esm, code, votes=flat, drawn=drawn)
        assert hits == figure.hits()
        slow = []
        for mask in figure.stored_annotations()[picture]:
            ious = [(v & mask).sum() / (v | mask).sum() for v in figure.votes()[:taken]]
            slow.append(sum(iou >= 0.5 for iou in ious))
        assert hits[:3] == slow
    assert min(slow) > 0


def test_awkward_samples_vote_sensibly(call: Call) -> None:
    """Nothing is salient in a black map; a white one, whose threshold would be 2, calls all salient."""
    images, samples, annotations = arrays(4)
    samples[0, 0], samples[0, 1] = 0, 1
    samples[0, 2] = 0
    samples[0, 2, 3, 4] = 0.4
    figure = SampleVote(images, samples, annotations)
    votes = figure.votes()
    assert votes[0].sum() == 0 and votes[1].all() and votes[2].sum() == 1
    code = "v.maps.map((s) => [...m.votesOf(s)])"
    page = np.array(call(SampleVote._esm, code, maps=points(figure)[0]), bool)
    assert np.array_equal(page.reshape(votes.shape), votes)
    assert figure.hits()[3] == 1  # the black one hits nobody


def test_a_hit_is_an_iou_of_a_half(call: Call) -> None:
    """Of 12 pixels a sample covers 6 (IoU 1/2, a hit) or 5 (no hit); outside it covers none."""
    truth = np.zeros((5, 6))
    truth[1:3] = 1
    half, less = np.zeros((2, 5, 6))
    half[1], less[1, :5] = 1, 1
    figure = SampleVote(np.zeros((1, 3, 5, 6)), [[half, less]], [[truth]], names=["one"], drawn=2)
    assert figure.hits() == [1, 1]
    masks, drawn = (v.reshape(len(v), -1).tolist() for v in (figure.votes() * 1, truth[None]))
    assert call(SampleVote._esm, "m.hitsOf(v.votes, v.drawn)", votes=masks, drawn=drawn) == [1, 1]


def test_half_of_the_votes_is_no_majority(open_page: Open) -> None:
    left, right = np.zeros((2, 8, 8))
    left[:, :4], right[:, 2:6] = 1, 1
    figure = SampleVote(np.zeros((1, 3, 8, 8)), [[left, right]], [[left]], names=["one"], drawn=2)
    page = open_page(figure)
    assert data(page, "agreed") == "16"  # where both say so
    set_slider(page, "threshold", 0.45)
    wait_for(page, "threshold", "0.45")
    assert data(page, "agreed") == "48"


def test_what_is_stored_comes_back(given: Any) -> None:
    images, samples, annotations = given
    figure = SampleVote(torch.from_numpy(images), torch.from_numpy(samples), annotations > 0)
    assert np.abs(figure.stored_samples() - samples).max() <= 0.5 / 7 + 1e-9
    assert np.array_equal(figure.stored_annotations(), annotations > 0)


def test_state_is_the_same_every_time_and_small(given: Any) -> None:
    first, second = SampleVote(*given), SampleVote(*given)
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert repr(first) == "SampleVote(2 pictures, 12 samples, 3 annotators)"
    assert "0x" not in repr(SampleVote())
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 30_000
    rows, columns = np.mgrid[:64, :64]
    blobs = [np.exp(-((rows - 20 - n) ** 2 + (columns - 30) ** 2) / 90) for n in range(16)]
    large = SampleVote(np.full((6, 3, 64, 64), 0.5), np.array([blobs] * 6), np.ones((6, 3, 64, 64)))
    modules = len(json.dumps([large._esm, large._css]))
    assert len(json.dumps(stored_state(large))) - modules < 250_000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": np.zeros((2, 1, 8, 8))}, r"images has shape \(2, 1, 8, 8\); expected \(n, 3"),
        ({"images": np.zeros((2, 3, 200, 200))}, "at most 12 pictures of at most 16384 pixels"),
        ({"samples": np.zeros((2, 4, 8, 9))}, r"samples has shape .*expected \(2, 1 to 64, 8, 8\)"),
        ({"samples": np.full((2, 4, 8, 8), 1.2)}, "samples spans 1.2 to 1.2; expected 0 to 1"),
        ({"samples": np.full((2, 4, 8, 8), np.nan)}, "samples has 512 values that are NaN"),
        ({"annotations": np.zeros((2, 7, 8, 8))}, r"annotations has shape .*1 to 6"),
        ({"names": ("a", "b")}, r"names is \('a', 'b'\); expected 3 names"),
        ({"picture": 2}, "picture is 2; expected a whole number from 0 to 1"),
        ({"drawn": 0}, "drawn is 0; expected a whole number from 1 to 4"),
        ({"threshold": 1.0}, "threshold is 1; expected a number from 0.05 to 0.95"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict[str, Any], message: str) -> None:
    good = {
        "images": np.zeros((2, 3, 8, 8)),
        "samples": np.zeros((2, 4, 8, 8)),
        "annotations": np.zeros((2, 3, 8, 8)),
    }
    with pytest.raises(ValueError, match=message):
        SampleVote(**{**good, **changed})


def test_samples_are_drawn_by_button_space_and_play(open_page: Open, given: Any) -> None:
    figure = SampleVote(*given)
    page = open_page(figure)
    draw = page.get_by_role("button", name="Draw a sample")
    again = page.get_by_role("button", name="Start over")
    assert data(page, "drawn") == "1" and again.is_disabled()
    votes = page.locator("canvas").nth(2)
    before = checksum(page, votes)
    draw.click()
    wait_for(page, "drawn", "2")
    assert checksum(page, votes) != before
    page.locator(".pti-figure").focus()
    page.keyboard.press("Space")
    wait_for(page, "drawn", "3")
    draw.focus()
    page.keyboard.press("Space")
    wait_for(page, "drawn", "4")
    figure.drawn = 4
    assert data(page, "hits") == ",".join(map(str, figure.hits()))
    shown = page.locator(".pti-class b").all_inner_texts()
    assert shown == [f"{hit} of 4" for hit in [figure.hits()[3], *figure.hits()[:3]]]
    page.get_by_role("button", name="Play").click()
    wait_for(page, "drawn", "12")
    wait_for(page, "playing", "false")
    assert draw.is_disabled()
    again.click()
    wait_for(page, "drawn", "1")
    text = page.locator(".pti-hidden[role=status]").inner_text
    page.wait_for_timeout(700)
    assert text().startswith("1 of 12 samples. Hits: nearness")


def test_threshold_and_picture_change_the_consensus(open_page: Open, given: Any) -> None:
    figure = SampleVote(*given, drawn=12)
    page = open_page(figure)
    counts = []
    for threshold in (0.95, 0.35, 0.05):
        set_slider(page, "threshold", threshold)
        wait_for(page, "threshold", f"{threshold:.2f}")
        counts.append(int(data(page, "agreed")))
        assert counts[-1] == (figure.votes().mean(0) > threshold).sum()
    assert counts[0] < counts[1] < counts[2]
    page.get_by_role("radio").nth(1).check(force=True)
    wait_for(page, "picture", "1")
    assert data(page, "drawn") == "1"
    figure.picture, figure.drawn = 1, 1
    assert data(page, "hits") == ",".join(map(str, figure.hits()))


def test_on_a_phone_and_in_the_dark(open_page: Open, given: Any) -> None:
    page = open_page(SampleVote(*given), **PHONE)
    check_phone(page)
    page.get_by_role("button", name="Draw a sample").tap()
    wait_for(page, "drawn", "2")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    colour = "getComputedStyle(document.querySelector('.pti-figure')).color"
    assert page.evaluate(colour) == "rgb(230, 233, 238)"
