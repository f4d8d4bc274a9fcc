"""Looks through the site as it was built, and writes reports/junit.xml (JUnit's format), a test case for each page."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "reports" / "junit.xml"


class Page(HTMLParser):
    """What of a page is looked at."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.title = ""
        self._in_title = False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name in ("id", "name") and value:
                self.names.add(value)

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data.strip()


def main() -> int:
    """Exit code 0 when every page is well, and there is one."""
    public = ROOT / "dist" / "public"
    pages = {file: Page(file) for file in sorted(public.rglob("*.html"))}
    suite = ElementTree.Element("testsuite", name="my-module", tests=str(len(pages)))
    failed = 0
    for file, page in pages.items():
        problems = problems_of(file, page, pages, public)
        name = file.relative_to(public).as_posix()
        case = ElementTree.SubElement(suite, "testcase", classname="pages", name=name)
        print(f"{'FAIL' if problems else 'ok  '}  {name}")
        for problem in problems:
            print(f"      {problem}")
        if problems:
            failed += 1
            ElementTree.SubElement(case, "failure", message="; ".join(problems))
    suite.set("failures", str(failed))
    REPORT.parent.mkdir(exist_ok=True)
    ElementTree.ElementTree(suite).write(REPORT, encoding="utf-8", xml_declaration=True)
    print(f"{len(pages)} pages, {failed} failed")
    return 0 if pages and not failed else 1


def problems_of(file: Path, page: Page, pages: dict[Path, Page], public: Path) -> list[str]:
    """What is wrong with a page."""
    problems = [] if page.title else ["has no title"]
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue  # of another site: a build has no network
        start = public if parts.path.startswith("/") else file.parent
        target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else file
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            problems.append(f"links to {link}, which is not there")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
            problems.append(f"links to {link}, and that page has no such id")
    return problems


if __name__ == "__main__":
    raise SystemExit(main())
