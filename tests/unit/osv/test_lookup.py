"""A folder of OSV files against components: single files, exports, broken ones, aliases."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from app.domain.components import Component, Ecosystem
from app.domain.findings import Finding, Severity
from app.infrastructure.osv import folder as osv_folder
from app.infrastructure.osv import lookup, matching, reading
from app.infrastructure.osv.folder import OsvUnavailable
from app.infrastructure.osv.lookup import known_vulnerabilities
from app.infrastructure.osv.ordering import Ordered, ordered
from app.infrastructure.osv.reading import LookupCancelled, read_folder

REQUESTS = Component(Ecosystem.PYPI, "Requests", "2.19.0", "requirements.txt")
LODASH = Component(Ecosystem.NPM, "lodash", "4.17.20", "package-lock.json")
LOG4J = Component(Ecosystem.MAVEN, "org.apache.logging.log4j:log4j-core", "2.14.1", "app.jar")


def osv(id_: str, ecosystem: str, name: str, *events: dict[str, str], **fields: Any) -> dict[str, Any]:
    kind = "SEMVER" if ecosystem == "npm" else "ECOSYSTEM"
    affected = {"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": kind, "events": list(events)}]}
    return {"id": id_, "modified": "2026-01-02T03:04:05Z", "summary": "it leaks", "affected": [affected]} | fields


FIXED = ({"introduced": "0"}, {"fixed": "2.20.0"})
ON_REQUESTS = osv("GHSA-x84v", "PyPI", "requests", *FIXED, database_specific={"severity": "HIGH"})


def write(folder: Path, *entries: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    for entry in entries:
        (folder / f"{entry['id']}.json").write_text(json.dumps(entry))


def test_single_files_and_exports(tmp_path: Path) -> None:
    write(tmp_path, ON_REQUESTS)
    (tmp_path / "Maven").mkdir()
    with zipfile.ZipFile(tmp_path / "Maven" / "all.zip", "w", zipfile.ZIP_DEFLATED) as export:
        log4j = {"introduced": "2.13.0"}, {"fixed": "2.15.0"}
        entry = osv("GHSA-jfh8", "Maven", LOG4J.name, *log4j, database_specific={"severity": "CRITICAL"})
        export.writestr("GHSA-jfh8.json", json.dumps(entry | {"modified": "2026-03-01T00:00:00Z"}))
        export.writestr("GHSA-0.json", json.dumps(osv("GHSA-0", "Maven", "other:thing", {"introduced": "0"})))
    result = known_vulnerabilities([REQUESTS, LODASH, LOG4J], tmp_path)
    assert result.findings == (
        Finding(Severity.CRITICAL, "osv.GHSA-jfh8", f"{LOG4J.name} 2.14.1: it leaks; fixed in 2.15.0", "app.jar"),
        Finding(Severity.HIGH, "osv.GHSA-x84v", "Requests 2.19.0: it leaks; fixed in 2.20.0", "requirements.txt"),
    )
    assert result.sentence() == "3 entries of vulnerability data, the newest of 2026-03-01"


def test_what_has_no_severity_is_medium_and_says_so(tmp_path: Path) -> None:
    write(tmp_path, osv("GHSA-1", "npm", "lodash", {"introduced": "0"}, {"last_affected": "4.17.20"}))
    [finding] = known_vulnerabilities([LODASH], tmp_path).findings
    assert finding.severity is Severity.MEDIUM
    assert finding.text == "lodash 4.17.20: it leaks; no fix is known; its severity is not told"


def test_entries_that_are_aliases_are_one_finding_of_the_gravest_severity(tmp_path: Path) -> None:
    write(
        tmp_path,
        osv("PYSEC-2018-28", "PyPI", "requests", *FIXED, aliases=["CVE-2018-18074"], summary="older"),
        ON_REQUESTS | {"aliases": ["CVE-2018-18074"]},
        osv("PYSEC-9", "PyPI", "requests", *FIXED, aliases=["CVE-9"]),
    )
    first, second = known_vulnerabilities([REQUESTS], tmp_path).findings
    assert (first.rule, first.severity) == ("osv.GHSA-x84v", Severity.HIGH)
    assert first.text == "Requests 2.19.0: it leaks (CVE-2018-18074, PYSEC-2018-28); fixed in 2.20.0"
    assert (second.rule, second.severity) == ("osv.PYSEC-9", Severity.MEDIUM)


def test_withdrawn_entries_are_counted_and_of_two_states_the_later_counts(tmp_path: Path) -> None:
    write(tmp_path, ON_REQUESTS)
    withdrawn = ON_REQUESTS | {"withdrawn": "2026-02-01T00:00:00Z", "modified": "2026-02-01T00:00:00Z"}
    write(tmp_path / "later", withdrawn)
    result = known_vulnerabilities([REQUESTS], tmp_path)
    assert (result.findings, result.withdrawn, result.entries) == ((), 1, 2)


def test_broken_files_are_counted_and_named_and_cost_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osv_folder, "_LONGEST_ENTRY", 5000)
    write(tmp_path, ON_REQUESTS)
    for name, content in {
        "a.json": b"{",
        "b.json": b"[]",
        "c.json": b"[" * 4000,
        "d.json": b'{"id": "x", "affected": "' + b"y" * 6000,
        "e.json": b"\xff\xfe",
        "f.zip": b"PK\3\4",
        "g.json": b'{"id": 7}',
        "\x1b[1m.json": b"1" * 4900,
        "k.json": b'{"id": "x", "affected": [{"package": {"ecosystem": "npm", "name": "\\ud800"}}]}',
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "h.json").symlink_to("nowhere")
    (tmp_path / "i.json").mkdir()
    with zipfile.ZipFile(tmp_path / "j.zip", "w", zipfile.ZIP_DEFLATED) as export:
        export.writestr("bomb.json", b" " * 10_000_000)
        export.writestr("README.md", "no entry")
        export.writestr("fine.json", json.dumps(osv("GHSA-2", "PyPI", "requests", *FIXED)))
    odd = b"/\xff.json"
    Path(os.fsdecode(os.fsencode(tmp_path) + odd)).write_text("{}")
    result = known_vulnerabilities([REQUESTS], tmp_path)
    assert known_vulnerabilities([REQUESTS], tmp_path, index=tmp_path / "index") == result
    assert [each.rule for each in result.findings] == ["osv.GHSA-x84v", "osv.GHSA-2"]
    assert result.broken == (
        *("\\x1b[1m.json", "\\xff.json", "a.json", "b.json", "c.json", "d.json", "e.json", "f.zip", "g.json"),
        *("h.json", "j.zip: bomb.json"),
    )
    assert result.broken_count == 11
    assert result.sentence().endswith("; 11 broken files: \\x1b[1m.json, \\xff.json, a.json")


def test_no_data_is_not_no_vulnerability(tmp_path: Path) -> None:
    with pytest.raises(OsvUnavailable, match="there is no folder"):
        known_vulnerabilities([REQUESTS], tmp_path / "none")
    with pytest.raises(OsvUnavailable, match="there is no vulnerability data"):
        known_vulnerabilities([], tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(OsvUnavailable, match="1 broken file"):
        known_vulnerabilities([REQUESTS], tmp_path)


def test_it_can_be_cancelled(tmp_path: Path) -> None:
    write(tmp_path, ON_REQUESTS)
    cancelled = Event()
    cancelled.set()
    with pytest.raises(LookupCancelled):
        known_vulnerabilities([REQUESTS], tmp_path, cancelled)


def test_it_can_be_cancelled_while_versions_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, ON_REQUESTS)
    cancelled = Event()

    def read_and_cancel(*given: Any) -> Any:
        read = read_folder(*given)
        cancelled.set()
        return read

    monkeypatch.setattr(lookup, "read_folder", read_and_cancel)
    with pytest.raises(LookupCancelled):
        known_vulnerabilities([REQUESTS], tmp_path, cancelled)


def test_versions_of_an_entry_are_read_once_for_all_components(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each for itself, 2,000 components by 20 entries of 300 versions took a minute and more."""
    listed = {"package": {"ecosystem": "PyPI", "name": "thing"}, "versions": [f"1.{minor}" for minor in range(300)]}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "5.0"}, {"fixed": "5.1"}]}]
    write(tmp_path, *({"id": f"GHSA-{number}", "affected": [listed | {"ranges": ranges}]} for number in range(20)))
    read = 0

    def counted(ecosystem: Ecosystem, version: str) -> Ordered:
        nonlocal read
        read += 1
        return ordered(ecosystem, version)

    monkeypatch.setattr(matching, "ordered", counted)
    components = [Component(Ecosystem.PYPI, "thing", f"9.{minor}", "x") for minor in range(1999)]
    components.append(Component(Ecosystem.PYPI, "thing", "1.299.0", "x"))
    assert len(known_vulnerabilities(components, tmp_path).findings) == 20
    assert read <= 20 * (300 + 4) + 2 * len(components)


