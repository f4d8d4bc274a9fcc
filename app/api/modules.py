"""Modules and their releases: publish, list, show, download."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import UnsupportedMediaType

from agent.module_names import is_module_name
from app.api import file_answers
from app.api.dependencies import dependencies
from app.api.parsing import complain_of_repeated, json_value, load
from app.api.routing import Call, Routes, page_answer
from app.api.schemas.fields import NOT_A_MODULE_NAME
from app.api.schemas.releases import (
    ArtifactHeaders,
    ArtifactQuery,
    ModuleOutput,
    ModulesQuery,
    PublishForm,
    ReleaseDetailOutput,
    ReleaseOutput,
    ReleasesQuery,
)
from app.api.wire import instant
from app.domain.errors import Invalid
from app.orchestrator import release_evidence, releases
from app.orchestrator.release_evidence import BuiltView, TestedView
from app.orchestrator.releases import ModuleSummary, Published, ReleaseFilters, Upload
from app.orchestrator.roles import Role

routes = Routes("modules")
_OTHER_PARTS = 256 * 1024
_ARCHIVE, _PARTS = "application/gzip", "multipart/byteranges"
# github.com/secure-systems-lab/dsse, and cyclonedx.org/docs/1.6
_ENVELOPE, _BILL = "application/vnd.dsse.envelope.v1+json", "application/vnd.cyclonedx+json"
_JSON_PARTS = ("metadata", "provenance")


def _publish_bytes() -> int:
    return dependencies().orchestrator.settings.archive_bytes + _OTHER_PARTS


@routes.post(
    "/modules/<module_name>/releases",
    role=Role.DEPLOYER,
    form=PublishForm,
    answers={201: ReleaseOutput, 200: ReleaseOutput},
    problems=(409, 413, 415, 422),
    body_bytes=_publish_bytes,
)
def publish(call: Call, module_name: str) -> ResponseReturnValue:
    """Publish a signed archive as a release. The same bytes again are 200, other bytes for a known version 409.

    A release that was retired is back then.
    """
    published = releases.publish(call.orchestrator, call.requester, module_name, _upload(module_name))
    return _summary(published), 201 if published.created else 200


def _upload(module_name: str) -> Upload:
    """The parts of the request. Raises Invalid with every bad one."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("The body must be multipart/form-data.")
    errors: dict[str, list[str]] = {}
    if not is_module_name(module_name):
        errors["moduleName"] = [NOT_A_MODULE_NAME]
    complain_of_repeated(request.form, errors)
    complain_of_repeated(request.files, errors)
    parts: dict[str, Any] = request.form.to_dict()
    for name in _JSON_PARTS:
        if name in parts:
            try:
                parts[name] = json_value(parts[name])
            except (ValueError, RecursionError):
                errors[name] = ["is not JSON"]
                del parts[name]
    archive = request.files.get("artifact")
    if archive is None:
        errors["artifact"] = ["Missing data for required field."]
    for name in request.files:
        if name != "artifact":
            errors[name] = ["Unknown field."]
    values = load(PublishForm(), parts, errors)
    if errors or archive is None:
        raise Invalid(errors)
    return Upload(
        # The stream is the temporary file that StreamingRequest opened.
        archive=archive.stream,
        signature=values["signature"],
        key_id=values["key_id"],
        metadata=values["metadata"] or {},
        provenance=values["provenance"],
    )


@routes.get("/modules", role=Role.VIEWER, query=ModulesQuery, answers={200: [ModuleOutput]})
def list_modules(call: Call) -> ResponseReturnValue:
    """Every module that was ever published, by the beginning of its name."""
    return page_answer(releases.modules(call.orchestrator, call.requester, call.query["name"], call.page).map(_module))


@routes.get("/modules/<module_name>", role=Role.VIEWER, answers={200: ModuleOutput}, problems=(404,))
def show_module(call: Call, module_name: str) -> ResponseReturnValue:
    """One module."""
    return _module(releases.module(call.orchestrator, call.requester, module_name))


