"""Names of users and their passwords."""

from __future__ import annotations

import pytest

from app.domain.accounts import LONGEST_PASSWORD, password_faults, username_faults


@pytest.mark.parametrize("name", ["jo", "anna", "build-server.7", "anna_b", "a.b@example.com", "7up", "x" * 64])
def test_good_names(name: str) -> None:
    assert username_faults(name) == []


@pytest.mark.parametrize(
    "name",
    ["", "a", "Anna", "-anna", ".anna", "x" * 65, "a b", "anna\n", "\u00e4nna", "\u0430nna", "/", "a\x00b", "a\u200d"],
)
def test_bad_names(name: str) -> None:
    (fault,) = username_faults(name)
    assert fault.startswith("must be 2 to 64 of ")


def test_the_name_of_the_orchestrator_itself_is_taken() -> None:
    (fault,) = username_faults("system")
    assert "choose another one" in fault


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "too short"),
        ("eleven-char", "too short"),
        ("x" * (LONGEST_PASSWORD + 1), "too long"),
        ("HotSwap-is-great", "'hotswap'"),
        ("i-am-ANNA-yes-i-am", "'anna'"),
    ],
)
def test_bad_passwords_are_told_without_repeating_them(password: str, said: str) -> None:
    (fault,) = password_faults(password, "anna")
    assert said in fault
    assert not password or password not in fault


def test_both_words_are_named() -> None:
    assert len(password_faults("anna-likes-hotswap", "anna")) == 2


def test_good_passwords() -> None:
    assert password_faults("twelve-chars", "anna") == []
    assert password_faults("x" * LONGEST_PASSWORD, "anna") == []
    assert password_faults("\u00e4\u00f6\u00fc\U0001f600" * 3, "anna") == []
    assert password_faults("anna-likes-swaps") == [], "nobody's name is known"


def test_a_very_short_name_may_stand_in_a_password() -> None:
    assert password_faults("major-tom-to-ground", "jo") == []
