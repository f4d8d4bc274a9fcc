"""Packages out of lock files, manifests, installed metadata and jars, and the licences that they state."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.infrastructure.scanners.inside import stated_licences
from app.infrastructure.scanners.inside.stated_licences import Licence, any_of
from app.infrastructure.scanners.report import Reason, Report
from tests.unit.scanners.looked_at import left_out, looked_at


def packages(report: Report) -> list[tuple[str, str]]:
    return [(each.package, each.version) for each in report.components]


def archive(files: Mapping[str, str | bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return content.getvalue()


def test_requirements_that_are_pinned(tmp_path: Path) -> None:
    text = """
        # a comment
        -r other.txt
        --index-url https://example.com
        Flask==3.1.3 ; python_version > "3.8"
        requests[socks] == 2.32.3 \\
            --hash=sha256:abc
        loose>=1.0
        star==1.*
        -e .
        git+https://example.com/x.git
        local===2004a-odd  # the odd one
    """
    report = looked_at(tmp_path, {"requirements.txt": text, "requirements/dev.txt": "a==1", "notes.txt": "b==1"})
    assert packages(report) == [
        ("pypi/a", "1"),
        ("pypi/flask", "3.1.3"),
        ("pypi/local", "2004a-odd"),
        ("pypi/requests", "2.32.3"),
    ]
    inexact = left_out(report, Reason.INEXACT)
    assert inexact is not None
    assert (inexact.count, inexact.example) == (3, "requirements.txt: loose")


def test_locks_of_python(tmp_path: Path) -> None:
    files = {
        "poetry.lock": '[[package]]\nname = "a"\nversion = "1"\n[[package]]\nname = "b"\nversion = "2"\n',
        "x/uv.lock": '[[package]]\nname = "own"\nversion = "0"\nsource = { virtual = "." }\n'
        '[[package]]\nname = "c"\nversion = "3"\nsource = { registry = "https://pypi.org/simple" }\n',
        "Pipfile.lock": json.dumps(
            {"default": {"d": {"version": "==4"}, "git": {"ref": "x"}}, "develop": {"e": {"version": "==5"}}}
        ),
    }
    named = [("pypi/a", "1"), ("pypi/b", "2"), ("pypi/c", "3"), ("pypi/d", "4"), ("pypi/e", "5")]
    assert packages(looked_at(tmp_path, files)) == named


def test_what_is_installed(tmp_path: Path) -> None:
    files = {
        "lib/a-1.dist-info/METADATA": "Metadata-Version: 2.4\nName: A.b_C\nVersion: 1\nLicense-Expression: mit\n\nText",
        "lib/b-1.dist-info/METADATA": "Name: b\nVersion: 1\nLicense: see LICENSE\n"
        "Classifier: License :: OSI Approved :: BSD License\nClassifier: Programming Language :: Python\n",
        "lib/c-1.dist-info/METADATA": "Name: c\nVersion: 1\nLicense: BSD\n"
        "Classifier: License :: OSI Approved :: Apache Software License\n"
        "Classifier: License :: OSI Approved :: MIT License\n",
        "c.egg-info/PKG-INFO": "Name: d\nVersion: 1\n",
    }
    report = looked_at(tmp_path, files)
    assert {each.name: (each.licence, each.licence_words) for each in report.components} == {
        "A.b_C": ("MIT", None),
        "b": (None, "see LICENSE"),
        "c": ("Apache-2.0 AND MIT", None),
        "d": (None, None),
    }
    assert report.components[0].package == "pypi/a-b-c"


def test_locks_of_npm(tmp_path: Path) -> None:
    new = {
        "": {"name": "own", "version": "0"},
        "packages/x": {"name": "workspace", "version": "0"},
        "node_modules/workspace": {"link": True, "resolved": "packages/x"},
        "node_modules/@scope/a": {"version": "1.0.0", "license": "(MIT OR Apache-2.0)"},
        "node_modules/@scope/a/node_modules/b": {"version": "2.0.0", "license": "ISC"},
        "node_modules/alias": {"name": "real", "version": "3.0.0"},
        "node_modules/c": {"resolved": "git+ssh://git@example.com/c.git"},
    }
    old = {"d": {"version": "4.0.0", "dependencies": {"e": {"version": "5.0.0"}}}, "f": {"version": "npm:@s/g@6.0.0"}}
    files = {
        "package-lock.json": json.dumps({"lockfileVersion": 3, "packages": new}),
        "old/npm-shrinkwrap.json": json.dumps({"lockfileVersion": 1, "dependencies": old}),
    }
    report = looked_at(tmp_path, files)
    assert packages(report) == [
        ("npm/@s/g", "6.0.0"),
        ("npm/@scope/a", "1.0.0"),
        ("npm/b", "2.0.0"),
        ("npm/d", "4.0.0"),
        ("npm/e", "5.0.0"),
        ("npm/real", "3.0.0"),
    ]
    assert {each.licence for each in report.components} == {None, "(MIT OR Apache-2.0)", "ISC"}


def test_node_modules(tmp_path: Path) -> None:
    files = {
        "package.json": json.dumps({"name": "own", "version": "0"}),
        "node_modules/a/package.json": json.dumps({"name": "a", "version": "1.0.0", "license": {"type": "MIT"}}),
        "node_modules/a/lib/package.json": json.dumps({"type": "module"}),
        "node_modules/@s/b/package.json": json.dumps(
            {"name": "@s/b", "version": "2.0.0", "licenses": [{"type": "MIT"}, {"type": "BSD-3-Clause"}]}
        ),
        "node_modules/@s/b/node_modules/c/package.json": json.dumps({"name": "c", "version": "3.0.0"}),
        "node_modules/a/poetry.lock": '[[package]]\nname = "never"\nversion = "1"\n',
    }
    report = looked_at(tmp_path, files)
    assert packages(report) == [("npm/@s/b", "2.0.0"), ("npm/a", "1.0.0"), ("npm/c", "3.0.0")]
    assert [each.licence for each in report.components] == ["BSD-3-Clause OR MIT", "MIT", None]


POM = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <parent><groupId>org.own</groupId><version>7</version></parent>
  <artifactId>own</artifactId>
  <properties><a.version>1.2</a.version><round>${trip}</round><trip>${round}</trip></properties>
  <dependencyManagement><dependencies>
    <dependency><groupId>org.b</groupId><artifactId>b</artifactId><version>${a.version}</version></dependency>
  </dependencies></dependencyManagement>
  <dependencies>
    <dependency><groupId>org.a</groupId><artifactId>a</artifactId><version>${a.version}</version>
      <exclusions><exclusion><groupId>x</groupId><artifactId>x</artifactId></exclusion></exclusions></dependency>
    <dependency><groupId>org.b</groupId><artifactId>b</artifactId></dependency>
    <dependency><groupId>${project.groupId}</groupId><artifactId>sibling</artifactId><version>[3]</version></dependency>
    <dependency><groupId>org.c</groupId><artifactId>c</artifactId><version>[1.0,2.0)</version></dependency>
    <dependency><groupId>org.d</groupId><artifactId>d</artifactId><version>${round}</version></dependency>
    <dependency><groupId>org.e</groupId><artifactId>of-the-parent</artifactId></dependency>
  </dependencies>
</project>"""


