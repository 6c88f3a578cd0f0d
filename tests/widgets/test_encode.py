"""What figures store is close to what they were given, and wrong arguments are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lessons_lib.widgets import EmbeddingExplorer, TrainingReplay, encode


def test_quantised_numbers_are_at_most_half_a_step_away() -> None:
    values = np.random.default_rng(0).normal(size=(500, 7)) * [1e-3, 1, 5, 1e3, 1e-9, 2, 3]
    stored = encode.quantise(values)
    step = (stored.high - stored.low) / 255
    assert (np.abs(stored.restore() - values) <= 0.5 * step * (1 + 1e-9)).all()
    assert stored.codes.min() == 0 and stored.codes.max() == 255


def test_a_constant_column_stays_what_it_is() -> None:
    assert (encode.quantise(np.full((4, 2), 0.3)).restore() == 0.3).all()


def test_projection_is_the_plane_of_most_variance() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 6)) * [0.1, 5, 0.1, 2, 0.1, 0.1]
    plane = encode.project(points)
    assert np.allclose(plane.axes @ plane.axes.T, np.eye(2))
    assert np.abs(plane.axes).argmax(axis=1).tolist() == [1, 3]
    assert (plane.axes[[0, 1], [1, 3]] > 0).all()  # the free sign is settled
    share = plane.apply(points).var(axis=0).sum() / points.var(axis=0).sum()
    assert plane.kept == pytest.approx(share)


@pytest.mark.parametrize("dims", [1, 2])
def test_a_plane_is_shown_as_it_is(dims: int) -> None:
    points = np.random.default_rng(2).normal(size=(50, dims))
    plane = encode.project(points)
    assert np.allclose(plane.apply(points)[:, :dims], points - points.mean(axis=0))
    assert plane.kept == 1


def test_gray_pictures_are_stored_exactly_and_colours_closely() -> None:
    rng = np.random.default_rng(3)
    gray = rng.integers(0, 256, (9, 7)) / 255
    assert (encode.check_image(gray) == np.rint(gray * 255)).all()
    for same in (gray[None], np.stack([gray] * 3), np.stack([gray] * 3, axis=-1)):
        assert (encode.check_image(same) == encode.check_image(gray)).all()
    colour = encode.check_image(rng.random((3, 9, 7)))
    ids = np.ones((9, 7), int)
    state = encode.picture_state(colour, ids, ids > 0)
    palette = np.frombuffer(state["palette"], np.uint8).reshape(-1, 3).astype(int)
    shown = palette[np.frombuffer(state["pixels"], np.uint8)].reshape(9, 7, 3)
    assert np.abs(shown - colour).max() <= 1  # 63 pixels have at most 256 colours


def test_ids_are_renumbered_in_their_order() -> None:
    ids = np.array([[0, 900], [7, 42]])
    assert encode.check_instances(ids, (2, 2)).tolist() == [[0, 3], [1, 2]]


IMAGE = np.zeros((4, 5))
IDS = np.ones((4, 5), int)
CUBE = np.zeros((3, 4, 5))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((2, 4, 5))}, r"image has shape \(2, 4, 5\); expected"),
        ({"image": IMAGE + 2}, "image has values from 2 to 2; expected 0 to 1"),
        ({"image": IMAGE * np.nan}, "image has 20 values that are NaN"),
        ({"embedding": CUBE[:, :3]}, r"embedding has shape \(3, 3, 5\); expected \(3, 4, 5\)"),
        ({"embedding": IMAGE}, r"embedding has shape \(4, 5\); expected \(D, 4, 5\)"),
        ({"embedding": CUBE + np.inf}, "embedding has 60 values that are NaN or infinite"),
        ({"instances": IDS * 0}, "instances marks no pixel"),
        ({"instances": IDS - 2}, "instances contains -1"),
        ({"instances": IDS * 0.5}, "instances has type float64; expected whole numbers"),
        ({"instances": np.arange(1, 301).reshape(15, 20), "image": np.zeros((15, 20))}, "300 ids"),
        ({"foreground": IDS}, "foreground has type int64; expected bool"),
        ({"foreground": IDS < 0}, "foreground marks no pixel"),
        ({"delta_v": 0}, "delta_v is 0; expected a finite number above 0"),
        ({"delta_d": float("nan")}, "delta_d is nan"),
        ({"radius": "big"}, "radius is 'big'; expected one of 'delta_v'"),
        ({"min_size": 0}, "min_size is 0; expected a whole number, at least 1"),
    ],
)
def test_explorer_names_a_wrong_argument(changed: dict, message: str) -> None:
    arguments = {"image": IMAGE, "embedding": CUBE, "instances": IDS, **changed}
    with pytest.raises(ValueError, match=message):
        EmbeddingExplorer.from_arrays(**arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embeddings": [CUBE] * 3}, "embeddings has 3 steps; expected 2"),
        ({"embeddings": [CUBE, CUBE[:, 1:]]}, r"embeddings\[1\] has shape \(3, 3, 5\)"),
        ({"embeddings": [CUBE, CUBE[1:]]}, r"embeddings has steps of \[2, 3\] dimensions"),
        ({"embeddings": [CUBE * np.nan, CUBE]}, r"embeddings\[0\] has 60 values that are NaN"),
        ({"steps": [5, 5]}, r"steps is \[5, 5\]; expected at least two rising numbers"),
        ({"scores": [1, 2, 3]}, r"scores has shape \(3,\); expected \(2,\)"),
        ({"losses": [1, np.nan]}, "losses has 1 values that are NaN"),
        ({"max_points": 0}, "max_points is 0"),
    ],
)
def test_replay_names_a_wrong_argument(changed: dict, message: str) -> None:
    arguments = {"image": IMAGE, "instances": IDS, "embeddings": [CUBE] * 2, "steps": [0, 5]}
    with pytest.raises(ValueError, match=message):
        TrainingReplay.from_arrays(**{**arguments, **changed})


def test_a_margin_set_later_is_checked_too() -> None:
    figure = EmbeddingExplorer.from_arrays(IMAGE, CUBE, IDS)
    with pytest.raises(ValueError, match="delta_v is -1"):
        figure.delta_v = -1


def test_tensors_of_any_kind_are_taken() -> None:
    embedding = torch.randn(3, 4, 5, dtype=torch.bfloat16, requires_grad=True)
    figure = EmbeddingExplorer.from_arrays(torch.rand(3, 4, 5), embedding, torch.ones(4, 5).long())
    restored = torch.from_numpy(figure.points()).float().T.reshape(3, 4, 5)
    assert torch.allclose(restored, embedding.detach().float(), atol=0.02)
