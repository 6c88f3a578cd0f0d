"""The built pages in a real browser: nothing from another host, no errors, readable when narrow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
PAGES = re.findall(r"(?:file|root): *(\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
LIGHT_ON_DARK = """() => {
  const sum = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
  const style = getComputedStyle(document.body);
  return sum(style.color) > sum(style.backgroundColor);
}"""


@pytest.fixture(scope="session")
def built(absent: Callable[[str], NoReturn]) -> Path:
    """The folder of the built pages."""
    if not (HTML / "index.html").is_file():
        absent("needs the built pages: make book")
    return HTML


class Visit:
    """One page opened from the disk, with all that it asked for and complained about."""

    def __init__(self, browser: Any, file: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.complain("failed", request.url))
        self.page.on("pageerror", lambda error: self.complain("error", str(error)))
        self.page.on(
            "console",
            lambda message: message.type == "error" and self.complain("console", message.text),
        )
        self.page.goto(file.as_uri(), wait_until="load")
        self.page.wait_for_function(
            "!window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)"
        )
        self.page.wait_for_timeout(300)

    def complain(self, kind: str, text: str) -> None:
        self.complaints.append(f"{kind}: {text[:300]}")

    @property
    def foreign(self) -> list[str]:
        """Requests that left the disk."""
        local = ("file:", "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(local)]

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, built: Path, browser: Any) -> None:
    file = built / f"{name}.html"
    with Visit(browser, file, 1280, "light") as visit:
        page = visit.page
        assert visit.foreign == []
        assert visit.complaints == []
        assert not page.evaluate(LIGHT_ON_DARK)
        formulas = page.locator("span.math, div.math").count()
        assert page.locator("mjx-container").count() >= formulas
        assert page.locator("mjx-merror").count() == 0
        broken = page.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        assert broken == []
        silent = page.evaluate("[...document.images].filter(i => !i.alt).map(i => i.src)")
        assert silent == []
    with Visit(browser, file, 390, "dark") as visit:
        page = visit.page
        assert visit.foreign == []
        assert visit.complaints == []
        assert page.evaluate(LIGHT_ON_DARK)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", PAGES)
def test_html_stays_small(name: str, built: Path) -> None:
    assert (built / f"{name}.html").stat().st_size <= 300_000


def test_links_between_pages(built: Path) -> None:
    """Every link inside the book leads to a file that is there."""
    lost = []
    for file in [built / "index.html", *(built / "book").rglob("*.html")]:
        for link in re.findall(r'(?:href|src)="([^"#?]+)', file.read_text("utf-8")):
            if re.match(r"[a-z]+:|//", link):
                continue
            if not (file.parent / link).exists():
                lost.append(f"{file.relative_to(built)}: {link}")
    assert lost == []


def test_links_lead_to_a_place_that_is_there(built: Path) -> None:
    """Also those with a fragment, as appendix B has them to the cells of the chapters."""
    places: dict[Path, set[str]] = {}
    lost = []
    for file in [built / "index.html", *(built / "book").rglob("*.html")]:
        for link, place in re.findall(r'href="([^"#?:]*)#([^"]+)"', file.read_text("utf-8")):
            target = (file.parent / link).resolve() if link else file.resolve()
            if target.suffix != ".html" or not target.is_file():
                continue  # for the test above
            if target not in places:
                places[target] = set(re.findall(r'id="([^"]+)"', target.read_text("utf-8")))
            if place not in places[target]:
                lost.append(f"{file.relative_to(built)}: {link}#{place}")
    assert lost == []


FIGURES = {"book/11_discriminative_loss": 8, "book/labs/nuclei": 1}


@pytest.mark.parametrize(("name", "fewest"), FIGURES.items())
def test_embedding_explorer_clusters_in_the_page(
    name: str, fewest: int, built: Path, browser: Any
) -> None:
    """The stored run's figure: a smaller radius shatters, a dragged margin changes the terms."""
    with Visit(browser, built / f"{name}.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-explorer[data-ready=true]")
        figure.wait_for()

        def shown(key: str) -> float:
            return float(figure.get_attribute(f"data-{key}"))

        assert shown("clusters") >= fewest
        assert shown("radius") == 1.5
        before = (shown("clusters"), shown("left"))
        figure.locator("input[value=delta_v]").check()
        page.wait_for_function("+document.querySelector('.pti-explorer').dataset.radius === 0.5")
        assert (shown("clusters"), shown("left")) != before
        pull = shown("pull")
        slider = figure.get_by_role("slider", name="delta v")
        box = slider.bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * (0.5 - 0.1) / 1.4, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=6)
        page.mouse.up()
        page.wait_for_function(
            "old => +document.querySelector('.pti-explorer').dataset.pull < old", arg=pull
        )
        assert visit.complaints == []


