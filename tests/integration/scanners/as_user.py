"""Looks through a tree as another user, or where the machine is made to look poorer.

    python -m tests.integration.scanners.as_user USER_ID TREE WORK COLUMN PATH ...

COLUMN is one of docs/sandbox.md: `full`, `landlock` (no namespaces), `bare` (nor Landlock). As root the PATHs are first
made reachable for others, as in the sandbox's own tests. Answers with one report in JSON, or `null` where the machine
cannot give that column.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from app.infrastructure.sandbox.cage import users
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.probe import available
from app.infrastructure.scanners.looking import SCAN_LIMITS, look_through
from app.infrastructure.scanners.report import Report, report_json
from tests.integration.sandbox.driver import make_reachable


def main() -> None:
    user, tree, work, column, *paths = sys.argv[1:]
    if os.geteuid() == 0:
        make_reachable([Path(path) for path in paths])
        if int(user):
            users.become(int(user))
    report = looked_through(Path(tree), Path(work), column)
    print(json.dumps(None if report is None else report_json(report)))


def looked_through(tree: Path, work: Path, column: str) -> Report | None:
    can = available()
    has_namespaces = can.mount_namespace and can.pid_namespace and can.network_namespace
    if (column == "full" and not has_namespaces) or (column == "landlock" and not can.landlock):
        return None
    bare = Capabilities(root=can.root, seccomp=can.seccomp, landlock=can.landlock if column == "landlock" else 0)
    work.mkdir(mode=0o755)
    return look_through(tree, work, SCAN_LIMITS, capabilities=can if column == "full" else bare)


if __name__ == "__main__":
    main()