@routes.get(
    "/modules/<module_name>/releases",
    role=Role.VIEWER,
    query=ReleasesQuery,
    answers={200: [ReleaseOutput]},
    problems=(404,),
)
def list_releases(call: Call, module_name: str) -> ResponseReturnValue:
    """The releases of a module, by version, branch and commit."""
    filters = ReleaseFilters(call.query["version"], call.query["branch"], call.query["commit"])
    found = releases.releases(call.orchestrator, call.requester, module_name, filters, call.page)
    return page_answer(found.map(_summary))


@routes.get(
    "/modules/<module_name>/releases/<version>", role=Role.VIEWER, answers={200: ReleaseDetailOutput}, problems=(404,)
)
def show_release(call: Call, module_name: str, version: str) -> ResponseReturnValue:
    """One release, with its manifest."""
    release = releases.release(call.orchestrator, call.requester, module_name, version)
    found = release_evidence.evidence(call.orchestrator, release)
    return {
        **_summary(release),
        "manifest": release.manifest,
        "built": _built(found.built) if found.built else None,
        "tested": _tested(found.tested) if found.tested else None,
    }


@routes.get(
    "/modules/<module_name>/releases/<version>/attestation",
    role=Role.VIEWER,
    answers={200: {_ENVELOPE: _ENVELOPE}},
    problems=(404,),
)
def attestation(call: Call, module_name: str, version: str) -> ResponseReturnValue:
    """Our attestation of what was built: an in-toto statement with SLSA provenance, in a DSSE envelope."""
    release = releases.release(call.orchestrator, call.requester, module_name, version)
    envelope = release_evidence.built(call.orchestrator, release).attestation
    return Response(json.dumps(envelope), content_type=_ENVELOPE)


@routes.get(
    "/modules/<module_name>/releases/<version>/sbom",
    role=Role.VIEWER,
    answers={200: {_BILL: _BILL}},
    problems=(404,),
)
def bill_of_materials(call: Call, module_name: str, version: str) -> ResponseReturnValue:
    """What the release is made of, as Security Scan found it: CycloneDX, of what was built where something is."""
    release = releases.release(call.orchestrator, call.requester, module_name, version)
    bill = release_evidence.bill_of_materials(call.orchestrator, release)
    return Response(json.dumps(bill, indent=1), content_type=_BILL)


@routes.get(
    "/modules/<module_name>/releases/<version>/artifact",
    role=Role.VIEWER,
    query=ArtifactQuery,
    headers=ArtifactHeaders,
    answers={200: _ARCHIVE, 206: {_ARCHIVE: _ARCHIVE, _PARTS: _PARTS}, 304: None},
    problems=(404, 412, 416),
)
def download(call: Call, module_name: str, version: str) -> ResponseReturnValue:
    """The archive, byte for byte as published, or what was built of it; `Range` is honoured, one or several.

    The ETag is its digest.
    """
    release = releases.release(call.orchestrator, call.requester, module_name, version)
    digest = release_evidence.built(call.orchestrator, release).digest if call.query["built"] else release.digest
    path = dependencies().artifacts.existing(digest)
    return file_answers.answer(path, _ARCHIVE, digest, f"{module_name}-{version}.tar.gz")


def _built(found: BuiltView) -> dict[str, Any]:
    return {
        "digest": found.digest,
        "sizeBytes": found.size_bytes,
        "builtAt": instant(found.built_at),
        "executionId": str(found.deployment_id),
        "isolation": found.isolation,
    }


def _tested(found: TestedView) -> dict[str, Any]:
    return {
        "passedAt": instant(found.passed_at),
        "executionId": str(found.deployment_id),
        "tests": found.tests,
    }


def _summary(release: Published) -> dict[str, Any]:
    return {
        "moduleName": release.module_name,
        "version": release.version,
        "digest": release.digest,
        "sizeBytes": release.size_bytes,
        "signedBy": release.signed_by,
        "createdBy": release.created_by,
        "createdAt": instant(release.created_at),
        "metadata": dict(release.metadata),
        "provenance": release.provenance,
        "retiredAt": instant(release.retired_at) if release.retired_at else None,
    }


def _module(module: ModuleSummary) -> dict[str, Any]:
    return {"name": module.name, "latestVersion": module.latest_version, "createdAt": instant(module.created_at)}