def test_aliases_join_what_was_apart_before(tmp_path: Path) -> None:
    write(
        tmp_path,
        osv("PYSEC-1", "PyPI", "requests", *FIXED, aliases=["CVE-1"]),
        osv("PYSEC-2", "PyPI", "requests", *FIXED, aliases=["CVE-2"]),
        osv("GHSA-3", "PyPI", "requests", *FIXED, aliases=["CVE-1", "CVE-2"]),
        osv("GHSA-4", "PyPI", "requests", *FIXED),
    )
    findings = known_vulnerabilities([REQUESTS], tmp_path).findings
    assert [each.rule for each in findings] == ["osv.GHSA-3", "osv.GHSA-4"]
    assert "(CVE-1, CVE-2, PYSEC-1, PYSEC-2)" in findings[0].text


def test_findings_without_number_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_MOST_FINDINGS", 3)
    write(tmp_path, *(ON_REQUESTS | {"id": f"GHSA-{number}"} for number in range(5)))
    findings = known_vulnerabilities([REQUESTS], tmp_path).findings
    assert len(findings) == 4
    assert findings[-1] == Finding(Severity.HIGH, "osv.more", "2 more known vulnerabilities")


def test_only_what_is_asked_for_is_kept(tmp_path: Path) -> None:
    write(tmp_path, *(osv(f"GHSA-{number}", "npm", f"p{number}", {"introduced": "0"}) for number in range(50)))
    entries, about = read_folder(tmp_path, [(Ecosystem.NPM, "p7")])
    assert (list(entries), about.read) == (["GHSA-7"], 50)


