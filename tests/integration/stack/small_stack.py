"""The supervisor over real servers, with a small web application in place of the API.

Run as `python -m tests.integration.stack.small_stack DATA_DIR PORT [--no-replace]`.
What it starts and how is the product's; only the list of processes is shorter.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy.local.datafolder import DataFolder
from deploy.local.options import Options
from deploy.local.plan import SERVERS, Plan, make_plan
from deploy.local.stack import up

Started = Callable[[str, list[tuple[str, str]]], Any]


def application(environ: Mapping[str, Any], start: Started) -> Iterable[bytes]:
    """Ready when PostgreSQL answers a query."""
    import psycopg

    from config.settings import settings

    with psycopg.connect(settings().database_url, connect_timeout=2) as connection:
        connection.execute("SELECT 1")
    start("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def plan(options: Options, data: DataFolder, port: int, outer: Mapping[str, str]) -> Plan:
    """The product's plan, with its servers and its API, of which the application is ours."""
    from dataclasses import replace

    whole = make_plan(options, data, port, outer)
    servers = [service for service in whole.services if service.name in SERVERS]
    api = next(service for service in whole.services if service.name == "api")
    command = (*api.command[:-1], "tests.integration.stack.small_stack:application")
    return replace(whole, services=(*servers, replace(api, command=command)))


if __name__ == "__main__":
    folder, port, *flags = sys.argv[1:]
    raise SystemExit(up(Options(Path(folder), int(port), (), "--no-replace" not in flags), planner=plan))
