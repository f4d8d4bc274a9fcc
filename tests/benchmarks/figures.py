"""A benchmark's figures: each is a ratio against a yardstick measured in the same run, because machines are noisy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. `ratio` is ours to the yardstick's; `aim` says in words what is wanted of it."""

    name: str
    ours: str
    yardstick: str
    ratio: float | None
    aim: str
    met: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark: what was done, its figures, and what a reader should know beside them.

    `shortfall` says why, in case a figure misses its aim, and what would help.
    """

    title: str
    what: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    shortfall: str = ""

    @property
    def met(self) -> bool:
        return all(figure.met for figure in self.figures)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile. `values` must not be empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def markdown(sections: Sequence[Section], machine: str, when: str) -> str:
    """The report as docs/benchmarks.md keeps it."""
    lines = [
        "# Benchmarks",
        "",
        f"Made by `make bench` on {when}, on {machine}. Each figure is a ratio against its yardstick, measured in",
        "turns in the same run: absolute numbers say more about the machine than about HotSwap.",
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.what, ""]
        lines += ["| figure | HotSwap | yardstick | ratio | aim | met |", "|---|---|---|---|---|---|"]
        for figure in section.figures:
            ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
            met = "yes" if figure.met else "**no**"
            lines.append(f"| {figure.name} | {figure.ours} | {figure.yardstick} | {ratio} | {figure.aim} | {met} |")
        notes = section.notes if section.met or not section.shortfall else (section.shortfall, *section.notes)
        lines += [f"\n{note}" for note in notes]
    return "\n".join(lines) + "\n"