def test_java(tmp_path: Path) -> None:
    lock = "# Gradle\norg.f:f:1.0=compileClasspath,runtimeClasspath\nempty=annotationProcessor\n"
    report = looked_at(tmp_path, {"pom.xml": POM, "sub/gradle.lockfile": lock})
    assert packages(report) == [
        ("maven/org.a:a", "1.2"),
        ("maven/org.b:b", "1.2"),
        ("maven/org.f:f", "1.0"),
        ("maven/org.own:sibling", "3"),
    ]
    inexact = left_out(report, Reason.INEXACT)
    assert inexact is not None
    assert (inexact.count, inexact.example) == (3, "pom.xml: org.c:c")


def test_jars_and_jars_within_jars(tmp_path: Path) -> None:
    licence = "<license><name>The Apache Software License, Version 2.0</name></license>"
    pom = f"<project><licenses>{licence}</licenses></project>"
    inner = archive({"META-INF/maven/g/inner/pom.properties": "groupId=g\nartifactId=inner\nversion=2\n"})
    outer = archive(
        {
            "META-INF/maven/g/outer/pom.properties": "#Created\ngroupId=g\nartifactId=outer\nversion=1\n",
            "META-INF/maven/g/outer/pom.xml": pom,
            "BOOT-INF/lib/inner.jar": inner,
            "BOOT-INF/lib/broken.jar": b"no zip",
        }
    )
    wheel = archive({"w-1.dist-info/METADATA": "Name: w\nVersion: 1\n"})
    report = looked_at(
        tmp_path, {"app.jar": outer, "plain.jar": archive({"A.class": b""}), "w-1-py3-none-any.whl": wheel}
    )
    assert packages(report) == [("maven/g:inner", "2"), ("maven/g:outer", "1"), ("pypi/w", "1")]
    assert [each.licence for each in report.components] == [None, "Apache-2.0", None]
    inexact = left_out(report, Reason.INEXACT)
    assert inexact is not None
    assert (inexact.count, inexact.example) == (2, "app.jar: BOOT-INF/lib/broken.jar")


