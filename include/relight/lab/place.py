"""Where everything of the lab lies."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from relight.errors import LabError

_SOCKET_LIMIT = 100
"""Unix socket paths end at 107 bytes; mysqld also makes one with ``.lock`` behind it."""


@dataclass(frozen=True)
class Place:
    """The lab's folder. Names in it are made here and nowhere else."""

    root: Path

    @classmethod
    def find(cls) -> Place:
        """The folder named by ``RELIGHT_LAB``, else ``.lab`` in the project's folder.

        :raises LabError: neither is there to be found.
        """
        named = os.environ.get("RELIGHT_LAB")
        if named:
            return cls(Path(named).absolute())
        for start in (Path.cwd(), Path(__file__).resolve().parent):
            for folder in (start, *start.parents):
                if _is_project(folder):
                    return cls(folder / ".lab")
        raise LabError(
            "no place for the lab", on=str(Path.cwd()), why="no pyproject.toml of Relight here or above",
            hint="run it inside the project's folder, or name a folder in RELIGHT_LAB",
        )  # fmt: skip

    @property
    def mysql(self) -> Path:
        """The private MySQL, where the machine has none of its own."""
        return self.root / "mysql"

    @property
    def services(self) -> Path:
        """The private Redis and PostgreSQL."""
        return self.root / "services"

    @property
    def browser(self) -> Path:
        """The private browser, where the machine has none of its own."""
        return self.root / "browser"

    @property
    def fleet_file(self) -> Path:
        """The lab's fleet file."""
        return self.root / "fleet.yaml"

    @property
    def credentials_file(self) -> Path:
        """The lab's passwords, as ``NAME=value`` lines; readable by the owner only."""
        return self.root / "credentials.env"

    @property
    def state_file(self) -> Path:
        """What the lab has running."""
        return self.root / "state.json"

    @property
    def s3(self) -> Path:
        """The object store's data."""
        return self.root / "s3"

    @property
    def servers(self) -> Path:
        """One folder per server."""
        return self.root / "servers"

    @property
    def template(self) -> Path:
        """A data directory with accounts that new servers are copied from."""
        return self.root / "template"

    def ledger(self, shard: str) -> Path:
        """The workload's ledger of a shard."""
        return self.root / "ledger" / f"{shard}.tsv"

    def socket(self, server: str) -> Path:
        """A server's Unix socket: in its own folder where the path is short enough."""
        near = self.servers / server / "mysqld.sock"
        if len(os.fsencode(near)) <= _SOCKET_LIMIT:
            return near
        mark = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"relight-{os.getuid()}-{mark}" / f"{server}.sock"


def _is_project(folder: Path) -> bool:
    try:
        return 'name = "relight"' in (folder / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return False
