"""Refusals carry a sentence, and what their answer needs beside it."""

from __future__ import annotations

from app.domain.errors import Conflict, Invalid, Locked, StaleVersion, TooMany, Unavailable


def test_a_refusal_is_a_sentence() -> None:
    assert str(Invalid({"a": ["is bad", "is worse"], "b": ["too"]})) == "a: is bad; b: too"
    assert str(Invalid({})) == "The input is not valid."
    assert str(StaleVersion(7)) == (
        "It has changed since: the current version is 7. Read it again and repeat the change."
    )
    assert isinstance(StaleVersion(7), Conflict)


def test_a_refusal_says_when_to_come_again() -> None:
    assert (Locked("locked", 900).retry_after, TooMany("full", 5).retry_after) == (900, 5)
    assert (Unavailable("away").retry_after, Unavailable("away", 9).retry_after) == (2, 9)
    assert (str(Locked("locked", 1)), str(TooMany("full", 1)), str(Unavailable("away"))) == ("locked", "full", "away")
    assert StaleVersion(7).current == 7
