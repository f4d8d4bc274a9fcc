"""Each template of `hotswap init`: it builds, its tests pass and can fail, it serves, and it ends in order.

Of a language whose compiler or interpreter is not on this machine, manifest and files are looked at, which is all that
can be.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from agent.archive import inspect, pack_bytes
from agent.manifest import HookEvent, Kind, lint
from app.cli.init import Language
from app.domain.tested import TestCounts
from app.infrastructure.junit.finding import find_reports
from app.infrastructure.junit.parsing import open_report, read_report
from app.infrastructure.junit.patterns import Patterns
from app.infrastructure.junit.reading import USUAL_PLACES
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.sandbox.runner import run
from app.infrastructure.sandbox.spec import SandboxSpec
from tests.integration.starters.module import NAME, SYSTEM_PATH, TOOL, Module, is_here, search_path

HERE = [language for language in Language if is_here(language)]
SERVING = [language for language in HERE if language is not Language.STATIC]
# A line of each, and what makes a test fail when it stands there instead.
BREAKS = {
    Language.PYTHON: ("service/answers.py", "Answer(404", "Answer(200"),
    Language.NODE: ("src/service.js", "status: 404", "status: 200"),
    Language.JAVA: ("src/Service.java", "Answer(404", "Answer(200"),
    Language.STATIC: ("site/index.html", 'href="about.html"', 'href="abuot.html"'),
}


def counts_of(report: Path) -> TestCounts:
    with open_report(report) as file:
        return read_report(file, 1000)


@dataclass(frozen=True)
class Made:
    """A module, and the tree that its build gives nodes."""

    source: Module
    built: Module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Language], Made]:
    """Each language's module, built once for all tests that only look."""

    @cache
    def make(language: Language) -> Made:
        source = Module.made(language, tmp_path_factory.mktemp("made") / language.value)
        return Made(source, source.built())

    return make


@pytest.mark.parametrize("language", Language)
def test_it_is_a_valid_module_that_nothing_is_advised_about(language: Language, tmp_path: Path) -> None:
    module = Module.made(language, tmp_path / "module")
    archive = inspect(io.BytesIO(pack_bytes(module.folder)))
    assert archive.manifest == module.manifest
    assert (module.manifest.name, module.manifest.version) == (NAME, "1.0.0")
    assert lint(module.manifest, {entry.path: entry.executable for entry in archive.entries}) == []
    assert module.manifest.build is not None
    assert module.manifest.test is not None
    assert module.manifest.kind is (Kind.FILES if language is Language.STATIC else Kind.PROCESS)
    paths = {entry.path for entry in archive.entries}
    assert "README.md" in paths
    assert module.manifest.build.output not in paths
    assert ".hotswapignore" not in paths
    for command in (module.manifest.build.command, module.manifest.test.command):
        own = [word for word in command if word.endswith((".py", ".js", ".sh"))]
        assert all((module.folder / word).is_file() for word in own)


@pytest.mark.parametrize("language", HERE)
def test_it_builds_the_same_twice_and_its_tests_pass_on_what_was_built(
    made: Callable[[Language], Made], language: Language, tmp_path: Path
) -> None:
    module = made(language)
    again = Module.made(language, tmp_path / "again").built()
    assert pack_bytes(module.built.folder) == pack_bytes(again.folder)
    assert not list(again.folder.rglob("*[tT]est*"))  # what is deployed has what it needs
    done = module.source.tested()
    assert done.returncode == 0, done.stdout + done.stderr
    complaints: list[str] = []
    (report,) = find_reports(module.source.folder, Patterns(USUAL_PLACES), complaints.append)
    assert complaints == []
    counts = counts_of(module.source.folder / report)
    assert counts.total >= 2
    assert counts.passed == counts.total


@pytest.mark.parametrize("language", HERE)
def test_a_test_that_fails_is_named_and_ends_the_run_with_another_code(language: Language, tmp_path: Path) -> None:
    module = Module.made(language, tmp_path / "module")
    module.change(*BREAKS[language])
    module.built()
    assert module.tested().returncode != 0
    counts = counts_of(module.folder / "reports" / "junit.xml")
    assert counts.failed == len(counts.failing) >= 1


@pytest.mark.parametrize("language", SERVING)
def test_what_was_built_serves_and_ends_in_order(
    made: Callable[[Language], Made], language: Language, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    with made(language).built.serving(tmp_path / "data") as serving:
        assert serving.get("/healthz") == (200, "ok\n")
        assert serving.get("/") == (200, f"{NAME} 1.0.0\n")
        assert serving.get("/nothing")[0] == 404
        (tmp_path / "data").rmdir()
        # Root may write anywhere, but not into what is not there.
        assert serving.get("/healthz")[0] == 503
        lines = serving.get("/metrics")[1].splitlines()
        assert 'http_requests_total{code="200"} 1' in lines
        assert 'http_requests_total{code="404"} 1' in lines
        figures = {line.partition(" ")[0]: float(line.partition(" ")[2]) for line in lines if not line.startswith("#")}
        assert figures['http_request_duration_seconds_bucket{le="+Inf"}'] == 2
        assert figures["process_resident_memory_bytes"] > 1_000_000
        assert figures["process_start_time_seconds"] > 1_700_000_000
        assert "process_cpu_seconds_total" in figures
        assert serving.ended()[0] == 0


def test_what_was_built_of_the_site_passes_its_own_hook(tmp_path: Path) -> None:
    module = Module.made(Language.STATIC, tmp_path / "module").built()
    hook = module.manifest.hooks[HookEvent.VALIDATE_SERVICE]
    assert module.command(hook.command, module.folder).returncode == 0
    (module.folder / "public" / "index.html").unlink()
    assert module.command(hook.command, module.folder).returncode != 0
    sizes = [
        sum(each.stat().st_size for each in folder.rglob("*.*"))
        for folder in (module.folder / "public", tmp_path / "module" / "site")
    ]
    assert sizes[0] < sizes[1]


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that other users can get to: without a mount namespace a sandbox of root's runs as one of them."""
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]
    open_ones = [each for each in places if all(above.stat().st_mode & 0o001 for above in (each, *each.parents))]
    folder = Path(tempfile.mkdtemp(prefix="hotswap-starter-", dir=open_ones[0]))
    folder.chmod(0o755)
    yield folder
    remove_tree(folder)


@pytest.mark.parametrize("language", [each for each in HERE if search_path() == SYSTEM_PATH and TOOL[each] != "javac"])
def test_build_and_test_run_in_the_sandbox_without_network(language: Language, reachable: Path, tmp_path: Path) -> None:
    """Not Java, which needs a /proc that some containers do not let a sandbox mount."""
    module = Module.made(language, reachable / "module")
    assert module.manifest.build is not None
    assert module.manifest.test is not None
    built = run(SandboxSpec(module.manifest.build.command, module.folder), tmp_path / "build.log")
    assert built.succeeded, built.sentence() + (tmp_path / "build.log").read_text()
    tested = run(SandboxSpec(module.manifest.test.command, module.folder), tmp_path / "test.log")
    assert tested.succeeded, tested.sentence() + (tmp_path / "test.log").read_text()
    assert (module.folder / "reports" / "junit.xml").is_file()
