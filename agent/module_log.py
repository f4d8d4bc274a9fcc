"""Which of a module's log files is the one to show."""

from __future__ import annotations

from pathlib import Path

from agent.files_activation import HOOK_LOG
from agent.journal import Journal
from agent.manifest import Kind
from agent.paths import NodeFolders
from agent.protocol import ModuleKey


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
