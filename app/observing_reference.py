"""The reference of docs/guides/observing.md, from the code: `python -m app.observing_reference PAGE`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent import metrics as agent_metrics
from agent.telemetry.names import MEANINGS
from app.infrastructure.metrics import DECLARED

BEGIN = "<!-- reference: begin (made by `make observing`) -->"
END = "<!-- reference: end -->"
_PACKAGES = ("app.api", "app.infrastructure", "app.orchestrator")
_OTHERS = ("workers.task_metrics",)


def reference() -> str:
    """Tables of all fields and metrics, in Markdown."""
    _import_all()
    fields = [(f"`{field.value}`", said.type, _yes(said.label), said.help) for field, said in MEANINGS.items()]
    declared = sorted(DECLARED.values(), key=lambda each: each.name)
    ours = [(f"`{each.name}`", each.type, _words(each.labels), _asked(each.asked) + each.help) for each in declared]
    agents = [(f"`{each.name}`", each.type, _words(each.labels), each.help) for each in agent_metrics.DESCRIBED]
    return "\n".join(
        [
            "### Fields of log lines, attributes of spans, tags of errors",
            "",
            *_table(("field", "type", "label of metrics", "meaning"), fields),
            "",
            "### Metrics of the orchestrator",
            "",
            "Those marked \\* are asked for at the scrape, and absent where nobody answers in time.",
            "",
            *_table(("metric", "type", "labels", "meaning"), ours),
            "",
            "### Metrics of an agent",
            "",
            *_table(("metric", "type", "labels", "meaning"), agents),
        ]
    )


def with_reference(page: str) -> str:
    """A page with its reference made anew. Raises ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{after}"


def _import_all() -> None:
    """Metrics are declared where they are counted."""
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(("wsgi", "__main__")) and ".migrations" not in module.name:
                importlib.import_module(module.name)
    for name in _OTHERS:
        importlib.import_module(name)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def _words(labels: Sequence[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _yes(whether: bool) -> str:
    return "yes" if whether else ""


def _asked(whether: bool) -> str:
    return "\\* " if whether else ""


def main(arguments: Sequence[str]) -> int:
    """Write the reference into the page that is named."""
    if len(arguments) != 1:
        print("usage: python -m app.observing_reference PAGE", file=sys.stderr)
        return 2
    page = Path(arguments[0])
    page.write_text(with_reference(page.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
