"""The software bill of materials of a report, as CycloneDX 1.6 JSON (cyclonedx.org/docs/1.6/json, ECMA-424).

Written by hand: a dozen fields are needed, and the official library brings six others. The same components give the
same bytes: there is neither a serial number nor a time in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.domain.components import Component, Ecosystem
from app.infrastructure.scanners.report import SCANNER_VERSION

MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"


def cyclonedx(components: Sequence[Component], name: str, version: str) -> dict[str, Any]:
    """The bill of a module's release of this name and version; a JSON object with its keys in a fixed order."""
    own = f"module:{name}@{version}"
    ordered = sorted({component.purl: component for component in components}.items())
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "hotswap-scanner", "version": SCANNER_VERSION}]},
            "component": {"type": "application", "bom-ref": own, "name": name, "version": version},
        },
        "components": [_component(component) for _, component in ordered],
        "dependencies": [_dependencies(own, (purl for purl, _ in ordered))],
    }


def _dependencies(own: str, purls: Iterable[str]) -> dict[str, Any]:
    return {"ref": own, "dependsOn": list(purls)}


def _component(component: Component) -> dict[str, Any]:
    group, name = _named(component)
    return {
        "type": "library",
        "bom-ref": component.purl,
        **({"group": group} if group else {}),
        "name": name,
        "version": component.version,
        **_licences(component),
        "purl": component.purl,
        "evidence": {"occurrences": [{"location": component.found}]},
    }


def _named(component: Component) -> tuple[str, str]:
    """Group and name: Maven's group, npm's scope."""
    mark = {Ecosystem.MAVEN: ":", Ecosystem.NPM: "/"}.get(component.ecosystem)
    group, found, name = component.name.partition(mark) if mark else ("", "", "")
    return (group, name) if found and name else ("", component.name)


def _licences(component: Component) -> dict[str, Any]:
    if component.licence:
        return {"licenses": [{"expression": component.licence}]}
    return {"licenses": [{"license": {"name": component.licence_words}}]} if component.licence_words else {}