def test_training_replay_scrubs_and_plays(built: Path, browser: Any) -> None:
    with Visit(browser, built / "book/11_discriminative_loss.html", 1280, "dark") as visit:
        page = visit.page
        figure = page.locator(".pti-replay[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-step") == "1"
        slider = figure.get_by_role("slider", name="training step")
        assert int(slider.get_attribute("max")) >= 19, "at least 20 recorded steps"
        slider.press("End")
        page.wait_for_function("() => document.querySelector('.pti-replay').dataset.step === '400'")
        slider.press("Home")
        figure.get_by_role("button").first.click()
        page.wait_for_function("() => +document.querySelector('.pti-replay').dataset.frame >= 2")
        assert visit.complaints == []


def test_convolution_stepper_answers_in_its_chapter(built: Path, browser: Any) -> None:
    """A longer stride makes the output smaller, as the formula says; the mouse picks a cell."""
    with Visit(browser, built / "book/01_convolution.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-convolution[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-output-size") == "6x6"
        stride = figure.get_by_role("slider", name="stride", exact=True)
        stride.press("ArrowRight")
        page.wait_for_selector(".pti-convolution[data-output-size='3x3']")
        canvas = figure.locator("canvas").nth(2)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 5 / 6, box["y"] + box["height"] / 2)
        page.wait_for_selector(".pti-convolution[data-selected='1,2']")
        dilation = figure.get_by_role("slider", name="dilation", exact=True)
        dilation.press("End")  # 3 x 3 taps, three apart: 7 of the 8 pixels
        page.wait_for_selector(".pti-convolution[data-output-size='1x1']")
        assert visit.complaints == []


def test_transposed_stepper_agrees_in_its_chapter(built: Path, browser: Any) -> None:
    """All three views give the same numbers, also after the sliders have moved."""
    with Visit(browser, built / "book/02_transposed_convolution.html", 1280, "dark") as visit:
        page = visit.page
        figure = page.locator(".pti-transposed[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-output-size") == "7"
        figure.get_by_role("slider", name="output padding", exact=True).press("ArrowRight")
        page.wait_for_selector(".pti-transposed[data-output-size='8']")
        for view in ("zeros", "matrix", "scatter"):
            figure.locator(f"input[value='{view}']").click()
            page.wait_for_selector(f".pti-transposed[data-view='{view}'][data-agree='true']")
        stride = figure.get_by_role("slider", name="stride", exact=True)
        stride.press("Home")  # stride 1 has no room for an output padding of 1: refused, and said
        page.wait_for_selector(".pti-transposed[data-legal='false']")
        assert visit.complaints == []


def test_skip_switch_loses_something_in_its_chapter(built: Path, browser: Any) -> None:
    """Each skip that is cut costs pixels; all back on gives the prediction of the beginning."""
    with Visit(browser, built / "book/04_unet.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-skip[data-ready=true]")
        figure.wait_for()
        switches = figure.get_by_role("checkbox", name=re.compile("^stride"))
        count = switches.count()
        assert count >= 3
        assert figure.get_attribute("data-state") == "1" * count
        best = int(figure.get_attribute("data-wrong"))
        for k in range(count):
            switches.nth(k).click()
            off = "0" * (k + 1) + "1" * (count - k - 1)
            page.wait_for_selector(f".pti-skip[data-state='{off}']")
            assert int(figure.get_attribute("data-wrong")) > best
        figure.get_by_role("checkbox", name="mark wrong pixels").click()
        page.wait_for_selector(".pti-skip[data-errors='false']")
        for k in range(count):
            switches.nth(k).press("Space")
        page.wait_for_selector(f".pti-skip[data-state='{'1' * count}']")
        assert int(figure.get_attribute("data-wrong")) == best
        assert visit.complaints == []


def test_strides_are_compared_in_the_chapter_on_fcn(built: Path, browser: Any) -> None:
    """The line is dragged, and a finer stride scores better."""
    with Visit(browser, built / "book/03_fcn.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-stride[data-ready=true]")
        figure.wait_for()
        assert (figure.get_attribute("data-shown"), figure.get_attribute("data-stride")) == (
            "32s",
            "32",
        )
        coarse = float(figure.get_attribute("data-score"))
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        middle = box["y"] + box["height"] / 3
        page.mouse.move(box["x"] + box["width"] * 0.5, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=6)
        page.mouse.up()
        page.wait_for_function("+document.querySelector('.pti-stride').dataset.divider > 0.85")
        canvas.press("ArrowDown")
        canvas.press("ArrowDown")
        page.wait_for_selector(".pti-stride[data-shown='8s']")
        assert float(figure.get_attribute("data-score")) > coarse + 0.1
        assert visit.complaints == []


