"""Whatever is told, no secret is in it: by name, by value, by looks; and what is no secret stays readable."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.telemetry.redaction import REDACTED, Redactor, named_secret

SECRETS = st.text(st.characters(codec="utf-8"), min_size=6, max_size=30).filter(lambda text: text not in REDACTED)


@given(SECRETS, st.text(max_size=20), st.text(max_size=20))
def test_a_known_secret_is_in_no_text_and_in_no_json(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    assert secret not in redactor.text(before + secret + after).replace(REDACTED, "")
    line = redactor.text(json.dumps({"event": f"{before} {secret} {after}"}))
    assert secret not in line.replace(REDACTED, "")
    assert json.dumps(secret)[1:-1] not in line.replace(REDACTED, "")


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer abcdefgh.ijkl",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "hs_0123456789abcdefghij",
        "postgresql://hotswap:topsecret@127.0.0.1:5432/hotswap",
        "redis://:topsecret@127.0.0.1/0",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEI\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\ncut in the midd",
    ],
)
def test_what_looks_like_a_secret_goes(said: str) -> None:
    shown = Redactor().text(f"before {said} after")
    assert REDACTED in shown and shown.startswith("before")
    for part in ("abcdefgh", "c2ln", "0123456789abc", "topsecret", "MC4C", "midd"):
        assert part not in shown


def test_what_is_no_secret_stays() -> None:
    said = "http://127.0.0.1:8000/api/v1 sha256:ab12 hs_short 01900000-0000-7000-8000-000000000001 the bearer of news"
    assert Redactor(["short", ""]).text(said) == said


@pytest.mark.parametrize("piece", ["eyJ-", "a://:", "x:", "-----BEGIN ", "Bearer ", "hs_", "://", "eyJaaaaaaaa."])
def test_a_long_line_takes_no_longer_than_its_length(piece: str) -> None:
    """What others send is in our lines: no text may keep a process busy."""
    redactor = Redactor(["a known secret"])
    begun = time.monotonic()
    redactor.text(piece * (400_000 // len(piece)))
    assert time.monotonic() - begun < 20


def test_names_tell() -> None:
    secret = ("password", "admin_password", "Authorization", "api-key", "apiKey", "token", "x_token", "Set-Cookie")
    assert all(named_secret(name) for name in secret)
    assert not any(named_secret(name) for name in ("fencing_token_number", "tokens_seen", "keyId", "author", "passed"))
    said: dict[str, object] = {"token": 17, "password": "x", "nested": {"secret": "y", "module": "m"}}
    Redactor().fields(said)
    assert said == {"token": 17, "password": REDACTED, "nested": {"secret": REDACTED, "module": "m"}}
    whole = Redactor(["planted"]).whole({"a": ["planted", {"cookie": "c"}], "n": 1})
    assert whole == {"a": [REDACTED, {"cookie": REDACTED}], "n": 1}
