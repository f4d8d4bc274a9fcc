"""validateService: every link within the site leads somewhere, and the site says the version that it should."""

from __future__ import annotations

import json
import os
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

SITE = Path("public")


class Links(HTMLParser):
    """Collects what a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take `href` and `src` of every element."""
        self.found += [value for name, value in attrs if name in {"href", "src"} and value]


def broken_links() -> list[str]:
    """`page -> link` for every local link without a file."""
    broken = []
    for page in sorted(SITE.rglob("*.html")):
        links = Links()
        links.feed(page.read_text("utf-8"))
        for link in links.found:
            url = urlsplit(link)
            if not url.scheme and not url.netloc and url.path and not (page.parent / url.path).exists():
                broken.append(f"{page.relative_to(SITE)} -> {link}")
    return broken


def main() -> str | None:
    """What is wrong, None if nothing is."""
    said = json.loads((SITE / "version.json").read_text("utf-8"))["version"]
    if said != os.environ["HOTSWAP_VERSION"]:
        return f"the site says it is {said}"
    broken = broken_links()
    return f"broken links: {', '.join(broken)}" if broken else None


if __name__ == "__main__":
    sys.exit(main())
