"""`hotswap release publish`, `list`, `show`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import typer

from app.cli import known_names
from app.cli.errors import UsageProblem
from app.cli.invocation import Invocation, invocation
from app.cli.key_values import key_values
from app.cli.lazy import application
from app.cli.output import one_line, table, when

app = application(help="Releases of a module.")
_ANSWER_LIMIT = 180.0  # seconds; the server reads the whole archive before it answers


@app.command()
def publish(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="DIR|ARCHIVE", help="A module's folder, or its .tar.gz.")],
    key: Annotated[Path | None, typer.Option("--key", "-k", metavar="FILE", help="Private key to sign with.")] = None,
    commit: Annotated[str | None, typer.Option(help="The commit it was built from.")] = None,
    branch: Annotated[str | None, typer.Option(help="The branch it was built from.")] = None,
    build_url: Annotated[str | None, typer.Option(help="Where the build server tells of its build.")] = None,
    notes: Annotated[str | None, typer.Option(help="What is new.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="What else there is to say; may be repeated.")
    ] = None,
    provenance: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON that says how it was made; kept and shown as it is.")
    ] = None,
) -> None:
    """Sign a release and send it to the server. The same bytes may be sent again; a version never changes.

    A folder is packed first, the same folder into the same bytes. The key is that of --key, HOTSWAP_SIGNING_KEY or
    `signing_key` in the configuration file; with a stack of `hotswap up` on this machine, its development key.
    """
    from agent.signatures import Digest, key_id, sign
    from app.cli.signing_key import signing_key
    from app.cli.upload import Told, progress, shown_size

    run = invocation(ctx)
    private = signing_key(key, run.configuration)
    said = {"commit": commit, "branch": branch, "buildUrl": build_url, "notes": notes}
    given = key_values(metadata, "--metadata") | {word: value for word, value in said.items() if value is not None}
    origin = _provenance(provenance)
    with _opened(source) as (name, archive):
        digest = Digest.of_file(archive)
        size = archive.tell()
        fields = {"signature": sign(private, digest), "keyId": key_id(private.public_key())}
        if given:
            fields["metadata"] = json.dumps(given)
        if origin is not None:
            fields["provenance"] = json.dumps(origin)
        path = f"{_path(name)}/releases"
        with progress(run.output, size, f"{name}, {shown_size(size)}") as told:
            response = run.client.upload(path, fields, "module.tar.gz", Told(archive, told), _ANSWER_LIMIT)
    release: dict[str, Any] = response.json()
    new = "Published" if response.status_code == 201 else "Already published:"
    text = f"{new} {one_line(release.get('moduleName'))} {one_line(release.get('version'))}"
    told_digest = one_line(release.get("digest"))
    run.output.result(release, [f"{text} ({shown_size(size)}, {told_digest}, signed by {fields['keyId']})"])
    run.output.say(f"Deploy it with: hotswap deploy {name} {one_line(release.get('version'))} --to ENVIRONMENT")


def _provenance(file: Path | None) -> dict[str, Any] | None:
    """What the file has. Raises UsageProblem."""
    if file is None:
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{file} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UsageProblem(f"{file} is no provenance: it is a JSON object")
    return value


@app.command("list")
def list_releases(
    ctx: typer.Context,
    module: Annotated[
        str | None,
        typer.Argument(help="Without one: all modules with their latest version.", autocompletion=known_names.modules),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Only those that begin so.")] = None,
    branch: Annotated[str | None, typer.Option(help="Only those built from it.")] = None,
    commit: Annotated[str | None, typer.Option(help="Only those built from a commit that begins so.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """The releases of a module, newest first."""
    run = invocation(ctx)
    filters = {"version": version, "branch": branch, "commit": commit}
    if module is None:
        if any(filters.values()):
            raise UsageProblem("--version, --branch and --commit need a module: whose releases?")
        _list_modules(run, limit)
        return
    from app.cli.release_view import release_table

    releases = list(run.client.pages(f"{_path(module)}/releases", filters, most=limit))
    run.output.result(releases, release_table(releases, run.output.width()))


@app.command()
def show(
    ctx: typer.Context,
    module: Annotated[str, typer.Argument(autocompletion=known_names.modules)],
    version: Annotated[str, typer.Argument(autocompletion=known_names.versions)],
) -> None:
    """One release: who published and signed it, what it was built from, its manifest."""
    from app.cli.release_view import release_lines

    run = invocation(ctx)
    release = run.client.get(f"{_path(module)}/releases/{quote(version, safe='')}")
    run.output.result(release, release_lines(release))


def _path(module: str) -> str:
    return f"/modules/{quote(module, safe='')}"


def _list_modules(run: Invocation, limit: int) -> None:
    modules = list(run.client.pages("/modules", most=limit))
    rows = [(each.get("name"), each.get("latestVersion"), when(each.get("createdAt"))) for each in modules]
    run.output.result(modules, table(("MODULE", "LATEST", "SINCE"), rows, run.output.width()))


def _name(source: Path) -> str:
    """The module's name. Raises UsageProblem for what no server can be asked about, in the words of `lint`."""
    from agent.module_names import is_module_name
    from app.cli import judged, module_name

    try:
        name = module_name.in_folder(source) if source.is_dir() else module_name.in_archive(source)
    except UsageProblem as error:
        raise judged.why_refused(source) or error from None
    if not is_module_name(name) and (refused := judged.why_refused(source)):
        raise refused
    return name


@contextmanager
def _opened(source: Path) -> Iterator[tuple[str, BinaryIO]]:
    """The module's name and its archive, open at the start. Raises UsageProblem."""
    name = _name(source)
    if not source.is_dir():
        with source.open("rb") as archive:
            yield name, archive
        return
    from agent.archive import ArchiveInvalid, pack

    with tempfile.TemporaryFile(prefix="hotswap-") as archive:
        try:
            pack(source, archive)
        except ArchiveInvalid as error:
            raise UsageProblem(f"{source} cannot be packed: {error}") from None
        except OSError as error:
            raise UsageProblem(f"{source} cannot be packed: {error.filename or ''} {error.strerror}") from None
        archive.seek(0)
        yield name, archive
