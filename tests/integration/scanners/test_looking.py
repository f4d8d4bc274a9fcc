"""Trees looked through in the real sandbox: what is found, and what becomes of a scanner that does not end well."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Event, Timer

import pytest

from app.domain.components import Component, Ecosystem
from app.domain.findings import Finding, ScanPolicy, Severity, judge
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.sandbox.spec import MIB, Limits
from app.infrastructure.scanners import looking
from app.infrastructure.scanners.looking import SCAN_LIMITS, look_through
from app.infrastructure.scanners.report import LeftOut, Reason, Report, read_report, report_json
from tests.integration.sandbox.sites import NOBODY

REPOSITORY = Path(__file__).resolve().parents[3]
# Put together here, so that no scanner takes this file's own text for the real thing.
AWS = "AKIA" + "Q3EGPJ7ZM4TRNBWY"
AWS_HASH = hashlib.sha256(AWS.encode()).hexdigest()[:4]
EXPLODING = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><project><artifactId>&b;</artifactId></project>'


@pytest.fixture
def place() -> Iterator[Path]:
    """Reachable for the user that the sandbox may take, which folders of pytest's own are not."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]
    parent = next(each for each in places if all(above.stat().st_mode & 0o001 for above in (each, *each.parents)))
    folder = Path(tempfile.mkdtemp(prefix="hotswap-scan-", dir=parent))
    folder.chmod(0o755)
    for name in ("tree", "work"):
        (folder / name).mkdir(mode=0o755)
    yield folder
    remove_tree(folder)


def put(place: Path, **files: str | bytes) -> None:
    for name, content in files.items():
        path = place / "tree" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def looked_through(place: Path, limits: Limits = SCAN_LIMITS, capabilities: Capabilities | None = None) -> Report:
    report = look_through(place / "tree", place / "work", limits, capabilities=capabilities)
    assert [path.name for path in (place / "work").iterdir()] in ([], ["scan.log"]), "nothing is left behind"
    # It can be stored as it is, and is the same when it is taken from there.
    assert read_report(json.loads(json.dumps(report_json(report)))) == report
    return report


def planted(place: Path) -> None:
    shell = "import subprocess\nsubprocess.call(command, shell=True)  # nosec\n"
    put(place, app_dot_py=shell, conf__keys_dot_env=f"KEY={AWS}\n", requirements_dot_txt="requests==2.19.0\n")


PLANTED = Report(
    findings=(
        Finding(
            Severity.HIGH, "bandit.B602", "subprocess call with shell=True identified, security issue.", "app.py", 2
        ),
        Finding(Severity.HIGH, "secret.aws-key", f"AWS key in a file (sha256 {AWS_HASH}…)", "conf/keys.env", 1),
        Finding(
            Severity.LOW,
            "bandit.B404",
            "Consider possible security implications associated with the subprocess module.",
            "app.py",
            1,
        ),
    ),
    components=(Component(Ecosystem.PYPI, "requests", "2.19.0", "requirements.txt"),),
    files=3,
    size_bytes=0,
)


def test_secrets_code_and_packages_are_told(place: Path) -> None:
    planted(place)
    assert replace(looked_through(place), size_bytes=0) == PLANTED


