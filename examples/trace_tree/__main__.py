"""`python -m examples.trace_tree collect|show|rollout`: see docs/guides/observing.md, Traces."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from examples.trace_tree.received import ReceivedSpan, of_file, to_line
from examples.trace_tree.receiver import Receiver
from examples.trace_tree.tree import lines, trace_of


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 there is no such trace or the rollout failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m examples.trace_tree", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    collect = commands.add_parser("collect", help="receive OTLP over HTTP into a file, until Ctrl-C")
    collect.add_argument("file", type=Path)
    collect.add_argument("--port", type=int, default=4318)
    show = commands.add_parser("show", help="one trace of such a file as a tree; without an id the latest")
    show.add_argument("file", type=Path)
    show.add_argument("trace_id", nargs="?")
    rollout = commands.add_parser("rollout", help="a small stack, one rollout, and its trace as a tree")
    rollout.add_argument("--page", type=Path, help="write the tree into this page of the documentation, too")
    asked = parser.parse_args(arguments)
    if asked.command == "collect":
        return _collect(asked.file, asked.port)
    if asked.command == "show":
        return _show(asked.file, asked.trace_id)
    return _roll_out(asked.page)


def _roll_out(page: Path | None) -> int:
    from examples.demo.errors import DemoFailed, Interrupted
    from examples.trace_tree.rollout import roll_out_and_show  # which needs the stack

    try:
        return roll_out_and_show(page)
    except DemoFailed as error:
        print(f"trace_tree: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        return 128 + interrupted.number


def _collect(file: Path, port: int) -> int:
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with file.open("a", encoding="utf-8") as output:

        def take(spans: Sequence[ReceivedSpan]) -> None:
            output.writelines(f"{to_line(span)}\n" for span in spans)
            output.flush()

        with Receiver(take, port) as receiver:
            print(f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.endpoint}", flush=True)
            over.wait()
    return 0


def _show(file: Path, trace_id: str | None) -> int:
    try:
        spans = trace_of(of_file(file), trace_id)
    except (OSError, ValueError, TypeError) as error:
        print(f"trace_tree: cannot read {file}: {error}", file=sys.stderr)
        return 2
    if not spans:
        print(f"trace_tree: {file} has no trace {trace_id or 'at all'}", file=sys.stderr)
        return 1
    for line in lines(spans):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
