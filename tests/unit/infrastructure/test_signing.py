"""Whose attestations this orchestrator believes."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.signatures import PrivateKey, generate, key_id, private_pem, public_pem
from app.infrastructure.signing import BuilderKeyUnusable, builder_key, trusted_builders
from config.settings import Settings, load

OURS, THEIRS, OLDER = generate(), generate(), generate()


def named(*keys: PrivateKey) -> set[str]:
    return {key_id(key.public_key()) for key in keys}


def settings(key: Path | None, folder: Path | None) -> Settings:
    """Only two of them count here; the others are as good as any."""
    given = {
        "HOTSWAP_DATABASE_URL": "postgresql://hotswap@127.0.0.1/hotswap",
        "HOTSWAP_BROKER_URL": "redis://127.0.0.1/0",
        "HOTSWAP_JWT_SECRET": "a test's secret of 42 characters, 0123456789",
        **{f"HOTSWAP_{name}": "/nowhere" for name in ("TLS_CA", "TLS_CERTIFICATE", "TLS_KEY", "ARTIFACTS_DIR")},
    }
    return load(given).model_copy(update={"attestation_key": key, "trusted_builders_dir": folder})


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "builder.key"
    path.write_bytes(private_pem(OURS))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "builders"
    made.mkdir()
    for name, each in {"theirs": THEIRS, "older": OLDER}.items():
        (made / f"{name}.pub").write_bytes(public_pem(each.public_key()))
    (made / "README").write_text("no key")
    return made


def test_ours_and_those_of_the_folder_are_believed_as_they_are_now(key: Path, folder: Path) -> None:
    assert set(trusted_builders(settings(key, folder))) == named(OURS, THEIRS, OLDER)
    (folder / "older.pub").unlink()
    assert set(trusted_builders(settings(key, folder))) == named(OURS, THEIRS)
    assert set(trusted_builders(settings(key, None))) == named(OURS)
    assert set(trusted_builders(settings(key, folder / "none"))) == named(OURS)


def test_who_does_not_build_needs_no_key_of_its_own(folder: Path) -> None:
    assert set(trusted_builders(settings(None, folder))) == named(THEIRS, OLDER)
    with pytest.raises(BuilderKeyUnusable, match="no key to attest builds with: set HOTSWAP_ATTESTATION_KEY"):
        builder_key(settings(None, folder))


def test_what_cannot_be_read_is_no_silent_distrust(key: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuilderKeyUnusable, match="HOTSWAP_ATTESTATION_KEY"):
        trusted_builders(settings(None, None))
    key.write_text("no key")
    with pytest.raises(BuilderKeyUnusable, match="cannot be used: not a PEM file"):
        trusted_builders(settings(key, folder))
    with pytest.raises(BuilderKeyUnusable, match=r"cannot be used: .*No such file"):
        trusted_builders(settings(key.with_name("none"), folder))

    def refuse(_folder: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(BuilderKeyUnusable, match=r"HOTSWAP_TRUSTED_BUILDERS_DIR cannot be read: .*Permission denied"):
        trusted_builders(settings(None, folder))
