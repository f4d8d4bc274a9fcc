"""`python3 -m greeter`: serves on the socket that was handed over, until SIGTERM."""

from __future__ import annotations

import os
import sys

from greeter.greetings import Greetings
from greeter.metrics import Metrics
from greeter.server import Server, SocketUnusable, inherited_or_own_socket
from greeter.service import Service


def main() -> int:
    """Exit code 0 after an orderly end, 2 when there is nothing to listen on."""
    try:
        listener = inherited_or_own_socket(os.environ)
    except SocketUnusable as error:
        print(f"greeter: {error}", file=sys.stderr, flush=True)
        return 2
    service = Service(
        module=os.environ.get("HOTSWAP_MODULE", "web-greeter"),
        version=os.environ.get("HOTSWAP_VERSION", "development"),
        greetings=Greetings(os.environ.get("GREETINGS_FILE", "greetings.json")),
        data_folder=os.environ.get("HOTSWAP_DATA_DIR"),
        metrics=Metrics(),
    )
    idle_grace = float(os.environ.get("IDLE_GRACE_SECONDS", "5"))
    Server(listener, service, idle_grace).run_until_sigterm()
    return 0


if __name__ == "__main__":
    sys.exit(main())
