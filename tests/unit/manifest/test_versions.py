"""Versions and ranges of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.manifest import VersionInvalid, VersionRange, parse_version


@pytest.mark.parametrize(
    ("wanted", "within", "without"),
    [
        (">=1.4, <3", ["1.4.0", "2.9.9", "2.0.0-rc.1"], ["1.3.9", "1.4.0-rc.1", "3.0.0", "3.0.0-rc.1"]),
        ("1.4", ["1.4.0", "1.4.9"], ["1.3.9", "1.5.0", "1.5.0-a"]),
        ("1.4.2", ["1.4.2", "1.4.2+build"], ["1.4.3", "1.4.2-rc"]),
        ("=1", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("==1.2.3", ["1.2.3"], ["1.2.4"]),
        (">1.4", ["1.5.0"], ["1.4.9", "1.4.0"]),
        (">1.4.2", ["1.4.3"], ["1.4.2"]),
        ("<=1.4", ["1.4.9", "1.0.0"], ["1.5.0"]),
        ("<=1.4.2", ["1.4.2"], ["1.4.3"]),
        ("<1.4.2", ["1.4.1", "1.4.2-rc"], ["1.4.2"]),
        ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0", "2.0.0-a"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("^0.0", ["0.0.9"], ["0.1.0"]),
        ("^0", ["0.9.9"], ["1.0.0"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0"]),
        ("~1.2", ["1.2.0"], ["1.3.0"]),
        ("~1", ["1.9.9"], ["2.0.0"]),
        ("1.x", ["1.0.0", "1.9.0"], ["2.0.0"]),
        ("1.4.*", ["1.4.4"], ["1.5.0"]),
        ("*", ["0.0.0-a", "99.0.0"], []),
        (">=1.0.0-rc.1 <2", ["1.0.0-rc.1", "1.0.0"], ["1.0.0-beta"]),
        (" >= 1.4 ,<3 ", ["2.0.0"], ["3.0.0"]),
    ],
)
def test_ranges(wanted: str, within: list[str], without: list[str]) -> None:
    found = VersionRange.parse(wanted)
    assert [version for version in within if not found.allows(version)] == []
    assert [version for version in without if found.allows(version)] == []
    assert str(found) == wanted
    assert VersionRange.parse(wanted) == found


@pytest.mark.parametrize(
    "wanted",
    ["", " ", ",", "about 2", ">=", "1.2.3.4", "=>1", "1 || 2", "01.2", "1.2-rc", ">=1.4;<3", "1.2.3-", "1.2.3-01", "x",
     "1.4 - 2", "9999999999", "1.\u0662"],
)  # fmt: skip
def test_what_is_no_range(wanted: str) -> None:
    with pytest.raises(VersionInvalid):
        VersionRange.parse(wanted)


@pytest.mark.parametrize("text", ["1.0.0", "0.0.0", "1.2.3-rc.1", "1.2.3+b.5", "1.2.3-x-y.z+5", "10.20.30"])
def test_versions(text: str) -> None:
    assert str(parse_version(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1.0", "like 1.0.0"), ("1", "like 1.0.0"), ("v1.2.3", "write '1.2.3'"), ("1.2.3.4", "semver.org"),
     ("01.2.3", "semver.org"), ("1.2.3-01", "semver.org"), ("", "semver.org"), ("1.2.3\n", "semver.org"),
     ("latest", "semver.org"), ("1.2.3 ", "semver.org")],
)  # fmt: skip
def test_what_is_no_version(text: str, reason: str) -> None:
    with pytest.raises(VersionInvalid, match=reason):
        parse_version(text)


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        found = VersionRange.parse(text)
    except VersionInvalid:
        return
    assert isinstance(found.allows("1.2.3"), bool)


@given(st.lists(st.integers(0, 12), min_size=3, max_size=3), st.lists(st.integers(0, 12), min_size=3, max_size=3))
def test_order_is_that_of_the_numbers(low: list[int], high: list[int]) -> None:
    one, other = (".".join(map(str, numbers)) for numbers in (low, high))
    assert VersionRange.parse(f">={one}").allows(other) == (high >= low)
    assert VersionRange.parse(f"<{one}").allows(other) == (high < low)
