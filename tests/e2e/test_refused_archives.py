"""Every archive and manifest that is refused, published to the running product: 422 with the reason, nothing left."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import signatures
from agent.archive import pack_bytes
from tests.e2e.api import Api, Json, Refused
from tests.e2e.conftest import NameMaker
from tests.e2e.probe_module import ProbeModule, publish
from tests.e2e.stack import Stack
from tests.e2e.waiting import until
from tests.unit.archive.tarball import archive, file, header
from tests.unit.archive.test_refused import REFUSED
from tests.unit.manifest.test_refused import WHOLE

MANIFEST = "name: {name}\nversion: 1.0.0\nkind: files\n"
LINES = {
    "an unknown key": ("colour: red\n", "colour"),
    "a wrong type": ("resources: {memoryMB: much}\n", "memoryMB"),
    "several at once": ("colour: red\nshared: 7\n", "shared"),
}


def stored(stack: Stack) -> set[Path]:
    """The files in the artifact store."""
    return {path for path in (stack.folder / "artifacts").rglob("*") if path.is_file()}


def refusal(api: Api, key: signatures.PrivateKey, module: str, content: bytes) -> Json:
    """The problem that publishing it ends with; it must be 422."""
    with pytest.raises(Refused) as caught:
        publish(api, key, module, content)
    problem: Json = caught.value.problem
    assert caught.value.status == problem["status"] == 422, problem
    assert problem["detail"] == problem["error"] and "\n" not in problem["detail"]
    return problem


@pytest.fixture
def nothing_left(stack: Stack, api: Api, new_name: NameMaker) -> Iterator[str]:
    """The name of a module of which nothing may be found afterwards, neither in the store nor in the database."""
    name, before = new_name("refused"), stored(stack)
    yield name
    assert stored(stack) == before
    assert name not in [each["name"] for each in api.get("/modules", limit=200)]
    assert api.call("GET", f"/modules/{name}/releases").status_code in (200, 404)


def test_archives_that_break_a_rule(stack: Stack, api: Api, nothing_left: str) -> None:
    for why, (content, reason) in REFUSED.items():
        told = refusal(api, stack.signing_key, nothing_left, content.getvalue())["detail"]
        assert reason in told, (why, told)


def test_archives_that_are_too_much(stack: Stack, api: Api, nothing_left: str) -> None:
    bomb = archive(header("zeros", size=60 * 2**20) + bytes(60 * 2**20)).getvalue()
    assert "unpacks to more than 200 times" in refusal(api, stack.signing_key, nothing_left, bomb)["detail"]
    many = archive(b"".join(header(f"{number:x}", tarfile.DIRTYPE) for number in range(20_001))).getvalue()
    told = refusal(api, stack.signing_key, nothing_left, many)["detail"]
    assert "more than 20000 entries" in told or "unpacks to more than 200 times" in told


def test_manifests_that_are_wrong(stack: Stack, api: Api, nothing_left: str) -> None:
    for why, (text, _, reason) in WHOLE.items():
        manifest = text if isinstance(text, bytes) else text.encode()
        told = str(refusal(api, stack.signing_key, nothing_left, archive(file("a"), manifest=manifest).getvalue()))
        assert reason.replace("'", "") in told.replace("\\'", "").replace("'", ""), (why, told)
    for why, (lines, field) in LINES.items():
        manifest = (MANIFEST.format(name=nothing_left) + lines).encode()
        told = str(refusal(api, stack.signing_key, nothing_left, archive(file("a"), manifest=manifest).getvalue()))
        assert field in told and "line 4" in told, (why, told)
    other = archive(file("a"), manifest=MANIFEST.format(name="another-name").encode()).getvalue()
    assert "another-name" in refusal(api, stack.signing_key, nothing_left, other)["detail"]


def test_signatures_that_do_not_hold(stack: Stack, api: Api, nothing_left: str) -> None:
    good = archive(file("a"), manifest=MANIFEST.format(name=nothing_left).encode()).getvalue()
    stranger = signatures.generate()
    refusal(api, stranger, nothing_left, good)
    ours = signatures.key_id(stack.signing_key.public_key())
    digest = signatures.Digest.of_bytes(good)
    signed_by_stranger = {"signature": signatures.sign(stranger, digest), "keyId": ours}
    files = {"artifact": ("m.tar.gz", good, "application/gzip")}
    for fields, status in ((signed_by_stranger, 422), ({}, 400)):
        answer = api.call("POST", f"/modules/{nothing_left}/releases", data=fields, files=files)
        assert answer.status_code == status, answer.text


def test_an_upload_that_breaks_off_leaves_nothing(stack: Stack, api: Api, nothing_left: str) -> None:
    incoming = stack.folder / "artifacts" / "incoming"

    def half() -> Iterator[bytes]:
        yield b"--x\r\nContent-Disposition: form-data; name=artifact; filename=a\r\n\r\n" + bytes(200_000)
        until(lambda: any(incoming.iterdir()), "the server has begun to write")
        raise ConnectionError("the build server died")

    with pytest.raises(ConnectionError):
        api.call(
            "POST", f"/modules/{nothing_left}/releases", content=half(),
            headers={"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "90000000"},
        )  # fmt: skip
    until(lambda: not any(incoming.iterdir()), "the half upload is gone")


def test_a_version_never_changes(module: ProbeModule, stack: Stack, api: Api) -> None:
    version, folder = module.folder()
    content = pack_bytes(folder)
    first = publish(api, stack.signing_key, module.name, content)
    before = stored(stack)
    assert publish(api, stack.signing_key, module.name, content) == first
    (folder / "more").write_text("x")
    with pytest.raises(Refused, match="409"):
        publish(api, stack.signing_key, module.name, pack_bytes(folder))
    assert stored(stack) == before
    assert [each["version"] for each in api.get(f"/modules/{module.name}/releases")] == [version]
