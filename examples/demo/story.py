"""What a story is: told over a stack of its own, it acts, measures, and writes down what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from examples.demo.command import Hotswap
from examples.demo.findings import Findings
from examples.demo.folders import DemoFolder
from examples.demo.narrator import Narrator


@dataclass(frozen=True)
class Scene:
    """All that a story needs; the stack is ready."""

    hotswap: Hotswap
    folder: DemoFolder
    narrator: Narrator
    findings: Findings


@dataclass(frozen=True)
class Story:
    """`nodes`: how many of which environment. `tell` raises DemoFailed where it cannot go on."""

    opening: str
    nodes: Mapping[str, int]
    tell: Callable[[Scene], None]
