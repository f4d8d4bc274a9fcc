"""Releases on disk: whole or not at all, shared folders, what stays; and the keys that let them in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.archive import Limits, pack
from agent.failures import DISK_FULL_ERRNOS, FailureCode, OperationFailed, failure_of
from agent.paths import ModuleFolder
from agent.protocol import Target
from agent.releases import HALF_DONE, install, keep_newest, manifest_of, sweep, usable
from agent.signatures import Digest, generate, key_id, public_pem, sign
from agent.trust import TrustedKeys

MANIFEST = "name: web-site\nversion: {version}\nkind: files\n{more}"


def archive(folder: Path, version: str, more: str = "", **files: str) -> tuple[Path, Target]:
    source = folder / f"source-{version}"
    for name, text in {"hotswap.yaml": MANIFEST.format(version=version, more=more), **files}.items():
        file = source / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    packed = folder / f"{version}.tar.gz"
    with packed.open("wb") as output:
        pack(source, output)
    content = packed.read_bytes()
    return packed, Target(str(Digest.of_bytes(content)), version, len(content), "", "")


def test_install_and_manifest(tmp_path: Path) -> None:
    folder = ModuleFolder(tmp_path / "module")
    packed, target = archive(tmp_path, "1.0.0")
    place = install(packed, target, "web-site", folder, Limits())
    assert place.name == f"1.0.0-{target.digest.removeprefix('sha256:')}"
    assert manifest_of(place).version == "1.0.0"
    assert usable(place)
    (place / "hotswap.yaml").write_text("rubbish: [")
    with pytest.raises(OperationFailed):
        manifest_of(place)
    assert not usable(place) and not place.exists()  # moved away, to be fetched again


@pytest.mark.parametrize(("name", "version"), [("other-name", "1.0.0"), ("web-site", "1.0.1")])
def test_another_name_or_version_than_commanded(tmp_path: Path, name: str, version: str) -> None:
    folder = ModuleFolder(tmp_path / "module")
    packed, target = archive(tmp_path, "1.0.0")
    target = Target(target.digest, version, target.size_bytes, "", "")
    with pytest.raises(OperationFailed) as refused:
        install(packed, target, name, folder, Limits())
    assert refused.value.code is FailureCode.BAD_ARCHIVE
    assert list(folder.releases.iterdir()) == []


def test_limits_hold(tmp_path: Path) -> None:
    packed, target = archive(tmp_path, "1.0.0", big="x" * 5000)
    with pytest.raises(OperationFailed) as refused:
        install(packed, target, "web-site", ModuleFolder(tmp_path / "module"), Limits(unpacked_bytes=1000))
    assert refused.value.code is FailureCode.BAD_ARCHIVE


def test_shared_folders(tmp_path: Path) -> None:
    folder = ModuleFolder(tmp_path / "module")
    shared = "shared: [uploads, var/cache]\n"
    first = install(*archive(tmp_path, "1.0.0", shared, uploads__a="1"), "web-site", folder, Limits())
    assert (first / "uploads").readlink() == folder.shared / "uploads"
    (first / "uploads/b").write_text("2")
    (first / "var/cache/c").write_text("3")
    second = install(*archive(tmp_path, "2.0.0", shared, uploads__a="other"), "web-site", folder, Limits())
    assert (second / "uploads/a").read_text() == "1"
    assert (second / "var/cache/c").read_text() == "3"


def test_the_newest_and_those_in_use_stay(tmp_path: Path) -> None:
    folder = ModuleFolder(tmp_path / "module")
    folder.make()
    places = []
    for number in range(5):
        place = folder.release(f"1.0.{number}", "sha256:" + f"{number}" * 64)
        place.mkdir()
        os.utime(place, (number, number))
        places.append(place)
    (folder.releases / f"{HALF_DONE}x").mkdir()
    assert keep_newest(folder, 2, [places[0]]) == [places[2], places[1]]
    assert {place for place in places if place.exists()} == {places[0], places[3], places[4]}
    sweep(folder)
    assert not (folder.releases / f"{HALF_DONE}x").exists()
    assert keep_newest(ModuleFolder(tmp_path / "none"), 2, []) == []


def test_pinned_keys(tmp_path: Path) -> None:
    key, other = generate(), generate()
    digest = Digest.of_bytes(b"archive")
    trusted = TrustedKeys(tmp_path / "keys")
    identifier = key_id(key.public_key())

    def refuse(signature: str, by: str) -> str:
        with pytest.raises(OperationFailed) as refused:
            trusted.verify(digest, signature, by)
        assert refused.value.code is FailureCode.VERIFICATION_FAILED
        return refused.value.message

    assert identifier in refuse(sign(key, digest), identifier)  # there is no folder yet
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/a.pem").write_bytes(public_pem(key.public_key()))
    (tmp_path / "keys/b.pem").write_text("no key")
    trusted.verify(digest, sign(key, digest), identifier)
    refuse(sign(other, digest), identifier)
    refuse(sign(other, digest), key_id(other.public_key()))
    refuse("not base64!", identifier)
    (tmp_path / "keys/a.pem").unlink()
    refuse(sign(key, digest), identifier)


def test_errors_as_failures() -> None:
    assert failure_of(OSError(next(iter(DISK_FULL_ERRNOS)), "full")).code is FailureCode.DISK_FULL
    assert failure_of(TimeoutError()).code is FailureCode.TIMEOUT
    assert failure_of(ValueError("x")).code is FailureCode.INTERNAL
    failed = OperationFailed(FailureCode.EXITED, "gone")
    assert failure_of(failed) is failed
