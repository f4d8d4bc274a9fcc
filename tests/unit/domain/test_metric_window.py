"""The points of a history: bounded, on a grid, with defaults that always fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.domain.metric_window import MOST_POINTS, window

NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def refused(begin: datetime | None, end: datetime | None, interval: timedelta | None) -> dict[str, list[str]]:
    with pytest.raises(Invalid) as refusal:
        window(NOW, begin, end, interval)
    return refusal.value.errors


def test_the_last_hour_by_minutes() -> None:
    found = window(NOW, None, None, None)
    buckets = list(found.buckets())
    assert found.interval == MINUTE
    assert buckets[0] == datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
    # The minute that is not over is one of them.
    assert buckets[-1] == datetime(2026, 11, 24, 12, 0, tzinfo=UTC) and len(buckets) == 61


def test_the_end_is_not_in_it() -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert list(window(NOW, noon - 2 * MINUTE, noon, MINUTE).buckets()) == [noon - 2 * MINUTE, noon - MINUTE]


def test_only_an_end_is_the_hour_before_it() -> None:
    end = NOW - timedelta(days=3)
    assert window(NOW, None, end, None).start == datetime(2026, 11, 21, 11, 0, tzinfo=UTC)


def test_a_span_too_long_for_days_takes_the_fewest_whole_days() -> None:
    found = window(NOW, datetime(2020, 1, 1, tzinfo=UTC), None, None)
    assert found.interval == timedelta(days=3)
    assert len(list(found.buckets())) <= MOST_POINTS


def test_what_is_refused() -> None:
    assert refused(NOW, NOW, None).keys() == {"from"}
    assert refused(NOW + MINUTE, None, timedelta()).keys() == {"from", "interval"}
    assert refused(None, None, timedelta(milliseconds=999)).keys() == {"interval"}
    too_many = refused(NOW - timedelta(days=7), NOW, MINUTE)
    assert too_many == {"interval": ["makes more than 1000 points of that span: at least 606s"]}


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2199, 12, 30), timezones=st.just(UTC)),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=30_000)),
    st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=4000)),
)
def test_never_too_many_and_nothing_left_out(begin: datetime, span: timedelta, interval: timedelta | None) -> None:
    end = begin + min(span, datetime(2200, 1, 1, tzinfo=UTC) - begin)
    try:
        found = window(NOW, begin, end, interval)
    except Invalid as invalid:
        assert interval is not None and invalid.errors.keys() == {"interval"}
        return
    buckets = list(found.buckets())
    assert 1 <= len(buckets) <= MOST_POINTS
    assert buckets[0] <= begin < buckets[0] + found.interval
    assert buckets[-1] < end <= buckets[-1] + found.interval
    assert (buckets[0] - datetime(1970, 1, 1, tzinfo=UTC)) % found.interval == timedelta()
