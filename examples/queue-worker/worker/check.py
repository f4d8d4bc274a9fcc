"""`python3 -m worker.check`: exit code 0 while the worker of this version turns."""

from __future__ import annotations

import sys

from worker.heartbeat import Stale, check, heartbeat_file


def main() -> str | None:
    """The complaint, None if there is none."""
    try:
        pid = check(heartbeat_file())
    except Stale as error:
        return str(error)
    print(f"process {pid} turns")
    return None


if __name__ == "__main__":
    sys.exit(main())
