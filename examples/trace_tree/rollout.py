"""A small stack whose traces we collect, two releases that are built and tested, and the trace of the second."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from examples.demo.command import Hotswap
from examples.demo.folders import DemoFolder, make_folder
from examples.demo.narrator import Narrator
from examples.demo.signals import Signals
from examples.demo.stack import Stack, environment_of
from examples.demo.starter import MODULE, set_version
from examples.trace_tree.received import ReceivedSpan
from examples.trace_tree.receiver import Receiver
from examples.trace_tree.tree import lines, trace_of

BEGIN = "<!-- trace: begin (made by `make trace`) -->"
END = "<!-- trace: end -->"
ENVIRONMENT = "QA"
NODES = {"qa": 2}
WAITS_FOR_A_PERSON = 7
ARRIVES_WITHIN = 60.0  # seconds after the rollout's end for its last spans


def roll_out_and_show(page: Path | None) -> int:
    """Print the tree, and with `page` write it there. The exit code; raises DemoFailed."""
    collected: list[ReceivedSpan] = []
    signals = Signals()
    signals.install()
    folder = make_folder()
    with Receiver(collected.extend) as receiver:
        environment = environment_of(folder, os.environ) | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        program = Path(sys.executable).parent / "hotswap"
        with signals.held():
            stack = Stack.start(program, folder, environment, NODES, outlives_us=False)
        try:
            stack.wait_until_ready()
            hotswap = Hotswap(program, folder.path, environment, Narrator())
            trace_id = _roll_out(hotswap, folder)
            tree = list(lines(_arrived(collected, trace_id)))
        finally:
            signals.ignore("already stopping, 20 s at most")
            stack.stop()
    folder.remove()
    print("\n".join(["", *tree]))
    if page is not None:
        page.write_text(with_tree(page.read_text("utf-8"), tree), "utf-8")
    return 0


def _roll_out(hotswap: Hotswap, folder: DemoFolder) -> str:
    """Two releases, one after the other, the second with an approval; its trace id."""
    _log_in(hotswap, folder, "deployer")
    hotswap.show("init", MODULE, "--language", "python")
    _publish(hotswap, folder, "1.0.0")
    hotswap.show("deploy", MODULE, "1.0.0", "--to", ENVIRONMENT, "--wait", "--timeout", "5m")
    _publish(hotswap, folder, "1.1.0")
    approved = ("deploy", MODULE, "1.1.0", "--to", ENVIRONMENT, "--wait", "--require-approval")
    hotswap.show(*approved, expected=WAITS_FOR_A_PERSON)
    latest = str(hotswap.ask("deployment", "list")[0]["executionId"])
    _log_in(hotswap, folder, "approver")
    hotswap.show("approval", "approve", latest)
    hotswap.show("deployment", "watch", latest)
    return str(hotswap.ask("deployment", "show", latest)["traceId"])


def _log_in(hotswap: Hotswap, folder: DemoFolder, user: str) -> None:
    hotswap.show("login", "--username", user, "--password-stdin", stdin=folder.password(user) + "\n")


def _publish(hotswap: Hotswap, folder: DemoFolder, version: str) -> None:
    set_version(folder.path / MODULE, version)
    hotswap.show("release", "publish", MODULE)


def _arrived(collected: Sequence[ReceivedSpan], trace_id: str) -> list[ReceivedSpan]:
    """The trace once the deployment, and on every node what is done last (the drain), has come."""
    deadline = time.monotonic() + ARRIVES_WITHIN
    while True:
        spans = trace_of(list(collected), trace_id)
        names = Counter(span.name for span in spans)
        on_nodes = {names[name] for name in ("node operation", "agent operation", "drain")}
        if (names["deployment"] and on_nodes == {sum(NODES.values())}) or time.monotonic() > deadline:
            return spans
        time.sleep(0.2)


def with_tree(page: str, tree: Sequence[str]) -> str:
    """A page with its tree made anew. Raises ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    shown = "\n".join(f"    {line}".rstrip() for line in tree)
    return f"{before}{BEGIN}\n\n{shown}\n\n{END}{after}"
