"""`hotswap release publish`, `list`."""

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
    metadata = {"commit": commit, "branch": branch, "buildUrl": build_url, "notes": notes}
    with _opened(source) as (name, archive):
        digest = Digest.of_file(archive)
        size = archive.tell()
        fields = {"signature": sign(private, digest), "keyId": key_id(private.public_key())}
        if given := {word: value for word, value in metadata.items() if value is not None}:
            fields["metadata"] = json.dumps(given)
        path = f"/modules/{quote(name, safe='')}/releases"
        with progress(run.output, size, f"{name}, {shown_size(size)}") as told:
            response = run.client.upload(path, fields, "module.tar.gz", Told(archive, told), _ANSWER_LIMIT)
    release: dict[str, Any] = response.json()
    new = "Published" if response.status_code == 201 else "Already published:"
    text = f"{new} {one_line(release.get('moduleName'))} {one_line(release.get('version'))}"
    told_digest = one_line(release.get("digest"))
    run.output.result(release, [f"{text} ({shown_size(size)}, {told_digest}, signed by {fields['keyId']})"])
    run.output.say(f"Deploy it with: hotswap deploy {name} {one_line(release.get('version'))} --to ENVIRONMENT")


@app.command("list")
def list_releases(
    ctx: typer.Context,
    module: Annotated[
        str | None,
        typer.Argument(help="Without one: all modules with their latest version.", autocompletion=known_names.modules),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """The releases of a module, newest first."""
    run = invocation(ctx)
    if module is None:
        _list_modules(run, limit)
        return
    releases = list(run.client.pages(f"/modules/{quote(module, safe='')}/releases", most=limit))
    head = ("VERSION", "PUBLISHED", "SIZE", "SIGNED BY", "DIGEST")
    from app.cli.upload import shown_size

    rows = [
        (
            release.get("version"),
            when(release.get("createdAt")),
            shown_size(int(release.get("sizeBytes") or 0)),
            release.get("signedBy"),
            release.get("digest"),
        )
        for release in releases
    ]
    run.output.result(releases, table(head, rows, run.output.width()))


def _list_modules(run: Invocation, limit: int) -> None:
    modules = list(run.client.pages("/modules", most=limit))
    rows = [(each.get("name"), each.get("latestVersion"), when(each.get("createdAt"))) for each in modules]
    run.output.result(modules, table(("MODULE", "LATEST", "SINCE"), rows, run.output.width()))


@contextmanager
def _opened(source: Path) -> Iterator[tuple[str, BinaryIO]]:
    """The module's name and its archive, open at the start. Raises UsageProblem."""
    from app.cli import module_name

    if not source.is_dir():
        name = module_name.in_archive(source)
        with source.open("rb") as archive:
            yield name, archive
        return
    from agent.archive import ArchiveInvalid, pack

    name = module_name.in_folder(source)
    with tempfile.TemporaryFile(prefix="hotswap-") as archive:
        try:
            pack(source, archive)
        except ArchiveInvalid as error:
            raise UsageProblem(f"{source} cannot be packed: {error}") from None
        except OSError as error:
            raise UsageProblem(f"{source} cannot be packed: {error.filename or ''} {error.strerror}") from None
        archive.seek(0)
        yield name, archive
