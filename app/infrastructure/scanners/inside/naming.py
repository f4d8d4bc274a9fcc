"""What a manifest's reader gives: packages with their exact version, and what it could not tell exactly."""

from __future__ import annotations

from dataclasses import dataclass

from app.domain.components import Ecosystem
from app.infrastructure.scanners.inside.stated_licences import NOT_STATED, Licence


@dataclass(frozen=True, slots=True)
class Named:
    """`name` and `version` are whatever stood there; what they are is checked when they are gathered."""

    ecosystem: Ecosystem
    name: object
    version: object
    licence: Licence = NOT_STATED


@dataclass(frozen=True, slots=True)
class Inexact:
    """A package whose version is not told exactly, or a file that does not say what it is."""

    name: str


class Unparsed(Exception):
    """A manifest that does not have the form of its kind."""
