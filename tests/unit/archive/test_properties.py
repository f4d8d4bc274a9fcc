"""What holds for every folder and every archive, however odd."""

from __future__ import annotations

import io
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.archive import ArchiveInvalid, Limits, inspect, pack_bytes, unpack
from agent.manifest import ManifestInvalid
from tests.unit.archive.tarball import END, MANIFEST, compressed, file, header, padded, pax, raw_header, symlink

REFUSALS = (ArchiveInvalid, ManifestInvalid)

letters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/")
# Not one of the names that are left out, nor the manifest.
component = st.text(letters, min_size=1, max_size=12).filter(lambda name: not name.startswith(".") and len(name) < 12)
path = st.lists(component, min_size=1, max_size=4).map("/".join)
content = st.tuples(st.binary(max_size=2000), st.booleans())


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder per example, which pytest's `tmp_path` is not."""
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def seen(folder: Path) -> dict[str, object]:
    """Everything below a folder: contents, kinds, modes, links."""
    found: dict[str, object] = {}
    for item in sorted(folder.rglob("*")):
        name = str(item.relative_to(folder))
        if item.is_symlink():
            found[name] = item.readlink()
        elif item.is_dir():
            found[name] = "folder"
        else:
            found[name] = (item.read_bytes(), bool(item.stat().st_mode & stat.S_IXUSR))
    return found


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(path, content, max_size=8), st.dictionaries(component, path, max_size=3))
def test_what_is_packed_is_what_is_unpacked(files: dict[str, tuple[bytes, bool]], links: dict[str, str]) -> None:
    with scratch() as folder:
        module = folder / "module"
        module.mkdir()
        (module / "hotswap.yaml").write_bytes(MANIFEST)
        for name, (body, executable) in files.items():
            target = module / name
            if target.exists() or any(parent.is_file() for parent in target.parents):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
            target.chmod(0o700 if executable else 0o600)
        for name, to in links.items():
            if not (module / name).exists() and not to.startswith(name):
                (module / name).symlink_to(to)
        try:
            packed = pack_bytes(module)
        except ArchiveInvalid as error:
            assert "circle" in str(error)  # links to each other
            return
        unpack(io.BytesIO(packed), folder / "release")
        assert seen(folder / "release") == seen(module)
        assert pack_bytes(folder / "release") == packed


nasty_part = st.sampled_from(["..", ".", "", "a", "b", "link", "hotswap.yaml", "é", "a" * 300])
nasty_path = st.lists(nasty_part, min_size=1, max_size=5).map("/".join)
types = st.sampled_from([b"0", b"1", b"2", b"5", b"\0", b"3", b"6", b"7", b"L", b"K", b"x", b"g", b"S"])
entry = st.one_of(
    st.builds(
        lambda name, type_, to: raw_header(name.encode()[:100], type_, 0, to.encode()[:100]),
        nasty_path, types, nasty_path,
    ),
    st.builds(lambda name, to: symlink(name, to), nasty_path, nasty_path),
    st.builds(lambda name, body: file(name, body), nasty_path, st.binary(max_size=50)),
    st.builds(lambda name, body: pax({"path": name}) + file("a", body), nasty_path, st.binary(max_size=50)),
    st.builds(lambda name, to: pax({"linkpath": to}) + header(name, tarfile.LNKTYPE, link="a"), nasty_path, nasty_path),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(entry, max_size=6))
def test_nothing_is_ever_written_outside(entries: list[bytes]) -> None:
    with scratch() as folder:
        within = folder / "x" / "y"
        within.mkdir(parents=True)
        (folder / "canary").write_text("x")
        before = seen(folder)
        tar = file("hotswap.yaml", MANIFEST) + b"".join(entries) + END
        try:
            unpack(compressed(tar), within / "release")
        except REFUSALS:
            assert not (within / "release").exists()
        else:
            root = (within / "release").resolve()
            for item in root.rglob("*"):
                assert not item.is_symlink() or item.resolve(strict=False).is_relative_to(root)
            shutil.rmtree(root)
        assert seen(folder) == before


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_tars_are_refused_and_nothing_else(data: st.DataObject) -> None:
    tar = bytearray(
        file("hotswap.yaml", MANIFEST) + pax({"path": "é"}) + file("a") + symlink("l", "a") + file("n" * 150) + END
    )
    for _ in range(data.draw(st.integers(1, 4))):
        tar[data.draw(st.integers(0, len(tar) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(tar)))
    try:
        inspect(compressed(bytes(tar[:cut] if data.draw(st.booleans()) else tar)))
    except REFUSALS as error:
        assert str(error)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.binary(max_size=600), st.sampled_from([b"x", b"g", b"L", b"K"]))
def test_extended_headers_of_any_content_are_read_or_refused(size: int, body: bytes, type_: bytes) -> None:
    tar = file("hotswap.yaml", MANIFEST) + raw_header(b"p", type_, len(body)) + padded(body) + file("a") + END
    wrong = raw_header(b"p", type_, size) + padded(body) + file("a") + END
    for candidate in (tar, wrong):
        try:
            inspect(compressed(candidate))
        except REFUSALS as error:
            assert str(error)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_any_bytes_are_refused(noise: bytes) -> None:
    for candidate in (io.BytesIO(noise), io.BytesIO(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + noise), compressed(noise)):
        try:
            inspect(candidate, Limits())
        except REFUSALS as error:
            assert str(error)
        else:
            raise AssertionError("noise was taken for an archive")
