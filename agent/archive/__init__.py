"""Module archives: looking into them, unpacking them and making them, whoever sent them.

    inspection = inspect(file, limits)                    # one bounded pass, writes nothing
    inspection = unpack(file, Path("release"), limits)    # makes the folder; on an error nothing is left of it
    pack(Path("folder"), output)                          # the same folder gives the same bytes

Everything that is refused is `ArchiveInvalid`, a sentence that names the entry; a bad manifest inside is
`agent.manifest.ManifestInvalid`. Both orchestrator and agent read archives with this code only, so that no two tar
readers can disagree about what one contains.
"""

from agent.archive.entries import Entry, EntryKind, Inspection
from agent.archive.errors import ArchiveInvalid
from agent.archive.limits import Limits
from agent.archive.packing import IGNORE_FILE, pack, pack_bytes
from agent.archive.reading import inspect
from agent.archive.unpacking import unpack

__all__ = [
    "IGNORE_FILE",
    "ArchiveInvalid",
    "Entry",
    "EntryKind",
    "Inspection",
    "Limits",
    "inspect",
    "pack",
    "pack_bytes",
    "unpack",
]
