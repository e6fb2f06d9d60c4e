"""Names that come out of the store and become names of files: none of them may lead out of the folder it belongs in.

Pure. They are looked at again where files are opened (:mod:`relight.beneath`), which is what is relied on.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Final

from pydantic import AfterValidator

_MOST_BYTES: Final = 255
"""Of one component, as Linux has it."""
_MOST_DEEP: Final = 32

OF_ONE_SERVER: Final = (
    # identity and settings of one server, its keys, what it makes anew at every start
    "auto.cnf", "mysqld-auto.cnf", "*.pem", "*.pid", "*.sock", "*.sock.lock", "*.err", "mysql_upgrade_*",
    "#clone", "#clone/*", "ibtmp1", "#innodb_temp/*", "#ib_*.dblwr", "#innodb_redo/#ib_redo*_tmp",
    # a scratch server's relay logs
    "relight-relay.*",
    # what steers a server, or belongs to Relight, see below
    "*.cnf", "*.my", "relight.json", ".*",
)  # fmt: skip
"""What is not part of a backup. Redo stays (a server without any does not start), spare redo goes."""

_STEERS: Final = ("*.cnf", "*.pem", "*.my", "relight.json", ".*")
"""Who can write one of these decides what a server is, whom it lets in, what it loads, or what Relight takes it for:
settings (mysqld-auto.cnf would open it), identity, keys, component manifests, Relight's own mark and what it writes
beside it. MySQL names no file of data so: such characters of a database's or table's name are written as ``@002e``."""


def one_name(name: str) -> str:
    """A name that is one component of a path. :raises ValueError: it is not; does not repeat it."""
    if name in ("", ".", ".."):
        raise ValueError("a name is empty or leads elsewhere")
    if any(c in "/\\" or not c.isprintable() for c in name):
        raise ValueError("a name has a slash, a backslash or a character that cannot be printed in it")
    if len(name.encode("utf-8")) > _MOST_BYTES:
        raise ValueError(f"a name has more than {_MOST_BYTES} bytes")
    return name


def data_path(path: str) -> str:
    """A path, relative to a data directory, of something that belongs into a backup. :raises ValueError: it is not."""
    names = path.split("/")
    if len(names) > _MOST_DEEP:
        raise ValueError("a path is too deep")
    for name in map(one_name, names):
        if any(fnmatchcase(name.casefold(), pattern) for pattern in _STEERS):
            raise ValueError(f"{name} would tell a server, or Relight, what it is")
    return path


def is_of_one_server(path: str) -> bool:
    """Whether a path of a data directory is no part of a backup."""
    return any(fnmatchcase(path, pattern) for pattern in OF_ONE_SERVER)


FileName = Annotated[str, AfterValidator(one_name)]
DataPath = Annotated[str, AfterValidator(data_path)]
