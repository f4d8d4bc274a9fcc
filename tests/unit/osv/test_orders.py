"""The orders of versions: the examples of the specifications, and what any order must hold to."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.components import Ecosystem
from app.infrastructure.osv.maven_order import MavenVersion
from app.infrastructure.osv.ordering import NotComparable, ordered, semantic

# Ascending, from the examples of Maven's version order specification and of what released artifacts are called.
# A busy machine is no failure.
AT_ANY_PACE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ASCENDING = [
    ["1-alpha2-snapshot", "1-alpha2", "1-alpha-123", "1-beta-2", "1-m2", "1-m11", "1-rc", "1-cr2", "1-SNAPSHOT", "1"],
    ["1", "1-sp", "1-sp2", "1-abc", "1-def", "1-1-snapshot", "1-1", "1-2", "1.1"],
    ["2.0", "2.0.a", "2-1", "2.0.2", "2.0.123", "2.1.0", "2.1-a", "2.1-c", "2.1-1", "2.1.0.1", "2.2", "2.123"],
    ["11.a2", "11.b2", "11.m2", "11.m11", "11", "11.a"],
    ["2.9.10.Final", "2.9.10.1", "2.10.0.RC1", "2.10.0", "2.10.1"],
    ["31.0-android", "31.0.1-android", "31.0.1-jre", "31.1-jre"],
    ["1.0.0-20220101", "1.0.0-20230101", "1.0.1"],
]
EQUAL = [
    *(("1", other) for other in ("1.0", "1.0.0", "1-0", "1.0-0", "1ga", "1.final", "1-RELEASE", "01")),
    *(("1-x", other) for other in ("1x", "1.0x", "1.0.0-x", "1.x", "1.0.X")),
    *(("1-alpha-1", other) for other in ("1a1", "1.0.0-alpha1", "1-ALPHA-1")),
    ("1-rc-1", "1cr1"),
    ("0", "0.0"),
    ("1-1.foo-bar-1-baz-0.1", "1-1.foo-bar1baz-.1"),
]
SEPARATORS = ("", ".", "-", "_", "..")
TOKENS = ("0", "1", "2", "10", "00", "a", "alpha", "rc", "ga", "sp", "final", "x", "é")
VERSIONS = st.lists(st.tuples(st.sampled_from(SEPARATORS), st.sampled_from(TOKENS)), max_size=6).map(
    lambda parts: "1" + "".join(separator + part for separator, part in parts)
)


@pytest.mark.parametrize("versions", ASCENDING)
def test_mavens_order(versions: list[str]) -> None:
    for lower, higher in combinations(versions, 2):
        assert MavenVersion(lower) < MavenVersion(higher), f"{lower} < {higher}"
        assert not MavenVersion(higher) < MavenVersion(lower), f"{higher} > {lower}"


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_what_maven_takes_for_the_same(one: str, other: str) -> None:
    assert MavenVersion(one) == MavenVersion(other)
    assert hash(MavenVersion(one)) == hash(MavenVersion(other))


@AT_ANY_PACE
@given(VERSIONS, VERSIONS, VERSIONS)
def test_mavens_order_is_one(one: str, two: str, three: str) -> None:
    first, second, third = sorted([MavenVersion(one), MavenVersion(two), MavenVersion(three)])
    assert first <= second <= third
    assert first <= third
    assert (MavenVersion(one) < MavenVersion(two)) + (MavenVersion(two) < MavenVersion(one)) == (
        MavenVersion(one) != MavenVersion(two)
    )


@AT_ANY_PACE
@given(st.text(max_size=40))
def test_any_text_is_a_version_for_maven(text: str) -> None:
    assert MavenVersion(text) == MavenVersion(text.upper()) or text.upper().lower() != text.lower()


def test_a_number_of_many_digits_is_compared_in_bounded_time() -> None:
    assert MavenVersion("1." + "9" * 100_000) > MavenVersion("1.2")


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("1.0.0-alpha", "1.0.0-alpha.1"),
        ("1.0.0-alpha.1", "1.0.0-alpha.beta"),
        ("1.0.0-beta.2", "1.0.0-beta.11"),
        ("1.0.0-rc.1", "1.0.0"),
        ("1.9.0", "1.10.0"),
        ("1", "1.0.1"),
        ("v1.2", "1.2.1"),
        ("1-rc.1", "1.0.0"),
    ],
)
def test_the_order_of_npm(lower: str, higher: str) -> None:
    one, two = ordered(Ecosystem.NPM, lower), ordered(Ecosystem.NPM, higher)
    assert one < two
    assert not two < one


def test_build_metadata_does_not_count() -> None:
    assert not semantic("1.0.0+a") < semantic("1.0.0+b")
    assert not semantic("1.0.0+b") < semantic("1.0.0+a")


@pytest.mark.parametrize(("lower", "higher"), [("1.0a1", "1.0"), ("1.0", "1.0.post1"), ("1.9", "1.10"), ("9", "1!0")])
def test_the_order_of_pypi(lower: str, higher: str) -> None:
    assert ordered(Ecosystem.PYPI, lower) < ordered(Ecosystem.PYPI, higher)


@pytest.mark.parametrize(
    ("ecosystem", "version"), [(Ecosystem.PYPI, "latest"), (Ecosystem.NPM, "x"), (Ecosystem.MAVEN, "1" * 300)]
)
def test_what_cannot_be_compared_is_said(ecosystem: Ecosystem, version: str) -> None:
    with pytest.raises(NotComparable):
        ordered(ecosystem, version)
