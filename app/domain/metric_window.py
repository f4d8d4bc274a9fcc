"""Which points of time a history of metrics is asked for: bounded, and on the same grid for everybody who asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.durations import short_duration
from app.domain.errors import Invalid

MOST_POINTS = 1000
DEFAULT_SPAN = timedelta(hours=1)
SHORTEST = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What is taken where no interval is given: the finest that fits; of a span for which none does, the fewest whole days.
_STEPS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 360, 1440))


@dataclass(frozen=True, slots=True)
class Window:
    """Buckets of `interval`, from `start` (a multiple of it since 1970) to the one that reaches or holds `end`."""

    start: datetime
    end: datetime
    interval: timedelta

    def buckets(self) -> Iterator[datetime]:
        """The beginning of each, oldest first."""
        moment = self.start
        while moment < self.end:
            yield moment
            moment += self.interval


def window(now: datetime, begin: datetime | None, end: datetime | None, interval: timedelta | None) -> Window:
    """The last hour by minutes where nothing else is said.

    Raises Invalid: `from` is not before `to`, the interval is shorter than a second or makes too many points.
    """
    until = end if end is not None else now
    since = begin if begin is not None else until - DEFAULT_SPAN
    errors: dict[str, list[str]] = {}
    if since >= until:
        errors["from"] = ["must be before `to`" if end is not None else "must be before now, which is where `to` is"]
    if interval is not None and interval < SHORTEST:
        errors["interval"] = ["must be at least 1s"]
    if errors:
        raise Invalid(errors)
    step = interval if interval is not None else _fitting(until - since)
    start = _EPOCH + (since - _EPOCH) // step * step
    if (until - start) > step * MOST_POINTS:
        least = timedelta(seconds=-(-(until - since).total_seconds() // (MOST_POINTS - 1)))
        raise Invalid(
            {"interval": [f"makes more than {MOST_POINTS} points of that span: at least {short_duration(least)}"]}
        )
    return Window(start, until, step)


def _fitting(span: timedelta) -> timedelta:
    for step in _STEPS:
        if span <= step * (MOST_POINTS - 1):
            return step
    return timedelta(days=span // timedelta(days=MOST_POINTS - 1) + 1)
