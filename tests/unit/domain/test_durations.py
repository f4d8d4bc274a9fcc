"""Durations and amounts of nodes, as they stand in files and on the wire."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.durations import Amount, parse_amount, parse_duration, short_duration, wire_duration

TEN_YEARS = timedelta(days=3660)
LIKE = "must be a duration such as 90s, 5m or 2h"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("1h30m", 5400),
        (" 90s ", 90),
        ("00:01:30.250", 90.25),
        ("25:00:00", 90000),
        ("1.02:03:04", 93784),
        (90, 90),
        (0.0014, 0.001),
        (0, 0),
        ("3660d", 3660 * 86400),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "90",
        "s",
        "90 s",
        "-5s",
        "5x",
        "1s5",
        "s1",
        "1:2",
        "00:61:00",
        "00:00:61",
        None,
        True,
        [],
        {},
        "9" * 61 + "s",
    ],
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=f"^{LIKE}$"):
        parse_duration(text)


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("inf"), 10**400, "3661d", "99999.00:00:00"])
def test_what_is_out_of_bounds_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a duration between 0 and ten years$"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90, "90s"), (120, "2m"), (86400, "24h"), (0.25, "250ms"), (1.5, "1500ms"), (0, "0s"), (3600, "1h")],
)
def test_the_largest_unit_that_divides_it_is_shown(seconds: float, text: str) -> None:
    assert short_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, int(TEN_YEARS.total_seconds() * 1000)))
def test_what_is_shown_is_read_back(milliseconds: int) -> None:
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(short_duration(value)) == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (90.25, "00:01:30.250"),
        (0, "00:00:00.000"),
        (360000, "100:00:00.000"),
        (-5, "00:00:00.000"),
        (3661, "01:01:01.000"),
    ],
)
def test_the_wire_has_hours_minutes_seconds(seconds: float, text: str) -> None:
    assert wire_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("percent", "total", "count"), [(25, 8, 2), (25, 9, 3), (1, 1, 1), (0, 9, 0), (100, 7, 7), (20, 0, 0)]
)
def test_percentages_of_nodes_are_rounded_up(percent: int, total: int, count: int) -> None:
    assert Amount(percent, percent=True).of(total) == count


def test_numbers_of_nodes_are_taken_as_they_are() -> None:
    assert Amount(7, percent=False).of(3) == 7
    assert (str(Amount(7, percent=False)), str(Amount(7, percent=True))) == ("7", "7%")
    assert (Amount(7, percent=False).to_json(), Amount(7, percent=True).to_json()) == (7, "7%")


@pytest.mark.parametrize(
    ("value", "amount"),
    [
        ("25%", Amount(25, True)),
        (" 25% ", Amount(25, True)),
        ("0%", Amount(0, True)),
        ("100%", Amount(100, True)),
        ("7", Amount(7, False)),
        ("101", Amount(101, False)),
        (0, Amount(0, False)),
        (100_000, Amount(100_000, False)),
    ],
)
def test_amounts_are_read(value: object, amount: Amount) -> None:
    assert parse_amount(value) == amount


@pytest.mark.parametrize("value", ["101%", "-1", "", "%", "1.5%", "25 %", "1234567", -1, 100_001, 1.5, True, None, []])
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a number of nodes or a percentage from 0% to 100%$"):
        parse_amount(value)


def test_the_wire_shows_nothing_below_zero() -> None:
    assert wire_duration(timedelta(seconds=-5)) == "00:00:00.000"
