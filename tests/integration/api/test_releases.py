"""Publishing releases, and reading them back."""

from __future__ import annotations

import contextlib
import email
import email.policy
import io
import itertools
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from agent import signatures
from app.api import file_answers
from app.orchestrator.context import Orchestrator
from config.settings import Settings
from tests.integration.api.conftest import Headers, Publisher, archive, problem_of

RELEASES = "/api/v1/modules/payment-processor/releases"


def stored(settings: Settings) -> list[Path]:
    return [path for path in settings.artifacts_dir.rglob("*") if path.is_file()]


def test_a_release_is_published_once_and_kept(publish: Publisher, client: FlaskClient, viewer: Headers) -> None:
    content = archive()
    answer = publish(content, metadata='{"commit": "abc"}', provenance='{"builder": "ci"}')
    assert answer.status_code == 201, answer.text
    body: Any = answer.json
    assert body["moduleName"] == "payment-processor" and body["version"] == "1.0.0"
    assert body["sizeBytes"] == len(content) and body["digest"] == str(signatures.Digest.of_bytes(content))
    assert body["signedBy"] == signatures.key_id(publish.key.public_key())
    again = publish(content)
    assert again.status_code == 200
    assert again.json == body
    detail: Any = client.get(f"{RELEASES}/1.0.0", headers=viewer).json
    assert detail["manifest"]["name"] == "payment-processor"
    assert detail["metadata"] == {"commit": "abc"} and detail["provenance"] == {"builder": "ci"}
    rows: Any = client.get(RELEASES, headers=viewer).json
    assert rows == [body] and detail == {
        **body, "manifest": detail["manifest"], "built": None, "tested": None,
    }  # fmt: skip
    listed: Any = client.get("/api/v1/modules", headers=viewer).json
    assert [(module["name"], module["latestVersion"]) for module in listed] == [("payment-processor", "1.0.0")]


def test_a_retired_release_says_so_until_it_is_published_again(
    publish: Publisher, client: FlaskClient, viewer: Headers, deployer: Headers, orchestrator: Orchestrator
) -> None:
    first: Any = publish(archive()).json
    assert first["retiredAt"] is None
    with orchestrator.database.raw() as connection:
        connection.execute("update releases set retired_at = '2026-11-24T10:00:00Z'")
    (listed,) = client.get(RELEASES, headers=viewer).json  # type: ignore[misc]
    shown: Any = client.get(f"{RELEASES}/1.0.0", headers=viewer).json
    assert listed["retiredAt"] == shown["retiredAt"] == "2026-11-24T10:00:00.000Z"
    body = {"moduleName": "payment-processor", "version": "1.0.0", "targetEnvironment": "QA"}
    refused = client.post("/api/v1/deployments", json=body, headers=deployer)
    assert refused.status_code == 409 and "Publish the same archive again" in problem_of(refused)["detail"]
    again = publish(archive())
    assert (again.status_code, again.json) == (200, first)
    assert client.get(RELEASES, headers=viewer).json == [first]
    assert client.post("/api/v1/deployments", json=body, headers=deployer).status_code == 202


def test_a_version_never_changes(publish: Publisher, settings: Settings) -> None:
    assert publish(archive()).status_code == 201
    kept = stored(settings)
    answer = publish(archive(extra={"more.txt": b"x"}))
    assert answer.status_code == 409
    problem_of(answer)
    assert stored(settings) == kept


def test_the_same_upload_at_once_makes_one_release(
    app: Flask, deployer: Headers, signing_key: signatures.PrivateKey, settings: Settings
) -> None:
    content = archive()
    statuses: list[int] = []

    def upload() -> None:
        statuses.append(Publisher(app.test_client(), deployer, signing_key)(content).status_code)

    threads = [threading.Thread(target=upload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * 5 + [201]
    assert len(stored(settings)) == 1


def test_what_is_refused_leaves_nothing_behind(publish: Publisher, settings: Settings) -> None:
    other = signatures.generate()
    good = archive()
    digest = signatures.Digest.of_bytes(good)
    refused: dict[str, dict[str, Any]] = {
        "wrongly signed": {"signature": signatures.sign(other, digest)},
        "signature of other bytes": {"signature": signatures.sign(publish.key, signatures.Digest.of_bytes(b"x"))},
        "no base64": {"signature": "not base64!"},
        "an untrusted key": {
            "keyId": signatures.key_id(other.public_key()),
            "signature": signatures.sign(other, digest),
        },
    }
    for why, parts in refused.items():
        answer = publish(good, **parts)
        assert answer.status_code == 422, why
        problem_of(answer)
    for content in (b"", b"no gzip at all", good[:-30], archive(name="another-name"), archive(version="one")):
        answer = publish(content)
        assert answer.status_code == 422, content[:20]
        problem_of(answer)
    assert stored(settings) == []


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        ({"signature": None, "keyId": None}, {"signature", "keyId"}),
        ({"keyId": "short"}, {"keyId"}),
        ({"signature": "x" * 10_000, "metadata": "{"}, {"signature", "metadata"}),
        ({"metadata": '{"a": 1}', "unknown": "x"}, {"metadata.a", "unknown"}),
        ({"metadata": '["a"]', "provenance": "[]"}, {"metadata", "provenance"}),
        ({"metadata": '{"a": NaN}', "provenance": '{"a": -Infinity}'}, {"metadata", "provenance"}),
        ({"provenance": '{"a": 1e999}'}, {"provenance"}),
        ({"provenance": '{"a": "' + "x" * 33_000 + '"}'}, {"provenance"}),
        ({"provenance": '{"a": ' + "[" * 60 + "]" * 60 + "}"}, {"provenance"}),
        ({"metadata": f'{{"{"k" * 101}": "v", "notes": "{"x" * 501}"}}'}, {"metadata." + "k" * 101, "metadata.notes"}),
        ({"artifact": None}, {"artifact"}),
        ({"artifact": "a text, no file"}, {"artifact"}),
        ({"keyId": "0123456789abcde\x00"}, {"keyId"}),
        ({"other": (io.BytesIO(b"x"), "x")}, {"other"}),
    ],
)
def test_bad_parts_are_all_named(publish: Publisher, parts: dict[str, Any], fields: set[str]) -> None:
    answer = publish(archive(), **parts)
    assert answer.status_code == 400, answer.text
    assert problem_of(answer)["errors"].keys() == fields


