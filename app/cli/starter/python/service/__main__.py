"""`python3 -m service`: serve until SIGTERM."""

from __future__ import annotations

import os

from service.answers import Service
from service.server import Server, listener


def main() -> None:
    """The whole program."""
    service = Service(
        name=os.environ.get("HOTSWAP_MODULE", "my-module"),
        version=os.environ.get("HOTSWAP_VERSION", "development"),
        data=os.environ.get("HOTSWAP_DATA_DIR"),
    )
    Server(listener(os.environ), service).run()


main()
