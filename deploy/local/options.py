"""What was asked of `hotswap up`."""

from dataclasses import dataclass
from pathlib import Path

from deploy.local.fleet import NodeGroup

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DATA_FOLDER = ROOT / "var" / "local"


@dataclass(frozen=True)
class Options:
    """`port` 0 takes a free one. `replace=False` leaves dead what died."""

    data_folder: Path
    port: int
    nodes: tuple[NodeGroup, ...]
    replace: bool = True