def test_accuracy_can_be_made_to_lie_in_the_chapter_on_fcn(built: Path, browser: Any) -> None:
    """The figure's question has an answer: empty background, and objects lost."""
    with Visit(browser, built / "book/03_fcn.html", 1280, "dark") as visit:
        page = visit.page
        figure = page.locator(".pti-metric[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-pixel") == figure.get_attribute("data-miou") == "1.000000"
        assert figure.get_attribute("data-solved") == "false"
        figure.get_by_role("button", name="Predict background everywhere").click()
        page.wait_for_selector(".pti-metric[data-lost='1,2,3,4']")
        figure.get_by_role("slider", name="empty background").press("End")
        page.wait_for_selector(".pti-metric[data-solved='true']")
        assert visit.complaints == []


def test_the_pyramid_is_explored_in_the_chapter_on_pspnet(built: Path, browser: Any) -> None:
    """The point moves; at 1 x 1 every place gets the same; only the pyramid names the boats."""
    with Visit(browser, built / "book/05_pspnet.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-pyramid[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-channel") == "-1"
        start = figure.get_attribute("data-point")
        figure.get_by_role("radio", name="1×1", exact=True).check()
        page.wait_for_selector(".pti-pyramid[data-bin='1']")
        whole = figure.get_attribute("data-upsampled")
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.04, steps=6)
        page.mouse.up()
        page.wait_for_function(
            "old => document.querySelector('.pti-pyramid').dataset.point !== old", arg=start
        )
        assert figure.get_attribute("data-upsampled") == whole
        figure.get_by_role("radio", name="6×6", exact=True).check()
        page.wait_for_selector(".pti-pyramid[data-bin='6'][data-cell='0,0']")
        assert figure.get_attribute("data-upsampled") != whole
        figure.get_by_role("radio", name="pyramid", exact=True).check()
        page.wait_for_selector(".pti-pyramid[data-overlay='2']")
        assert visit.complaints == []


def test_regions_merge_in_the_chapter_on_fast_rcnn(built: Path, browser: Any) -> None:
    """The slider goes to the end: one region, more boxes, and every thing found."""
    with Visit(browser, built / "book/07_rcnn_to_fast_rcnn.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-merging[data-ready=true]")
        figure.wait_for()
        boxes = int(figure.get_attribute("data-boxes"))
        slider = figure.get_by_role("slider", name="merges")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] / 2, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 1, middle, steps=6)
        page.mouse.up()
        page.wait_for_selector(".pti-merging[data-regions='1']")
        assert int(figure.get_attribute("data-boxes")) > boxes
        things = len(figure.get_attribute("data-best").split(","))
        assert int(figure.get_attribute("data-found")) == things >= 3
        figure.locator("canvas").first.press("ArrowLeft")
        page.wait_for_selector(".pti-merging[data-regions='2']")
        assert visit.complaints == []


def test_boxes_are_dragged_in_the_chapter_on_boxes(built: Path, browser: Any) -> None:
    """The figure's question: no threshold finds both triangles without a box too many."""
    with Visit(browser, built / "book/06_boxes_and_hog.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-nms[data-ready=true]")
        figure.wait_for()
        threshold = figure.get_by_role("slider", name="NMS threshold")
        threshold.press("Home")
        page.wait_for_selector(".pti-nms[data-kept='1'][data-found='1'][data-wrong='0']")
        for _ in range(40):
            threshold.press("ArrowRight")
        page.wait_for_selector(".pti-nms[data-kept='3'][data-found='2'][data-wrong='1']")
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert float(figure.get_attribute("data-iou")) > 0
        page.mouse.move(box["x"] + box["width"] * 30 / 120, box["y"] + box["height"] * 25 / 80)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 12 / 120, box["y"] + box["height"] * 5 / 80)
        page.mouse.up()
        page.wait_for_function("+document.querySelector('.pti-nms').dataset.giou < 0.1")
        assert visit.complaints == []


def test_cells_are_visited_in_the_chapter_on_boxes(built: Path, browser: Any) -> None:
    """The histogram follows the pointer and the keys."""
    with Visit(browser, built / "book/06_boxes_and_hog.html", 1280, "dark") as visit:
        page = visit.page
        figure = page.locator(".pti-hog[data-ready=true]")
        figure.wait_for()
        canvas = figure.locator("canvas").nth(1)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 3.5 / 16, box["y"] + box["height"] * 5.5 / 16)
        page.wait_for_selector(".pti-hog[data-row='5'][data-column='3']")
        canvas.press("ArrowDown")
        page.wait_for_selector(".pti-hog[data-row='6'][data-column='3']")
        assert visit.complaints == []


