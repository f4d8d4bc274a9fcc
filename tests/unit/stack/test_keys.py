"""The stack's own keys: made once, and rotated without the loss of what the old ones signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.signatures import generate, key_id, load_private, load_public, private_pem
from agent.trust import TrustedKeys
from deploy.local.datafolder import DataFolder
from deploy.local.keys import KeyUnusable, make_builder_key


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    make_builder_key(made)
    return made


def builder(data: DataFolder) -> str:
    """The id of the key that builds are attested with; its public half is that of the same key."""
    public = load_private(data.path("keys", "builder.key").read_bytes()).public_key()
    assert key_id(load_public(data.path("keys", "builder.pub").read_bytes())) == key_id(public)
    return key_id(public)


def believed(data: DataFolder) -> set[str]:
    return set(TrustedKeys(data.path("keys", "builders")).by_id())


def test_a_key_is_made_once(data: DataFolder) -> None:
    first = builder(data)
    make_builder_key(data)
    assert builder(data) == first
    assert believed(data) == {first}
    assert data.path("keys", "builder.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("another", [True, False])
def test_what_a_key_of_before_signed_stays_believed_until_its_file_is_taken_away(
    data: DataFolder, another: bool
) -> None:
    keys = [builder(data)]
    for _ in range(2):
        if another:
            data.path("keys", "builder.key").write_bytes(private_pem(generate()))
        else:
            data.path("keys", "builder.key").unlink()
        make_builder_key(data)
        keys.append(builder(data))
    assert len(set(keys)) == 3
    assert believed(data) == set(keys)
    data.path("keys", "builders", f"builder-{keys[0]}.pub").unlink()
    make_builder_key(data)
    assert believed(data) == set(keys[1:])


def test_a_public_half_that_is_lost_or_broken_is_made_of_the_key(data: DataFolder) -> None:
    first = builder(data)
    data.path("keys", "builder.pub").unlink()
    data.path("keys", "builders", "builder.pub").write_text("no key")
    make_builder_key(data)
    assert builder(data) == first
    assert believed(data) == {first}


def test_a_key_that_is_none_is_named(data: DataFolder) -> None:
    data.path("keys", "builder.key").write_text("no key")
    with pytest.raises(KeyUnusable, match=r"builder\.key cannot be used .*: take it away"):
        make_builder_key(data)
