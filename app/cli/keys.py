"""`hotswap keys generate`, `trust`, `list`, `remove`."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from app.cli import known_names
from app.cli.errors import UsageProblem
from app.cli.invocation import invocation
from app.cli.lazy import application
from app.cli.output import table, when

app = application(help="Publishers' keys.")


@app.command()
def generate(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The private key; the public one becomes FILE.pub.")],
) -> None:
    """Make a key to sign releases with (Ed25519). Existing files are never overwritten; no server is asked."""
    from agent.signatures import generate as new_key
    from agent.signatures import key_id, private_pem, public_pem

    run = invocation(ctx)
    key = new_key()
    public = file.with_name(file.name + ".pub")
    if public.exists():
        raise UsageProblem(f"{public} exists already: choose another name")
    _write_new(file, private_pem(key), 0o600)
    _write_new(public, public_pem(key.public_key()), 0o644)
    identity = key_id(key.public_key())
    value = {"keyId": identity, "privateKey": str(file), "publicKey": str(public)}
    run.output.result(value, [f"Key {identity}: {file} (private, keep it so), {public} (public)"])
    run.output.say(f"Let the server trust it with: hotswap keys trust {public}")


@app.command()
def trust(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.pub", help="A public key (PEM).")],
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment", "-e", help="Only there; else everywhere.", autocompletion=known_names.environments
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
) -> None:
    """Let the server take releases signed with this key, and deploy them.

    Nodes ask nobody whom to trust: each has a folder of public keys of its own (`trusted_keys` of its agent), and runs
    nothing that none of these signed. Put the key there, too.
    """
    from agent.signatures import KeyInvalid, key_id, load_public, public_pem

    run = invocation(ctx)
    try:
        # Read here so that a private key given by mistake never leaves this machine.
        loaded = load_public(file.read_bytes())
        public = public_pem(loaded).decode("ascii")
    except OSError as error:
        raise UsageProblem(f"cannot read {file}: {error.strerror}") from None
    except KeyInvalid as error:
        raise UsageProblem(f"{file}: {error}") from None
    body = {"publicKey": public, "name": name or file.name.removesuffix(".pub")}
    if environment is not None:
        body["environment"] = environment
    key = run.client.post("/keys", body)
    where = key.get("environment") or "every environment"
    run.output.result(key, [f"The server trusts the key {key.get('keyId')} in {where}."])
    more = _nodes_trust(run.configuration.trusted_folder, file, key_id(loaded))
    if more is not None:
        run.output.say(more)


@app.command("list")
def list_keys(ctx: typer.Context) -> None:
    """The keys that are trusted, and where."""
    run = invocation(ctx)
    keys = list(run.client.pages("/keys"))
    rows = [
        (key.get("keyId"), key.get("name"), key.get("environment") or "(all)", key.get("createdBy"), _since(key))
        for key in keys
    ]
    run.output.result(keys, table(("KEY", "NAME", "ENVIRONMENT", "BY", "SINCE"), rows, run.output.width()))


@app.command()
def remove(
    ctx: typer.Context, key: Annotated[str, typer.Argument(metavar="KEYID", autocompletion=known_names.keys)]
) -> None:
    """Trust a key nowhere any more. What is deployed stays."""
    run = invocation(ctx)
    run.client.request("DELETE", f"/keys/{quote(key, safe='')}", repeatable=False)
    run.output.result({"keyId": key, "trusted": False}, [f"Key {key} is trusted nowhere any more."])


def _nodes_trust(folder: Path | None, file: Path, identity: str) -> str | None:
    """What else it takes for releases to run. `folder`: the trusted keys of the nodes of a stack on this machine."""
    if folder is None:
        return f"Nodes do not ask the server whom to trust: put {file} into `trusted_keys` of each node's agent, too."
    if identity in _ids_in(folder):
        return None
    # Not *.pub: those the server of the stack takes in at its next start, for every environment.
    copy = f"cp {shlex.quote(str(file))} {shlex.quote(str(folder / f'{identity}.pem'))}"
    return f"Nodes do not ask the server whom to trust; those of the stack here look into one folder: {copy}"


def _ids_in(folder: Path) -> set[str]:
    """The ids of the keys there; what cannot be read is none."""
    from agent.signatures import KeyInvalid, key_id, load_public

    found = set()
    with suppress(OSError):
        for file in folder.iterdir():
            with suppress(OSError, KeyInvalid):
                found.add(key_id(load_public(file.read_bytes())))
    return found


def _since(key: dict[str, object]) -> str:
    return when(key.get("createdAt"))


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise UsageProblem(f"{path} exists already: choose another name") from None
    except OSError as error:
        raise UsageProblem(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
