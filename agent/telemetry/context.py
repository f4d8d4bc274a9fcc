"""What is known where a line is logged: bound once, told by every line that follows from it, also of other libraries.

One variable of the context (contextvars), so that binding costs one set and one reset. Tasks of asyncio begin with what
was bound where they were made; threads begin with nothing.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_bound: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar("hotswap_bound", default=_NOTHING)


def current() -> Mapping[str, object]:
    """What is bound here. Not to be changed."""
    return _bound.get()


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Bind fields (of `names.Field`) on top of what is bound; None says nothing."""
    token = _bound.set({**_bound.get(), **{name: value for name, value in fields.items() if value is not None}})
    try:
        yield
    finally:
        _bound.reset(token)


def bind_more(**fields: object) -> None:
    """Bind fields that have just become known, until the `bound` around it ends."""
    _bound.set({**_bound.get(), **{name: value for name, value in fields.items() if value is not None}})


def begin(**fields: object) -> None:
    """Forget what is bound and begin anew: for a thread that serves one request after the other."""
    _bound.set({name: value for name, value in fields.items() if value is not None})


def detached() -> contextvars.Context:
    """A context in which nothing is bound: for a task that outlives what started it."""
    return contextvars.Context()