@pytest.mark.parametrize(
    ("name", "second"),
    [("artifact", (io.BytesIO(b"x"), "x")), ("signature", "x"), ("keyId", "0" * 16), ("metadata", "{}")],
)
def test_a_part_given_twice_is_refused(publish: Publisher, settings: Settings, name: str, second: Any) -> None:
    content = archive()
    first: dict[str, Any] = {
        "artifact": (io.BytesIO(content), "module.tar.gz"),
        "signature": signatures.sign(publish.key, signatures.Digest.of_bytes(content)),
        "keyId": signatures.key_id(publish.key.public_key()),
        "metadata": "{}",
    }
    parts: dict[str, Any] = {name: [first[name], second]}
    answer = publish(content, **parts)
    assert answer.status_code == 400, answer.text
    assert problem_of(answer)["errors"] == {name: ["is given more than once"]}
    assert stored(settings) == []


def test_bad_names_in_the_url(publish: Publisher) -> None:
    for name in ("A", "ab-", "x" * 65, "Upper-Case"):
        answer = publish(archive(), name=name)
        assert answer.status_code == 400
        assert "moduleName" in problem_of(answer)["errors"]


def test_another_content_type_is_415(client: FlaskClient, deployer: Headers) -> None:
    answer = client.post(RELEASES, json={"artifact": "x"}, headers=deployer)
    assert answer.status_code == 415
    problem_of(answer)