def test_anchors_find_their_objects_in_the_chapter_on_faster_rcnn(
    built: Path, browser: Any
) -> None:
    """Without the last rule one object goes without an anchor; a lower threshold gives it some."""
    with Visit(browser, built / "book/08_faster_rcnn_and_fpn.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-matcher[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-missed") == "0"
        figure.get_by_role("checkbox", name="keep best").click()
        page.wait_for_selector(".pti-matcher[data-missed='1']")
        high = figure.get_by_role("slider", name="object from", exact=True)
        for _ in range(5):  # from 0.7 to 0.45; the rod's best anchor has 0.499
            high.press("ArrowLeft")
        page.wait_for_selector(".pti-matcher[data-missed='0']")
        low = figure.get_by_role("slider", name="background below", exact=True)
        for _ in range(3):  # from 0.3 to 0.45
            low.press("ArrowRight")
        page.wait_for_selector(".pti-matcher[data-ignored='0']")
        figure.locator("input[value='2']").click()
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector(".pti-matcher[data-chosen='2,4,4']")
        assert figure.locator(".pti-anchor").count() == 3
        assert visit.complaints == []


def test_roi_shift_follows_the_keys_in_its_chapter(built: Path, browser: Any) -> None:
    """A tenth of a pixel moves RoIAlign's grid and not RoIPool's; a whole stride moves both."""
    with Visit(browser, built / "book/10_mask_rcnn.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-roi[data-ready=true]")
        figure.wait_for()
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        canvas.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(".pti-roi[data-x='0.1']")
        assert float(figure.get_attribute("data-align")) > 0
        assert float(figure.get_attribute("data-pool")) == 0
        read = figure.get_attribute("data-read")
        box = canvas.bounding_box()
        middle = box["x"] + box["width"] * 32 / 128, box["y"] + box["height"] * 74 / 128
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + box["width"] * 8 / 128, middle[1], steps=5)
        page.mouse.up()
        page.wait_for_function("() => +document.querySelector('.pti-roi').dataset.x > 7")
        assert figure.get_attribute("data-read") != read
        assert float(figure.get_attribute("data-pool")) > 0
        figure.locator("input[value='7']").click()
        page.wait_for_selector(".pti-roi[data-bins='7']")
        assert visit.complaints == []


def test_a_pixel_claims_others_in_chapter_12(built: Path, browser: Any) -> None:
    """Another pixel claims others, a low threshold claims more, and the first seed makes the first instance."""
    with Visit(browser, built / "book/12_spatial_embeddings.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-figure[data-ready=true]")
        figure.wait_for()
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        first = figure.get_attribute("data-pixel")
        claimed = int(figure.get_attribute("data-claimed"))
        assert claimed > 100 and float(figure.get_attribute("data-iou")) > 0.9
        box = canvas.bounding_box()
        page.mouse.click(box["x"] + box["width"] * 24 / 96, box["y"] + box["height"] * 13 / 96)
        page.wait_for_function(
            "pixel => document.querySelector('.pti-figure').dataset.pixel !== pixel", arg=first
        )
        assert 10 < int(figure.get_attribute("data-claimed")) < claimed
        figure.get_by_role("button", name="Next seed").click()
        page.wait_for_selector(".pti-figure[data-rounds='1']")
        assert visit.complaints == []


def test_a_map_is_painted_in_chapter_13(built: Path, browser: Any) -> None:
    """A stroke lowers MAE or raises it, undo takes it back, and the outline alone pleases only the boundary F."""
    with Visit(browser, built / "book/13_saliency_metrics.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-painter[data-ready=true]")
        figure.wait_for()
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        before = figure.get_attribute("data-mae")
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.1)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.6, steps=4)
        page.mouse.up()
        page.wait_for_selector(".pti-painter[data-steps='1']")
        assert float(figure.get_attribute("data-mae")) > float(before)
        figure.get_by_role("button", name="Undo").click()
        page.wait_for_selector(f".pti-painter[data-mae='{before}']")
        figure.get_by_role("button", name="outline only").click()
        page.wait_for_selector(".pti-painter[data-solved='true']")
        assert float(figure.get_attribute("data-f")) < 0.6
        assert visit.complaints == []


