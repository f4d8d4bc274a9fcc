"""What the program in the sandbox answers, and its form in JSON. Read back it is a stranger's word: every field is
checked for type and size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.domain.tested import LONGEST_NAME, MOST_NAMES, TestCounts
from app.infrastructure.scanners.wording import clean

MOST_COMPLAINTS = 10
LONGEST_COMPLAINT = 300
LONGEST = 512 * 1024
"""Bytes: more than all names and complaints, with six for each half of a character."""
_MOST_NUMBER = 2**53


class AnswerInvalid(ValueError):
    """Not what the program writes; one sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`counts` is None without a report that could be read. `complaints` are the first ones: what was not read, and
    why; the last of them says how many there are besides."""

    counts: TestCounts | None = None
    complaints: tuple[str, ...] = ()

    def dumps(self) -> str:
        """One line of ASCII."""
        counts = None
        if self.counts is not None:
            failing = [clean(name, LONGEST_NAME) for name in self.counts.failing]
            counts = [self.counts.total, self.counts.failed, self.counts.skipped, failing]
        complaints = [clean(each, LONGEST_COMPLAINT) for each in self.complaints]
        return json.dumps({"counts": counts, "complaints": complaints})


def parse_answer(line: bytes) -> Answer:
    """Raises AnswerInvalid, whatever it is given."""
    try:
        body: Any = json.loads(line.decode("ascii"))
    except (ValueError, RecursionError):
        raise AnswerInvalid("it is no JSON") from None
    if not isinstance(body, dict):
        raise AnswerInvalid("it is no object")
    complaints = _texts(body.get("complaints"), MOST_COMPLAINTS + 1, LONGEST_COMPLAINT)
    return Answer(None if body.get("counts") is None else _counts(body["counts"]), complaints)


def _counts(value: object) -> TestCounts:
    if not isinstance(value, list) or len(value) != 4:
        raise AnswerInvalid("it holds no counts")
    *numbers, failing = value
    if not all(type(number) is int and 0 <= number < _MOST_NUMBER for number in numbers):
        raise AnswerInvalid("a count is none")
    total, failed, skipped = numbers
    names = _texts(failing, MOST_NAMES, LONGEST_NAME)
    if failed + skipped > total or len(names) > failed:
        raise AnswerInvalid("its counts do not add up")
    return TestCounts(total, failed, skipped, names)


def _texts(value: object, most: int, longest: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise AnswerInvalid("a list is none, or too long")
    if not all(isinstance(each, str) and len(each) <= longest for each in value):
        raise AnswerInvalid("a text is none, or too long")
    return tuple(clean(each, longest) for each in value)
