"""`make bench`: every figure against its yardstick in the same run, into docs/benchmarks.md.

A figure that misses its aim is marked, and is no error: the report says why.

python -m tests.benchmarks [pipeline] [fanout] [swaps] [api]      # all without an argument
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.benchmarks import api, fanout, figures, swaps
from tests.benchmarks.figures import Section

REPORT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
NAMES = ("pipeline", "fanout", "swaps", "api")


def _measure(name: str, folder: Path) -> Section:
    if name == "pipeline":
        from tests.benchmarks.pipeline import measure as pipeline

        return pipeline.measure(folder)
    if name == "fanout":
        section, memory = fanout.measure(folder)
        return _with_memory(section, f"Memory of the stack with {fanout.NODES} nodes after it:\n\n{memory.table()}")
    if name == "swaps":
        section, memory, ready = swaps.measure(folder)
        return _with_memory(section, f"The stack was ready after {ready:.1f} s. Memory after it:\n\n{memory.table()}")
    return api.measure(folder, swaps.EXAMPLE)


def _with_memory(section: Section, note: str) -> Section:
    return replace(section, notes=(*section.notes, note))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(NAMES) + "; all without one")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    sections = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix=f"hotswap-bench-{name}-") as folder:
            section = _measure(name, Path(folder))
        sections.append(section)
        for figure in section.figures:
            ratio = "" if figure.ratio is None else f" ratio {figure.ratio:.2f}"
            verdict = "" if figure.met else "  MISSED"
            print(
                f"  {figure.name}: {figure.ours} / {figure.yardstick}{ratio} (aim: {figure.aim}){verdict}", flush=True
            )
    if tuple(names) == NAMES:
        kernel = platform.release().split("-")[0]
        python = f"Python {platform.python_version()}"
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {kernel}, {python}"
        REPORT.write_text(figures.markdown(sections, machine, time.strftime("%Y-%m-%d", time.gmtime())))
        print(f"written to {REPORT.name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
