"""Runs the tests beside it on what was built, and writes reports/junit.xml (JUnit's format)."""

from __future__ import annotations

import sys
import time
import unittest
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "dist"
REPORT = ROOT / "reports" / "junit.xml"


class Result(unittest.TextTestResult):
    """Keeps how long each test took and how it went."""

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type]
        self.cases: dict[str, ElementTree.Element] = {}
        self._began = 0.0

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        super().startTest(test)
        self._began = time.monotonic()
        name = {"classname": type(test).__name__, "name": test.id().rpartition(".")[2]}
        self.cases[test.id()] = ElementTree.Element("testcase", name)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802 - unittest's name
        self.cases[test.id()].set("time", f"{time.monotonic() - self._began:.3f}")
        super().stopTest(test)


def main() -> int:
    """Exit code 0 when all went well and there was at least one test."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(BUILT if BUILT.is_dir() else ROOT))
    suite = unittest.defaultTestLoader.discover(str(ROOT / "tests"))
    result = unittest.TextTestRunner(sys.stdout, verbosity=2, resultclass=Result).run(suite)
    assert isinstance(result, Result)
    write(result)
    return 0 if result.wasSuccessful() and result.testsRun else 1


def write(result: Result) -> None:
    """The report."""
    root = ElementTree.Element("testsuite", name="my-module", tests=str(result.testsRun))
    for count, found in (("failures", result.failures), ("errors", result.errors), ("skipped", result.skipped)):
        root.set(count, str(len(found)))
    for kind, found in (("failure", result.failures), ("error", result.errors), ("skipped", result.skipped)):
        for test, text in found:
            case = result.cases.setdefault(test.id(), ElementTree.Element("testcase", name=test.id()))
            ElementTree.SubElement(case, kind, message=text.strip().rpartition("\n")[2]).text = text
    root.extend(result.cases.values())
    REPORT.parent.mkdir(exist_ok=True)
    ElementTree.ElementTree(root).write(REPORT, encoding="utf-8", xml_declaration=True)


if __name__ == "__main__":
    raise SystemExit(main())
