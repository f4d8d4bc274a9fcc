"""Passwords that a command needs: asked for on a terminal or read from stdin, never an argument.

Arguments stand in the shell's history and in the list of processes.
"""

from __future__ import annotations

import getpass
import sys

from app.cli.errors import UsageProblem


def new_password(username: str, *, from_stdin: bool) -> str:
    """One line of stdin, or what is typed twice. Raises UsageProblem when there is none."""
    if from_stdin:
        return line_of_stdin()
    password = asked(f"New password of {username}: ")
    if asked("The same again: ") != password:
        raise UsageProblem("these were two different passwords: nothing was changed")
    return password


def asked(question: str) -> str:
    """Typed on the terminal, unseen. Raises UsageProblem without a terminal, and for nothing."""
    if not sys.stdin.isatty():
        raise UsageProblem("no terminal to ask for the password: use --password-stdin")
    try:
        password = getpass.getpass(question)
    except EOFError:
        password = ""
    return _given(password)


def line_of_stdin() -> str:
    """Raises UsageProblem when it is empty."""
    return _given(sys.stdin.readline().rstrip("\r\n"))


def _given(password: str) -> str:
    if not password:
        raise UsageProblem("no password was given")
    return password
