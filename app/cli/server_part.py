"""The part of hotswap that servers run: a build server has the command line without it (setup.cfg, `cli`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.errors import UsageProblem

_OURS = frozenset({"agent", "app", "config", "deploy", "tasks", "workers"})


class ServerPartMissing(UsageProblem):
    """Only the command line is installed here."""


@contextmanager
def server_part() -> Iterator[None]:
    """Around imports of it. Raises ServerPartMissing where a package is missing that only servers need."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in _OURS:
            raise  # a fault of ours
        raise ServerPartMissing(
            f"only the command line is installed here, and not what servers run (no module {error.name!r}): "
            "`make up` in a copy of the repository installs all of it"
        ) from None