def test_an_entry_about_everything_names_a_component_once(tmp_path: Path) -> None:
    entry = ON_REQUESTS | {"affected": ON_REQUESTS["affected"] * 3}
    write(tmp_path, entry)
    assert len(known_vulnerabilities([REQUESTS], tmp_path).findings) == 1


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file, an export, and something broken."""
    folder = tmp_path / "data"
    write(folder, ON_REQUESTS, osv("GHSA-0", "npm", "other", {"introduced": "0"}))
    (folder / "broken.json").write_text("{")
    with zipfile.ZipFile(folder / "all.zip", "w") as export:
        export.writestr("a/GHSA-1.json", json.dumps(osv("GHSA-1", "npm", "lodash", {"introduced": "0"})))
    return folder


def test_with_an_index_the_answer_is_the_same_and_only_what_is_asked_for_is_read(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "osv.index"
    without = known_vulnerabilities([REQUESTS, LODASH], data)
    assert [each.rule for each in without.findings] == ["osv.GHSA-x84v", "osv.GHSA-1"]
    assert known_vulnerabilities([REQUESTS, LODASH], data, index=index) == without
    monkeypatch.setattr(reading._Reading, "read_all", lambda *_: pytest.fail("all was read again"))
    assert known_vulnerabilities([REQUESTS, LODASH], data, index=index) == without
    assert known_vulnerabilities([LOG4J], data, index=index).entries == without.entries
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "osv.index"]


def test_what_killed_processes_left_of_an_index_goes_when_the_next_is_made(data: Path, tmp_path: Path) -> None:
    for name, age in (("left", 7200), ("being-made", 60)):
        path = tmp_path / f".osv.index.1.{name}"
        path.write_bytes(b"half")
        then = time.time() - age
        os.utime(path, (then, then))
    known_vulnerabilities([REQUESTS], data, index=tmp_path / "osv.index")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".osv.index.1.being-made", "data", "osv.index"]


@pytest.mark.parametrize("change", ["another file", "the same name", "one less", "within the export"])
def test_whatever_changes_in_the_folder_is_seen(data: Path, tmp_path: Path, change: str) -> None:
    index = tmp_path / "osv.index"
    known_vulnerabilities([REQUESTS], data, index=index)
    fixed = osv("GHSA-x84v", "PyPI", "requests", {"introduced": "0"}, {"fixed": "1.0"})
    if change == "another file":
        write(data / "new", osv("GHSA-9", "PyPI", "requests", *FIXED))
    elif change == "the same name":
        write(data, fixed)
    elif change == "one less":
        (data / "GHSA-x84v.json").unlink()
    else:
        with zipfile.ZipFile(data / "all.zip", "a") as export:
            export.writestr("GHSA-9.json", json.dumps(osv("GHSA-9", "PyPI", "requests", *FIXED)))
    with_index = known_vulnerabilities([REQUESTS], data, index=index)
    assert with_index == known_vulnerabilities([REQUESTS], data)
    assert len(with_index.findings) == {"another file": 2, "within the export": 2}.get(change, 0)


@pytest.mark.parametrize("content", [b"", b"no database", None])
def test_an_index_that_is_not_sound_is_made_anew(data: Path, tmp_path: Path, content: bytes | None) -> None:
    index = tmp_path / "osv.index"
    without = known_vulnerabilities([REQUESTS], data)
    known_vulnerabilities([REQUESTS], data, index=index)
    index.write_bytes(index.read_bytes()[:3000] if content is None else content)
    assert known_vulnerabilities([REQUESTS], data, index=index) == without
    assert known_vulnerabilities([REQUESTS], data, index=index) == without


def test_a_file_that_is_not_what_the_index_says_has_all_read_again(data: Path, tmp_path: Path) -> None:
    index = tmp_path / "osv.index"
    known_vulnerabilities([REQUESTS], data, index=index)
    path = data / "GHSA-x84v.json"
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = known_vulnerabilities([REQUESTS], data, index=index)
    assert (result.findings, result.broken_count) == ((), 2)


def test_no_data_makes_no_sound_of_an_index_either(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for _ in range(2):
        with pytest.raises(OsvUnavailable, match="there is no vulnerability data"):
            known_vulnerabilities([REQUESTS], tmp_path / "data", index=tmp_path / "osv.index")


def test_an_index_that_cannot_be_written_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be written"):
        known_vulnerabilities([REQUESTS], data, index=tmp_path / "none" / "osv.index")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for, without end."""
    folder = tmp_path / "osv"
    write(folder, ON_REQUESTS)
    for name in ("pipe.json", "pipe.zip"):
        os.mkfifo(folder / name)
    (tmp_path / "elsewhere.json").write_text(json.dumps(ON_REQUESTS))
    (folder / "link.json").symlink_to(tmp_path / "elsewhere.json")
    result = known_vulnerabilities([REQUESTS], folder)
    assert [finding.rule for finding in result.findings] == ["osv.GHSA-x84v"]
    assert all(name in result.sentence() for name in ("link.json", "pipe.json", "pipe.zip"))