EXPLODING = """<?xml version="1.0"?><!DOCTYPE project [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><project><dependencies><dependency><groupId>&c;</groupId></dependency>
</dependencies></project>"""
EXTERNAL = '<!DOCTYPE project [<!ENTITY x SYSTEM "file:///etc/passwd">]><project><artifactId>&x;</artifactId></project>'


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pom.xml", EXPLODING),
        ("pom.xml", EXTERNAL),
        ("pom.xml", "<a>" * 10_000),
        ("pom.xml", "<project><dependencies>"),
        ("package-lock.json", "[" * 100_000),
        ("package-lock.json", "[]"),
        ("poetry.lock", "x = " + "[" * 100_000),
        ("Pipfile.lock", "{"),
        ("a.jar", b"PK\3\4 and no more"),
        ("a.jar", archive({"META-INF/maven/g/a/pom.properties": b"\0" * 50_000_000})),
        ("a.jar", archive({"META-INF/maven/g/a/pom.properties": "groupId=g\n"})),
        ("a-1.dist-info/METADATA", "Name: a\n"),
        ("META-INF/maven/g/a/pom.properties", ""),
    ],
)
def test_what_is_not_what_its_name_says_costs_itself_only(tmp_path: Path, name: str, content: str | bytes) -> None:
    report = looked_at(tmp_path, {name: content, "x/requirements.txt": "fine==1"})
    assert packages(report) == [("pypi/fine", "1")]
    unparsed = left_out(report, Reason.UNPARSED)
    assert unparsed is not None
    assert unparsed.example == name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Pipfile.lock", json.dumps({"default": [1], "develop": {"a": 7}})),
        ("package-lock.json", json.dumps({"packages": {"node_modules/a": {"version": 1}, "node_modules/b": None}})),
        ("package-lock.json", json.dumps({"dependencies": {"a": {"version": "1 2"}, "b": []}})),
        (
            "package-lock.json",
            json.dumps({"dependencies": {"a\x1b[31m": {"version": "1"}, "b" * 500: {"version": "1"}}}),
        ),
        ("poetry.lock", "package = [1, 2]\n[x]\n"),
        ("requirements.txt", "a==" + "1" * 10_000 + "\nb==1;" + "(" * 3000),
        ("gradle.lockfile", "::=\na:b\n" + ":" * 100_000),
    ],
)
def test_names_and_versions_of_no_sensible_form_are_no_components(tmp_path: Path, name: str, content: str) -> None:
    report = looked_at(tmp_path, {name: content})
    assert report.components == ()
    assert left_out(report, Reason.BROKEN) is None


def test_lock_files_that_nobody_reads_are_named(tmp_path: Path) -> None:
    unknown = left_out(looked_at(tmp_path, {"web/yarn.lock": "", "Cargo.lock": ""}), Reason.UNKNOWN_LOCK)
    assert unknown is not None
    assert (unknown.count, unknown.example) == (2, "Cargo.lock")


def test_a_package_found_twice_is_told_once_with_the_licence_that_is_known(tmp_path: Path) -> None:
    metadata = "Name: A\nVersion: 1\nLicense: MIT\n"
    report = looked_at(tmp_path, {"requirements.txt": "a==1", "site-packages/a-1.dist-info/METADATA": metadata})
    [component] = report.components
    assert (component.name, component.found, component.licence) == ("a", "requirements.txt", "MIT")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("MIT", ("MIT", None)),
        ("apache-2.0 or mit", ("Apache-2.0 OR MIT", None)),
        ("The Apache License, Version 2.0", ("Apache-2.0", None)),
        ("Apache License 2.0", ("Apache-2.0", None)),
        ("GNU Lesser General Public License, version 2.1", ("LGPL-2.1-only", None)),
        ("Eclipse Public License v2.0", ("EPL-2.0", None)),
        ("GNU General Public License v3 or later (GPLv3+)", ("GPL-3.0-or-later", None)),
        ("BSD", (None, "BSD")),
        ("see\n  LICENSE", (None, "see LICENSE")),
        ("(" * 1000 + "MIT", (None, "(" * 299 + "…")),
        ("with \x1b[31m colour\udc80", (None, "with \\x1b[31m colour\\x80")),
        ("", (None, None)),
        (None, (None, None)),
        (7, (None, None)),
        ("__import__('os')", (None, "__import__('os')")),
    ],
)
def test_stated_licences(stated: object, expected: Licence) -> None:
    assert stated_licences.licence(stated) == expected


def test_several_licences_to_choose_from() -> None:
    assert any_of(["MIT", "EPL 2.0"]) == ("EPL-2.0 OR MIT", None)
    assert any_of(["MIT OR ISC", "EPL 2.0"]) == ("(MIT OR ISC) OR EPL-2.0", None)
    assert any_of(["MIT", "our own"]) == (None, "MIT; our own")
    assert any_of([None, "MIT"]) == ("MIT", None)