def test_too_large_is_413_by_length_and_by_content(
    publish: Publisher, client: FlaskClient, deployer: Headers, settings: Settings
) -> None:
    class Untouched(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    answer = client.post(
        RELEASES,
        headers=deployer,
        content_type="multipart/form-data; boundary=x",
        input_stream=Untouched(),
        environ_overrides={"CONTENT_LENGTH": str(1024**3)},
    )
    assert answer.status_code == 413
    assert f" {settings.archive_bytes + 256 * 1024} bytes" in problem_of(answer)["detail"]
    over = publish(b"x" * (settings.archive_bytes + 1))
    assert over.status_code == 413 and f" {settings.archive_bytes} bytes" in problem_of(over)["detail"]
    many = publish(archive(), **{f"part-{number}": "x" for number in range(30)})
    assert many.status_code == 413 and " 20 parts" in problem_of(many)["detail"]
    assert publish(b"x" * (settings.archive_bytes * 2)).status_code == 413
    assert stored(settings) == []


def test_the_artifact_comes_back_whole_and_in_parts(publish: Publisher, client: FlaskClient, viewer: Headers) -> None:
    content = archive()
    digest = publish(content).json["digest"]  # type: ignore[index]
    etag, size = f'"{digest}"', len(content)

    def get(method: str = "GET", **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(f"{RELEASES}/1.0.0/artifact", method=method, headers={**viewer, **named})

    whole = get()
    assert whole.data == content and whole.headers["ETag"] == etag
    assert whole.headers["Accept-Ranges"] == "bytes" and whole.content_length == size
    assert whole.headers["Content-Disposition"] == 'attachment; filename="payment-processor-1.0.0.tar.gz"'
    part = get(Range="bytes=10-19")
    assert part.status_code == 206 and part.data == content[10:20] and part.content_length == 10
    assert part.headers["Content-Range"] == f"bytes 10-19/{size}" and part.content_type == "application/gzip"
    assert get(Range=f"bytes={size - 5}-").data == content[-5:]
    assert get(Range="bytes=-7").data == content[-7:]
    beyond = get(Range="bytes=99999999-")
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == f"bytes */{size}"
    problem_of(beyond)
    for malformed in ("bytes=5-1", "lines=1-2", "bytes=x"):
        assert get(Range=malformed).status_code == 200

    head = get("HEAD", Range="bytes=10-19")
    assert (head.status_code, head.data, head.content_length) == (200, b"", size) and head.headers["ETag"] == etag
    same = get(If_None_Match=etag, Range="bytes=0-1")
    assert same.status_code == 304 and same.data == b"" and same.headers["ETag"] == etag
    assert get("HEAD", If_None_Match="*").status_code == 304
    assert get(If_None_Match='"other"').status_code == 200
    assert get(If_Match=etag, Range="bytes=0-1").status_code == 206
    other = get(If_Match='"other"')
    assert other.status_code == 412
    problem_of(other)
    for condition, status in (
        (etag, 206),
        (f"W/{etag}", 200),
        ('"other"', 200),
        ("Tue, 24 Nov 2026 00:00:00 GMT", 200),
        ("nonsense", 200),
    ):
        assert get(If_Range=condition, Range="bytes=0-1").status_code == status, condition


def test_several_ranges_are_parts_of_one_answer(publish: Publisher, client: FlaskClient, viewer: Headers) -> None:
    content = archive()
    publish(content)
    answer = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": "bytes=30-39, 0-4, 999999-, -3"})
    assert answer.status_code == 206 and "Content-Range" not in answer.headers
    assert answer.content_length == len(answer.data)
    message = email.message_from_bytes(
        f"Content-Type: {answer.content_type}\r\n\r\n".encode() + answer.data, policy=email.policy.HTTP
    )
    parts = list(message.iter_parts())
    size = len(content)
    assert [part["Content-Range"] for part in parts] == [
        f"bytes 30-39/{size}", f"bytes 0-4/{size}", f"bytes {size - 3}-{size - 1}/{size}"
    ]  # fmt: skip
    assert {part.get_content_type() for part in parts} == {"application/gzip"}
    marker = answer.data.split(b"\r\n")[1]
    pieces = [piece.split(b"\r\n\r\n", 1)[1] for piece in answer.data.split(b"\r\n" + marker)[1:-1]]
    assert pieces == [content[30:40], content[:5], content[-3:]]
    assert answer.data.endswith(b"\r\n" + marker + b"--\r\n")


def test_a_download_takes_little_memory_and_leaves_no_file_open(
    publish: Publisher, app: Flask, viewer: Headers, settings: Settings
) -> None:
    """An archive is served in pieces, however many ranges there are; a client that leaves closes the file."""
    random = os.urandom(1_500_000)
    content = archive(extra={"data.bin": random})
    assert publish(content).status_code == 201
    size = len(content)
    path = next(path for path in stored(settings) if path.stat().st_size == size)
    answer = app.test_client().get(
        f"{RELEASES}/1.0.0/artifact",
        headers={**viewer, "Range": f"bytes=0-{size // 2 - 1},{size // 2}-{size - 1}"},
        buffered=False,
    )
    assert max(map(len, itertools.islice(answer.iter_encoded(), 4))) <= file_answers.PIECE
    assert path in open_files()
    answer.close()
    assert path not in open_files()
    never_read = app.test_client().get(
        f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": "bytes=0-9"}, buffered=False
    )
    never_read.close()
    assert path not in open_files()


def open_files() -> set[Path]:
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(descriptor.readlink())
    return found


def test_ranges_that_are_none_are_ignored(publish: Publisher, client: FlaskClient, viewer: Headers) -> None:
    content = archive()
    publish(content)
    for unit in ("items=0-1", "bytes", "none"):
        answer = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": unit})
        assert (answer.status_code, answer.data) == (200, content), unit
    for given in ("bytes=x", "bytes=5-2", "bytes=", "bytes=-", "bytes=1"):
        answer = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": given})
        assert (answer.status_code, answer.data) == (200, content), given
    for given, part in (("BYTES=0-1", content[:2]), ("bytes=-3", content[-3:]), ("bytes=2-999999999", content[2:])):
        answer = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": given})
        assert (answer.status_code, answer.data) == (206, part), given
    for given in (f"bytes={len(content)}-", "bytes=99999999-99999999", "bytes=-0"):
        answer = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": given})
        assert answer.status_code == 416 and answer.headers["Content-Range"] == f"bytes */{len(content)}", given
        problem_of(answer)


def test_lists_are_pages_newest_first(publish: Publisher, client: FlaskClient, viewer: Headers) -> None:
    versions = [f"1.{minor}.0" for minor in range(5)]
    for version in versions:
        assert publish(archive(version=version)).status_code == 201
    seen: list[str] = []
    url: str | None = f"{RELEASES}?limit=2"
    while url:
        answer = client.get(url, headers=viewer)
        page: Any = answer.json
        assert len(page) <= 2
        seen += [release["version"] for release in page]
        link = answer.headers.get("Link")
        url = link[1 : link.index(">")] if link else None
    assert seen == versions[::-1]


def test_what_does_not_exist_is_404(client: FlaskClient, viewer: Headers, publish: Publisher) -> None:
    publish(archive())
    none = "/api/v1/modules/none"
    for path in (none, f"{none}/releases", f"{RELEASES}/9.9.9", f"{RELEASES}/9/artifact"):
        answer = client.get(path, headers=viewer)
        assert answer.status_code == 404
        problem_of(answer)
