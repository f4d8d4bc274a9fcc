"""A thing has one name wherever it is told: what code binds, logs, counts and traces are names of the list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from agent import metrics as agent_metrics
from agent.telemetry.names import MEANINGS, Field
from app.infrastructure import metrics
from app.observing_reference import reference, with_reference

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "guides" / "observing.md"
PACKAGES = ("agent", "app", "config", "deploy", "tasks", "workers")
LOGGING = frozenset(("debug", "info", "warning", "error", "critical", "exception"))
LOGGERS = frozenset(("log", "_log"))
NAMING = frozenset(("bound", "bind_more", "span"))
NAMED_BY = frozenset((("span", "set"), ("spans", "begin"), ("context", "begin")))
NO_FIELDS = frozenset(("exc_info", "extra", "stack_info", "stacklevel", "kind", "start"))


def _named(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What is said by keyword to loggers, `bound` and `span`, and in the `extra` of loggers."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function = call.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        to = function.value if isinstance(function, ast.Attribute) else None
        logs = name in LOGGING and isinstance(to, ast.Name) and to.id in LOGGERS
        said_by = to.id if isinstance(to, ast.Name) else ""
        if not logs and name not in NAMING and (said_by, name) not in NAMED_BY:
            continue
        for keyword in call.keywords:
            if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                for key in keyword.value.keys:
                    if isinstance(key, ast.Constant):
                        yield str(key.value), call.lineno
            elif keyword.arg is not None and keyword.arg not in NO_FIELDS:
                yield keyword.arg, call.lineno


def test_all_that_is_told_has_a_name_of_the_list() -> None:
    strange = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for name, line in _named(ast.parse(file.read_text("utf-8")))
        if name not in set(Field)
    ]
    assert not strange, "\n".join(strange)


def test_every_name_has_a_meaning() -> None:
    assert list(MEANINGS) == list(Field)


def test_the_reference_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_reference(page), "run make observing"


def test_every_metric_is_declared_in_the_one_place() -> None:
    reference()  # imports whatever counts
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("hotswap_")}
    assert ours <= {name.removesuffix("_total") for name in metrics.DECLARED}


def test_no_id_is_a_label() -> None:
    with pytest.raises(ValueError, match="too many values"):
        metrics.counter("hotswap_wrong_total", "Wrong.", Field.DEPLOYMENT)
    for each in agent_metrics.DESCRIBED:
        assert set(each.labels) <= set(Field)