def test_a_walk_through_the_planes_of_chapter_14(built: Path, browser: Any) -> None:
    """Keys and mouse change the digit, every plane answers, and questions give other answers."""
    with Visit(browser, built / "book/14_autoencoder_to_cvae.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-walk[data-ready=true]")
        figure.wait_for()
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        ink = figure.get_attribute("data-ink")
        canvas.focus()
        page.keyboard.press("Shift+ArrowLeft")
        changed = "ink => document.querySelector('.pti-walk').dataset.ink !== ink"
        page.wait_for_function(changed, arg=ink)
        figure.get_by_role("radio", name="VAE", exact=True).check(force=True)
        page.wait_for_selector(".pti-walk[data-plane='1']")
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5, steps=4)
        page.mouse.up()
        page.wait_for_timeout(100)
        figure.get_by_role("radio", name="CVAE").check(force=True)
        page.wait_for_selector(".pti-walk[data-plane='2'][data-x='0.000']")
        ink = figure.get_attribute("data-ink")
        slider = figure.get_by_role("slider", name="question")
        slider.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(".pti-walk[data-question='1']")
        assert figure.get_attribute("data-ink") != ink
        figure.get_by_role("radio", name="decoded digits").check(force=True)
        page.wait_for_selector(".pti-walk[data-look='decoded']")
        assert visit.complaints == []


def test_gamma_turns_the_easy_negatives_down_in_chapter_9(built: Path, browser: Any) -> None:
    """From the cross-entropy to the paper's gamma the positives' share of the gradient multiplies."""
    with Visit(browser, built / "book/09_one_stage.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-focal[data-ready=true]")
        figure.wait_for()
        slider = figure.get_by_role("slider", name="gamma")
        slider.scroll_into_view_if_needed()
        slider.focus()
        page.keyboard.press("Home")
        page.wait_for_selector(".pti-focal[data-gamma='0.0']")
        before = float(figure.get_attribute("data-positive"))
        assert float(figure.get_attribute("data-easy")) > 0.9
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        page.wait_for_selector(".pti-focal[data-gamma='2.0']")
        assert float(figure.get_attribute("data-positive")) > 5 * before
        figure.get_by_role("slider", name="alpha").focus()
        page.keyboard.press("End")  # 1: negatives weigh nothing
        page.wait_for_selector(".pti-focal[data-positive='1.0000']")
        assert visit.complaints == []


def test_shapes_are_clustered_in_chapter_9(built: Path, browser: Any) -> None:
    """Each iteration is played to the end, and the end is better than the start."""
    with Visit(browser, built / "book/09_one_stage.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-clusters[data-ready=true]")
        figure.wait_for()
        canvas = figure.locator("canvas").first
        canvas.scroll_into_view_if_needed()
        canvas.focus()
        page.keyboard.press("Escape")
        page.wait_for_selector(".pti-clusters[data-step='0']")
        start = float(figure.get_attribute("data-now"))
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(".pti-clusters[data-step='1']")
        figure.get_by_role("button", name="Play").click()
        last = figure.get_attribute("data-steps")
        page.wait_for_selector(f".pti-clusters[data-step='{last}']")
        assert float(figure.get_attribute("data-now")) > start
        shapes = figure.get_by_role("slider", name="shapes")
        shapes.focus()
        page.keyboard.press("End")
        page.wait_for_selector(".pti-clusters[data-k='9']")
        assert float(figure.get_attribute("data-end")) > float(figure.get_attribute("data-hand"))
        assert visit.complaints == []


def test_samples_vote_in_chapter_15(built: Path, browser: Any) -> None:
    """Samples are drawn to the last; the hits add up; and a smaller share makes a larger consensus."""
    with Visit(browser, built / "book/15_ucnet.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-vote[data-ready=true]")
        figure.wait_for()
        figure.get_by_role("button", name="Draw a sample").click()
        page.wait_for_selector(".pti-vote[data-drawn='2']")
        figure.get_by_role("button", name="Play").click()
        page.wait_for_selector(".pti-vote[data-playing='false']:not([data-drawn='2'])")
        drawn = int(figure.get_attribute("data-drawn"))
        assert figure.get_by_role("button", name="Draw a sample").is_disabled()
        *hits, nobody = (int(v) for v in figure.get_attribute("data-hits").split(","))
        assert drawn >= 8 and len(hits) == 3 and nobody < drawn and max(hits) <= drawn - nobody
        half = int(figure.get_attribute("data-agreed"))
        figure.get_by_role("slider", name="threshold").focus()
        page.keyboard.press("Home")
        page.wait_for_selector(".pti-vote[data-threshold='0.05']")
        assert int(figure.get_attribute("data-agreed")) > half
        assert visit.complaints == []
