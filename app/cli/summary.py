"""What a deployment did, in Markdown, for the page of a CI job. Pure: from what the API said to text.

Everything that the server, a module or a person made up goes through `foreign`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from app.cli.deployment_view import DeploymentView, NodeView, StageView
from app.cli.durations import clock
from app.cli.lookup import is_id
from app.cli.markdown import foreign, row
from app.cli.output import when
from app.cli.server_url import API

_MOST = 20  # of nodes, findings, tests that are named
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
_SEVERITIES = ("critical", "high", "medium", "low")


def summary(view: DeploymentView, nodes: Sequence[NodeView], url: str, now: datetime) -> str:
    """The whole text, ending with a line feed. `url` is the server's; `nodes` are all operations on nodes."""
    parts = (
        _head(view, url, now),
        _waiting(view),
        _stages(view),
        *(part for stage in view.stages for part in (_tests(stage), _findings(stage))),
        _changes(nodes),
        _bad(nodes),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines) + "\n"


def _head(view: DeploymentView, url: str, now: datetime) -> Iterator[str]:
    yield f"### {foreign(f'{view.module} {view.version}')} to {foreign(view.environment)}: {_status(view.status)}"
    yield ""
    if view.reason:
        yield foreign(view.reason, 500)
        yield ""
    yield row("", "")
    yield row("---", "---")
    yield row("Deployment", _link(view.id, f"{url}{API}/deployments/{quote(view.id, safe='')}"))
    yield row("Requested by", foreign(view.requested_by))
    yield row("Started", foreign(when(view.raw.get("startTime"))))
    yield row("Took" if view.terminal else "Running for", clock(view.seconds(now)))
    more = {
        "Digest": view.raw.get("digest"),
        "Retry of": view.retry_of,
        "Rollback of": view.rollback_of,
        "Superseded by": view.superseded_by,
        "Trace": view.raw.get("traceId"),
    }
    yield from (row(name, foreign(value)) for name, value in more.items() if value)
    if not view.terminal:
        yield row("Watch it", foreign(f"hotswap deployment watch {view.id}"))


def _waiting(view: DeploymentView) -> Iterator[str]:
    if view.waiting:
        yield "**It waits:**"
        yield ""
        for each in view.waiting[:_MOST]:
            yield f"- {foreign(each)}"


def _stages(view: DeploymentView) -> Iterator[str]:
    yield row("Stage", "Result", "Took", "")
    yield row("---", "---", "---", "---")
    for stage in view.stages:
        took = "-" if stage.seconds is None or stage.status == "Skipped" else clock(stage.seconds)
        counts = f"{stage.deployed} deployed, {stage.failed} failed, {stage.skipped} skipped" if stage.waves else ""
        message = foreign(stage.message) if stage.message else ""
        yield row(foreign(stage.name), _status(stage.status), took, "; ".join(filter(None, (counts, message))))


def _tests(stage: StageView) -> Iterator[str]:
    tests = _mapping(stage.details.get("tests"))
    if not tests:
        return
    counts = ", ".join(f"{_count(tests.get(word))} {word}" for word in ("passed", "failed", "skipped"))
    yield f"**Tests:** {counts} of {_count(tests.get('total'))}"
    failing = _items(tests.get("failing"))
    if failing:
        yield ""
        yield from (f"- {foreign(name)}" for name in failing[:_MOST])
        yield from _more(len(failing), _count(tests.get("failed")))


def _findings(stage: StageView) -> Iterator[str]:
    looks = [(name, each) for name in ("source", "built") if (each := _mapping(stage.details.get(name)))]
    if not looks:
        return
    found = [
        (name, finding)
        for name, each in looks
        for finding in map(_mapping, _items(each.get("findings")))
        if finding
    ]
    totals: Counter[str] = Counter()
    for _, each in looks:
        totals.update({word: _count(_mapping(each.get("counts")).get(word)) for word in _SEVERITIES})
    told = ", ".join(f"{totals[word]} {word}" for word in _SEVERITIES if totals[word]) or "none"
    yield f"**Findings of the security scan:** {told}"
    if not found:
        return
    yield ""
    yield row("Severity", "Stops", "Rule", "Where", "What")
    yield row("---", "---", "---", "---", "---")
    found.sort(key=lambda pair: (not pair[1].get("stops"), _rank(pair[1].get("severity"))))
    for name, finding in found[:_MOST]:
        stops = "yes" if finding.get("stops") is True else "no"
        if finding.get("exception"):
            stops = f"no: {foreign(finding['exception'])}"
        yield row(
            _status(str(finding.get("severity"))), stops, foreign(finding.get("rule")), foreign(_where(name, finding)),
            foreign(finding.get("text"), 300),
        )  # fmt: skip
    yield from _more(min(len(found), _MOST), sum(totals.values()))


def _changes(nodes: Sequence[NodeView]) -> Iterator[str]:
    changes = Counter(
        (node.from_version or "nothing", node.to_version or "nothing", node.back, node.status) for node in nodes
    )
    if not changes:
        return
    yield row("From", "To", "Nodes", "Result")
    yield row("---", "---", "---", "---")
    for (before, after, back, status), count in sorted(changes.items()):
        result = f"{_status(status)} (going back)" if back else _status(status)
        yield row(foreign(before), foreign(after), str(count), result)


def _bad(nodes: Sequence[NodeView]) -> Iterator[str]:
    bad = [node for node in nodes if node.bad]
    if not bad:
        return
    yield "**Nodes that failed:**"
    yield ""
    for node in bad[:_MOST]:
        yield f"- {foreign(node.name)}: {foreign(node.error or 'no reason was given', 500)}"
    yield from _more(min(len(bad), _MOST), len(bad))


def _more(shown: int, total: int) -> Iterator[str]:
    if total > min(shown, _MOST):
        yield ""
        yield f"and {total - min(shown, _MOST)} more"


def _link(identity: str, url: str) -> str:
    """Only what is an id becomes part of a link."""
    return f"[{foreign(identity)}](<{quote(url, safe=_URL)}>)" if is_id(identity) else foreign(identity)


_URL = ":/?#[]@!$&'*+,;=%~"


def _status(word: str) -> str:
    """A word of ours as it is, bold where it went wrong; anything else as foreign text."""
    if not word or not set(word) <= _WORD:
        return foreign(word)
    return f"**{word}**" if word in {"Failed", "Lost", "RolledBack", "Rejected", "Expired"} else word


def _where(look: str, finding: Mapping[str, Any]) -> str:
    place = str(finding.get("file") or "the archive")
    line = finding.get("line")
    told = f"{place}:{line}" if finding.get("file") and line else place
    return f"{told} (built)" if look == "built" else told


def _rank(severity: object) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
