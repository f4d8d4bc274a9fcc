"""`hotswap lint`: errors as the server has them, advice of its own. The server's words: integration/cli."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.archive import Limits, pack_bytes
from app.cli.exit_codes import ExitCode
from app.cli.looking import Refusal, look
from app.domain.errors import HotSwapError
from app.orchestrator import releases
from tests.unit.archive.tarball import archive, file
from tests.unit.archive.test_refused import REFUSED
from tests.unit.cli.harness import hotswap
from tests.unit.manifest.test_refused import FIELDS, WHOLE

GOOD = "name: web\nversion: 1.0.0\nkind: process\nrun: {command: [python3, x.py]}\n"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n"  # the beginning of none


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "hotswap.yaml").write_text(GOOD)
    return folder


def linted(source: Path, capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert hotswap("lint", str(source), "-o", "json", *flags, home=source.parent) == code
    out, err = capsys.readouterr()
    assert err == ""
    return cast(dict[str, Any], json.loads(out))


def advice(source: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [f"{each['path']}: {each['message']}" for each in linted(source, capsys)["advice"]]


def test_a_folder_and_its_archive_are_the_same(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = module.with_name("web.tar.gz")
    packed.write_bytes(pack_bytes(module))
    folder, archived = linted(module, capsys), linted(packed, capsys)
    assert {**folder, "source": ""} == {**archived, "source": ""}
    assert (folder["moduleName"], folder["version"], folder["entries"], folder["valid"]) == ("web", "1.0.0", 1, True)
    assert hotswap("lint", str(packed), home=module.parent) == 0
    assert re.search(r"web\.tar\.gz is valid \(entries: 1, \d+ B packed\)\.\n$", capsys.readouterr().out)


def test_faults_of_a_manifest_have_their_lines(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (module / "hotswap.yaml").write_text("name: UPPER\nversion: one\nkind: process\nrunn: 1\n")
    found = linted(module, capsys, code=ExitCode.USAGE)
    assert [(each["line"], each["path"]) for each in found["problems"]][:2] == [(1, "name"), (1, "run")]
    assert found["error"].startswith("hotswap.yaml: line 1: name: ")
    assert found["valid"] is False


def test_what_cannot_be_packed_is_said_as_publishing_says_it(
    module: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(module / "pipe")
    found = linted(module, capsys, code=ExitCode.USAGE)
    assert found["error"].startswith(f"{module} cannot be packed: 'pipe': is neither file, folder nor link")
    key = module.parent / "team.key"
    assert hotswap("keys", "generate", str(key), home=module.parent) == 0
    capsys.readouterr()
    publish = ("release", "publish", str(module), "--key", str(key))
    assert hotswap(*publish, home=module.parent) == ExitCode.USAGE
    assert capsys.readouterr().err == f"hotswap: {found['error']}\n"


@pytest.mark.parametrize("source", ["missing", "missing.tar.gz", ".", "pipe"])
def test_what_is_no_module_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    os.mkfifo(tmp_path / "pipe")  # which would have to be waited for
    assert hotswap("lint", str(tmp_path / source), home=tmp_path) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("hotswap: ")


def said_by_server(content: bytes, limits: Limits) -> str:
    """What the server's own reading of an upload refuses it with; the rest of publishing needs a database."""
    settings = SimpleNamespace(
        archive_bytes=limits.archive_bytes, archive_unpacked_bytes=limits.unpacked_bytes,
        archive_entries=limits.entries, archive_ratio=limits.ratio,
    )  # fmt: skip
    orchestrator, upload = cast(Any, SimpleNamespace(settings=settings)), cast(Any, SimpleNamespace())
    upload.archive = io.BytesIO(content)
    with pytest.raises(HotSwapError) as refused:
        releases._digest(orchestrator, upload)
        releases._inspect(orchestrator, upload)
    return str(refused.value)


def said_here(content: bytes, limits: Limits) -> str:
    said = look(io.BytesIO(content), limits)
    assert isinstance(said, Refusal)
    return said.sentence


def manifest(text: str | bytes) -> bytes:
    return archive(manifest=text if isinstance(text, bytes) else text.encode()).getvalue()


def test_every_fault_is_told_in_the_servers_words() -> None:
    limits = Limits()
    bad = [content.getvalue() for content, _ in REFUSED.values()]
    bad += [manifest(faulty[0]) for faulty in WHOLE.values()] + [manifest(faulty[0]) for faulty in FIELDS.values()]
    assert len(bad) > 100
    for content in bad:
        assert said_here(content, limits) == said_by_server(content, limits)


@pytest.mark.parametrize(
    "limits",
    [Limits(archive_bytes=100), Limits(unpacked_bytes=1000), Limits(entries=2), Limits(ratio=0.5)],
)
def test_every_limit_is_told_in_the_servers_words(limits: Limits) -> None:
    content = archive(*(file(f"file{number}", bytes(1_000_000)) for number in range(3))).getvalue()
    assert said_here(content, limits) == said_by_server(content, limits)


def test_the_default_limits_are_the_servers() -> None:
    """As config/settings.py has them; read as text, since settings need an environment."""
    text = (Path(__file__).resolve().parents[3] / "config" / "settings.py").read_text()
    for line in ("archive_bytes: Count = 256 * _MIB", "archive_unpacked_bytes: Count = 512 * _MIB",
                 "archive_entries: Count = 20_000", "archive_ratio: Count = 200"):  # fmt: skip
        assert line in text
    assert Limits() == Limits(256 * 2**20, 512 * 2**20, 20_000, 200)


def test_advice_about_the_manifest(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (module / "hotswap.yaml").write_text(
        "name: web\nversion: 1.0.0\nkind: process\nbuild: {command: [make], output: dist}\n"
        "run: {command: [sh, -c, 'python3 x.py'], listen: '0.0.0.0:80', handover: none}\n"
    )
    (module / "dist").mkdir()
    (module / "dist" / "made").write_text("x")
    found = {each.partition(":")[0] for each in advice(module, capsys)}
    assert found == {"run.command", "health", "metrics", "run.handover", "test", "build.output"}
    assert hotswap("lint", str(module), home=module.parent) == 0
    assert hotswap("lint", str(module), "--strict", home=module.parent) == ExitCode.USAGE


def test_a_big_folder_without_an_ignore_file(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (module / "node_modules").mkdir()
    for number in range(1100):
        (module / "node_modules" / f"{number}.js").write_text("x")
    (found,) = advice(module, capsys)
    assert "1102 entries" in found
    assert "node_modules (0.0 MiB)" in found
    (module / ".hotswapignore").write_text("*.log\n")
    assert advice(module, capsys) == []


def test_secrets_in_names_and_contents(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (module / "deploy").mkdir()
    (module / "deploy" / ".env").write_text("A=1")
    (module / "notes.txt").write_text(f"# two lines\n# before\n{KEY}")
    (module / "settings.py").write_text('aws = "AKIA' + "ABCDEFGHIJKLMNOP" + '"')
    (module / "large.bin").write_bytes(bytes(300_000) + KEY.encode())
    found = " ".join(advice(module, capsys))
    assert "'deploy/.env' is usually a secret" in found
    assert "'notes.txt', line 3, looks like a private key" in found
    assert "'settings.py', line 1, looks like an AWS access key" in found
    assert "large.bin" not in found
    assert "AKIAABC" not in found


def test_secrets_without_end_are_told_with_an_end(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(50):
        (module / f"{number}.pem").write_text(KEY)
    assert len(advice(module, capsys)) == 20
