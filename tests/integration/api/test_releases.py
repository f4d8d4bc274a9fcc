"""Publishing releases, and reading them back."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from agent import signatures
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
    listed: Any = client.get("/api/v1/modules", headers=viewer).json
    assert [(module["name"], module["latestVersion"]) for module in listed] == [("payment-processor", "1.0.0")]


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
    whole = client.get(f"{RELEASES}/1.0.0/artifact", headers=viewer)
    assert whole.data == content and whole.headers["ETag"] == f'"{digest}"'
    part = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": "bytes=10-19"})
    assert part.status_code == 206 and part.data == content[10:20]
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    rest = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": f"bytes={len(content) - 5}-"})
    assert rest.data == content[-5:]
    beyond = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    problem_of(beyond)
    same = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "If-None-Match": f'"{digest}"'})
    assert same.status_code == 304


def test_ranges_that_are_none_are_ignored(publish: Publisher, client: FlaskClient, viewer: Headers) -> None:
    content = archive()
    publish(content)
    for unit in ("items=0-1", "bytes", "none"):
        answer = client.get(f"{RELEASES}/1.0.0/artifact", headers={**viewer, "Range": unit})
        assert (answer.status_code, answer.data) == (200, content), unit
    for given in ("bytes=x", "bytes=5-2", "bytes=", "bytes=-", "bytes=1", "bytes=0-1,5-6", "bytes=-9999999"):
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