@pytest.mark.parametrize("column", ["full", "landlock", "bare"])
@pytest.mark.parametrize("user", [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()])
def test_the_report_is_the_same_in_each_isolation(place: Path, user: int, column: str) -> None:
    planted(place)
    place.chmod(0o777)
    paths = [os.fspath(each) for each in (place, REPOSITORY, Path(sys.base_prefix), Path(sys.prefix))]
    report, work = f"{place}/tree", f"{place}/own"
    command = [
        sys.executable,
        "-B",
        "-m",
        "tests.integration.scanners.as_user",
        str(user),
        report,
        work,
        column,
        *paths,
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if told is not None:  # else this machine cannot give that isolation
        assert replace(read_report(told), size_bytes=0) == PLANTED


def test_a_hostile_tree_costs_itself_only(place: Path) -> None:
    junk = os.urandom(2 * MIB)
    many = "import subprocess\n" + "subprocess.call(command, shell=True)\n" * 10_000
    put(place, pom_dot_xml=EXPLODING, many_dot_py=many, junk_dot_bin=junk, poetry_dot_lock="x = " + "[" * 100_000)
    put(place, deep_dot_py="(" * 100_000, wide_dot_js="eyJ" * 100_000, a__key_dot_txt=AWS)
    odd = os.fsencode(place / "tree") + b"/odd\xff\x1b[1m.txt"
    Path(os.fsdecode(odd)).write_text(AWS)
    os.mkfifo(place / "tree" / "pipe")
    (place / "tree" / "out").symlink_to("/etc")
    hidden = place / "tree" / "hidden.txt"
    hidden.write_text(AWS)
    hidden.chmod(0)
    (place / "tree").joinpath(*["d"] * 500).mkdir(parents=True)
    report = looked_through(place)
    assert report.failure is None
    assert Finding(Severity.HIGH, "bandit.B602", "findings of this rule that are not listed: 9900") in report.findings
    keys = [each.file for each in report.findings if each.rule == "secret.aws-key"]
    assert keys == ["a/key.txt", "odd\\xff\\x1b[1m.txt"]
    counted = {each.reason: each.count for each in report.left_out}
    assert counted[Reason.UNPARSED] == 3
    assert counted[Reason.DEEP] == 1
    assert counted[Reason.LINK] == counted[Reason.SPECIAL] == 1
    assert counted[Reason.BINARY] >= 1
    assert LeftOut(Reason.UNREADABLE, 1, "hidden.txt") in report.left_out
    assert {"scan.deep", "scan.unreadable", "scan.unparsed"} <= {each.rule for each in report.findings}
    assert len(report.findings) < 150


def assert_failed(report: Report, *words: str) -> None:
    """A failure is a finding too, and stops by the default policy."""
    assert report.failure is not None
    assert all(word in report.failure for word in words), report.failure
    assert report.findings == (Finding(Severity.HIGH, "scan.failed", report.failure),)
    [judged] = judge(report.findings, ScanPolicy(), date(2026, 1, 1))
    assert judged.stops


def test_a_scanner_that_takes_too_long_is_a_failure(place: Path) -> None:
    assert_failed(
        looked_through(place, replace(SCAN_LIMITS, wall_seconds=0.05, grace_seconds=0.1)),
        "its limit of wall time was reached",
    )


def test_a_scanner_that_takes_too_much_memory_is_a_failure(place: Path) -> None:
    put(place, a_dot_txt="x")
    assert_failed(looked_through(place, replace(SCAN_LIMITS, memory_bytes=20 * MIB)), "the scanner ended")


def test_a_cancelled_scan_is_a_failure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(place, monkeypatch, "import time; time.sleep(600)")
    cancelled = Event()
    timer = Timer(0.5, cancelled.set)
    timer.start()
    assert_failed(look_through(place / "tree", place / "work", SCAN_LIMITS, cancelled), "cancelled after")
    timer.join()


def test_a_machine_that_can_hold_nothing_scans_nothing(place: Path) -> None:
    nothing = Capabilities(root=False, seccomp=False, landlock=0)
    assert_failed(looked_through(place, capabilities=nothing), "could not be run")


def test_a_tree_that_is_not_there_is_a_failure(place: Path) -> None:
    (place / "tree").rmdir()
    assert_failed(looked_through(place), "the scanner")


def program(place: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Another program in the scanner's place: what a parser that was taken over could do at worst."""
    path = place / "tree" / "program.py"
    path.write_text("import json, os, sys\ntree, report = sys.argv[1:3]\n" + code)
    monkeypatch.setattr(
        looking, "own_program", lambda _, arguments: (sys.executable, "-I", os.fspath(path), *arguments)
    )


SOUND = {**report_json(Report()), "failure": None}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", ["there is none"]),
        ("sys.exit('I give up')", ["exit code 1", "I give up"]),
        ("open(report + '.at', 'w').write('a/b.py (secrets)\\n'); os.kill(os.getpid(), 11)", ["SIGSEGV", "at a/b.py"]),
        ("os.symlink('/etc/passwd', report)", ["there is none"]),
        ("os.mkfifo(report)", ["there is none"]),
        ("os.mkdir(report)", ["cannot be used"]),
        ("open(report, 'w').write('{')", ["cannot be used"]),
        ("open(report, 'w').write('[' * 100000)", ["cannot be used"]),
        ("open(report, 'wb').write(b'\\xff\\xfe')", ["cannot be used"]),
        ("open(report, 'w').truncate(20 * 1024 * 1024)", ["longer than"]),
        ("open(report, 'w').write('[]')", ["not an object"]),
        (f"open(report, 'w').write({json.dumps(SOUND | {'files': -1})!r})", ["files is not a count"]),
        (f"open(report, 'w').write({json.dumps(SOUND | {'failure': 'no'})!r})", ["says: no"]),
        ("print('\\x1b[2J' * 1000); os.symlink('/etc/passwd', report + '.at'); sys.exit(3)", ["exit code 3"]),
    ],
)
def test_no_sound_report_is_a_failure(
    place: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: list[str]
) -> None:
    program(place, monkeypatch, code)
    assert_failed(looked_through(place), *words)


def test_the_scanner_sees_the_package_of_ours_and_not_what_lies_beside_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [os.fspath(REPOSITORY / name) for name in ("setup.cfg", "Makefile")]
    look = f"seen = [name for name in {names!r} if os.access(name, os.R_OK)]"
    told = f"report_of = {SOUND!r} | {{'failure': ' '.join(seen) or 'nothing'}}"
    program(place, monkeypatch, f"{look}\n{told}\nopen(report, 'w').write(json.dumps(report_of))")
    assert_failed(looked_through(place), "says: nothing")
