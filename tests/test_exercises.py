"""What every checker does with answers that are no answers. Right and wrong ones: tests/book."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from lessons_lib import exercises
from lessons_lib.exercises import NotYet

CHECKERS = [name for name in dir(exercises) if name.startswith("check_")]


def answering(answer: Any) -> Callable[..., Any]:
    def answered(*arguments: Any) -> Any:
        return answer

    return answered


@pytest.mark.parametrize("name", CHECKERS)
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "answered returned nothing yet"),
        (..., "answered returned nothing yet"),
        ("three", "number"),
        ([], "number"),
        ([1.0, 2.0, 3.0], "number"),
        ([1.0, [2.0, 3.0]], "number"),
        ({"a": 1, "b": 2}, "number"),
        (np.ones((2, 2)), "number"),
        (torch.ones(2, 2), "number"),
        (True, "number"),
    ],
    ids=repr,
)
def test_no_answer(name: str, answer: Any, message: str) -> None:
    with pytest.raises(NotYet, match=message):
        getattr(exercises, name)(answering(answer))


@pytest.mark.parametrize("name", CHECKERS)
def test_an_answer_that_stops(name: str) -> None:
    def answer(*arguments: Any) -> Any:
        return {}["means"]

    with pytest.raises(NotYet, match="answer stopped with KeyError: 'means'") as refusal:
        getattr(exercises, name)(answer)
    assert isinstance(refusal.value.__cause__, KeyError), "the reader sees where"


@pytest.mark.parametrize("name", CHECKERS)
@pytest.mark.parametrize(
    "answer", [partial(answering(None)), torch.nn.Identity()], ids=["partial", "module"]
)
def test_callables_without_a_name(name: str, answer: Callable[..., Any]) -> None:
    with pytest.raises(NotYet):
        getattr(exercises, name)(answer)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["check_push_term", "check_local_push_term"])
def test_a_number_that_is_none(name: str, value: float) -> None:
    with pytest.raises(NotYet, match=f"is {value}"):
        getattr(exercises, name)(answering(torch.tensor(value)))


def test_a_number_alone_is_no_pair_of_radii() -> None:
    with pytest.raises(NotYet, match="two numbers"):
        exercises.check_safe_radii(answering(1.0))
