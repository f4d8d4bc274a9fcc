"""API tokens as texts."""

from __future__ import annotations

import hashlib

import pytest

from app.infrastructure.api_tokens import contains_token, hash_of, is_meant_as_token, new_token, prefix_of


def test_a_token_has_256_random_bits_and_is_kept_as_their_hash() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert len(token) == 3 + 43 and is_meant_as_token(token) and contains_token(f"see {token}!")
        assert hash_of(token) == hashlib.sha256(token.encode()).digest()
        assert len(prefix_of(token)) == 11 and token.startswith(prefix_of(token))


@pytest.mark.parametrize(
    "text",
    ["", "hs_", "x" * 46, "hs_" + "x" * 42, "hs_" + "x" * 44, "hs_" + "x" * 42 + "\n", "hs_" + "\u00e9" * 43,
     "HS_" + "x" * 43, " hs_" + "x" * 43, "hs_" + "\u0661" * 43],
)  # fmt: skip
def test_what_is_none_has_no_hash(text: str) -> None:
    assert hash_of(text) is None
