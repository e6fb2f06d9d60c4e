"""Debian packages, unpacked into a private folder without being installed.

They are fetched with apt, so their signatures are checked, from the mirror that the machine's own
apt sources name. Nothing on the machine changes, and no rights are needed beyond writing to the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relight.errors import LabError
from relight.server import command
from relight.server.environment import PROXIES

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_INSTALLED = """\
Package: {name}
Status: install ok installed
Version: 999:0
Architecture: amd64
Multi-Arch: allowed
Maintainer: nobody
Description: not needed here

"""


@dataclass(frozen=True)
class Wanted:
    """Packages of one suite, with all that they depend on except what is ``left_out`` (and what that depends on)."""

    suite: str
    packages: Sequence[str]
    left_out: Sequence[str] = ()


def fetch(wanted: Wanted, folder: Path) -> list[Path]:
    """Download the packages, with apt's own files, below ``folder``, and give the archives.

    :raises LabError: Debian's keys are missing; CommandFailed: apt cannot get them.
    """
    configuration = _write_apt_configuration(folder, wanted, mirror(Path("/etc/apt")))
    environment = {"APT_CONFIG": str(configuration), "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    command.run(["apt-get", "-qq", "update"], environment=environment, also=PROXIES, timeout=300)
    command.run(
        ["apt-get", "-qq", "--yes", "--download-only", "--no-install-recommends", "install", *wanted.packages],
        environment=environment, also=PROXIES, timeout=1800,
    )  # fmt: skip
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def unpack(archives: Sequence[Path], prefix: Path) -> None:
    """Lay the packages' files below ``prefix``, as they would lie below ``/``; their scripts are not run."""
    for archive in archives:
        command.run(["dpkg-deb", "-x", archive, prefix], timeout=300)


def mirror(apt: Path) -> str:
    """The Debian mirror that the machine's own apt sources name, so that a local one is respected.

    ``apt`` is the folder /etc/apt. Both forms are read: one-line ``.list`` and deb822 ``.sources``.
    """
    for path in [
        *sorted(apt.glob("sources.list.d/*.sources")),
        apt / "sources.list",
        *apt.glob("sources.list.d/*.list"),
    ]:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue  # not every machine has every one of them
        for line in lines:
            for word in line.split():
                if "://" in word and not line.lstrip().startswith("#") and word.rstrip("/").endswith("/debian"):
                    return word.rstrip("/")
    raise LabError(
        "no Debian mirror is named", on=str(apt), why="none of the machine's apt sources ends with /debian",
        hint="add a Debian mirror to the machine's apt sources, or put the programs themselves on PATH",
    )  # fmt: skip


def _write_apt_configuration(folder: Path, wanted: Wanted, address: str) -> Path:
    """A private apt: own sources, lists and cache, and an own list of what is installed: what is left out."""
    if not _KEYRING.exists():
        raise LabError(
            "Debian's archive keys are missing", on=str(_KEYRING), why="packages are only taken with their signature",
            hint="apt-get install debian-archive-keyring",
        )  # fmt: skip
    for part in ("etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("".join(_INSTALLED.format(name=name) for name in wanted.left_out), encoding="ascii")
    (folder / "etc" / "sources.list").write_text(
        f"deb [signed-by={_KEYRING}] {address} {wanted.suite} main\n", encoding="utf-8"
    )
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc": folder / "etc",
        "Dir::Etc::sourcelist": folder / "etc" / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Install-Recommends": "false",
        # Mirrors that keep a past state of the archive serve a Release file whose date of expiry has
        # passed. The signatures on it, and through it on every package, are checked all the same.
        "Acquire::Check-Valid-Until": "false",
        # Root's apt would otherwise download as the account _apt, which cannot write here.
        "APT::Sandbox::User": "root",
        # The locks would be below /var: they protect the machine's own package state, not this folder.
        "Debug::NoLocking": "true",
    }
    path = folder / "apt.conf"
    path.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()), encoding="utf-8")
    return path
