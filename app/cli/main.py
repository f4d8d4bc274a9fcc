"""`hotswap`: the command's entry."""

from __future__ import annotations

from app.cli.program import run


def main() -> None:
    """Run the command line of this process and exit with its code."""
    raise SystemExit(int(run()))


if __name__ == "__main__":
    main()
