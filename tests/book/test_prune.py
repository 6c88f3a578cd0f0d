"""What is taken out of the pages: nothing that a figure needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from prune_build import STATE, slim_state


def test_figures_stay_whole_and_controls_lose_their_state() -> None:
    figure = {
        "model_name": "AnyModel",
        "state": {"alt": "a </script> in it", "picture": {"width": 3}},
    }
    slider = {"model_name": "IntSliderModel", "state": {"value": 3, "layout": "IPY_MODEL_l"}}
    box = {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_s"], "box_style": ""}}
    state = {"f": figure, "s": slider, "b": box}
    state["l"] = {"model_name": "LayoutModel", "state": {}}
    state["t"] = {"model_name": "SliderStyleModel", "state": {}}
    document = {"version_major": 2, "version_minor": 0, "state": state}
    slim = slim_state(json.dumps(document))
    assert "</" not in slim, "it would end the script element"
    kept = json.loads(slim)
    assert (kept["version_major"], kept["version_minor"]) == (2, 0)
    assert kept["state"] == {
        "f": figure,
        "s": {"model_name": "IntSliderModel", "state": {}},
        "b": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_s"]}},
    }


def test_the_state_is_found_in_a_page() -> None:
    script = '<script type="application/vnd.jupyter.widget-state+json">'
    page = f'<p>{{}}</p>{script}\n{{"state": {{}}}}\n</script><script>1</script>'
    assert STATE.sub(lambda m: m[1] + "X" + m[3], page) == (
        f"<p>{{}}</p>{script}X</script><script>1</script>"
    )
