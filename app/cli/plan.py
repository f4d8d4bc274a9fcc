"""What a dry run says, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.cli.output import Output, one_line, table

_MOST_NODES = 12


def plan_lines(plan: Mapping[str, Any], output: Output) -> Iterator[str]:
    """The plan's lines: stages with why each is there or not, waves, what would interrupt."""
    yield (
        f"{one_line(plan.get('moduleName'))} {one_line(plan.get('version'))} to "
        f"{one_line(plan.get('targetEnvironment'))}, {one_line(plan.get('strategy'))}. Nothing was changed."
    )
    yield ""
    rows = [
        (each.get("name"), "runs" if each.get("runs") else output.status("Skipped"), each.get("reason") or "")
        for each in plan.get("stages") or ()
    ]
    yield from table(("STAGE", "", "WHY"), [(name, runs, why or " ") for name, runs, why in rows], output.width())
    yield from _waves(plan)
    for each in plan.get("skipped") or ():
        yield f"skipped: {one_line(each.get('hostname'))}: {one_line(each.get('reason'))}"
    for gate in plan.get("gates") or ():
        yield f"gate: {one_line(gate.get('text') or gate.get('kind'))}"
    for text in plan.get("interrupts") or ():
        yield f"interrupts: {one_line(text)}"
    if plan.get("refusal"):
        yield f"would fail: {one_line(plan['refusal'])}"


def _waves(plan: Mapping[str, Any]) -> Iterator[str]:
    waves = plan.get("waves") or ()
    if waves:
        yield ""
    for number, wave in enumerate(waves, start=1):
        nodes = wave.get("nodes") or ()
        changes: dict[str, list[str]] = {}
        for node in nodes:
            change = f"{one_line(node.get('fromVersion') or 'nothing')} -> {one_line(node.get('toVersion'))}"
            changes.setdefault(change, []).append(one_line(node.get("hostname")))
        for change, names in changes.items():
            more = f" and {len(names) - _MOST_NODES} more" if len(names) > _MOST_NODES else ""
            yield f"wave {number} of {len(waves)}: {change} on {', '.join(names[:_MOST_NODES])}{more}"
