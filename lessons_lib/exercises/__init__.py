"""Checkers for the readers' answers: one for each exercise of the book.

A checker takes the reader's function, tries it, prints what it found right and returns True; for a
wrong answer it raises :class:`NotYet` with what to look at next.
"""

from lessons_lib.exercises.checking import NotYet
from lessons_lib.exercises.discriminative_loss import (
    check_local_push_term,
    check_push_term,
    check_safe_radii,
)

__all__ = ["NotYet", "check_local_push_term", "check_push_term", "check_safe_radii"]
