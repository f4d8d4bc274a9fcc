"""What of a module's log files is shown: all of them when it is read, the active side's when it is followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import logs
from agent.files_activation import HOOK_LOG
from agent.holder.protocol import Side
from agent.journal import Journal
from agent.manifest import Kind
from agent.operation import rfc3339
from agent.paths import NodeFolders
from agent.protocol import ModuleKey


@dataclass(frozen=True, slots=True)
class Written:
    """A log file as it was found: what writes to it, its length in bytes, and when it was written last."""

    file: Path
    writer: str
    size: int
    at: float


def current_log(journal: Journal, folders: NodeFolders, key: ModuleKey) -> Path:
    """The active side's output, or that of the hooks; without anything active, what was written last."""
    folder = folders.module(key).log
    module = journal.module(key)
    if module.active is not None and module.active.kind is Kind.FILES:
        return folder / HOOK_LOG
    if module.active_side is not None:
        return folder / f"{module.active_side}.log"
    written = sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime) if folder.is_dir() else []
    return written[-1] if written else folder / HOOK_LOG


def written_logs(journal: Journal, folders: NodeFolders, key: ModuleKey) -> list[Written]:
    """What the module's releases wrote on both sides and its hooks, as far as they wrote; the newest last."""
    folder = folders.module(key).log
    writers = {f"{side}.log": f"side {side}, nothing runs there now" for side in Side}
    writers[HOOK_LOG] = "hooks"
    for record in journal.sides(key):
        writers[f"{record.side}.log"] = f"side {record.side}, {record.release.version} is {record.role.value} there"
    found = []
    for name, writer in writers.items():
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            continue
        if status.st_size:
            found.append(Written(folder / name, writer, status.st_size, status.st_mtime))
    return sorted(found, key=lambda each: each.at)


def newest(written: Sequence[Written], count: int) -> bytes:
    """The newest part of each, together at most `count` bytes of output, in the given order. Blocking.

    Each has an equal share, and what it does not need goes to the others: a talkative release cannot hide what one that
    failed said beside it. A line before each says whose it is, where there are several.
    """
    if len(written) == 1:
        return logs.newest(written[0].file, count)
    left, shares = count, {}
    for served, each in enumerate(sorted(written, key=lambda each: each.size)):
        shares[each.file] = min(each.size, left // (len(written) - served))
        left -= shares[each.file]
    text = b""
    for each in written:
        if text and not text.endswith(b"\n"):
            text += b"\n"
        text += f"--- {each.writer}; last written {rfc3339(each.at)} ---\n".encode()
        text += logs.newest(each.file, shares[each.file])
    return text
