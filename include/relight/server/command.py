"""Running other programs so that nothing outlives the task that started it.

A child is ended by the kernel when its parent dies (``PR_SET_PDEATHSIG``), also after SIGKILL.
The one exception is a fleet's own mysqld, which :mod:`relight.server.mysqld` detaches on purpose.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from relight.errors import CommandFailed
from relight.server.environment import child_environment

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """To be run in a child before it becomes another program."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    also: Collection[str] = (),
    pass_fds: Collection[int] = (),
    timeout: float | None = None,
) -> bytes:
    """Run a program to its end and give its standard output.

    Of this process's environment it sees what :func:`child_environment` passes on (more with ``also``), and
    ``environment``.

    :raises CommandFailed: it could not be started, ended with a status other than 0, or took
        longer than ``timeout`` seconds; the message carries the end of its standard error.
    """
    name = Path(arguments[0]).name
    try:
        done = subprocess.run(
            [os.fspath(a) for a in arguments], input=stdin, cwd=cwd, timeout=timeout, capture_output=True,
            check=False, env=child_environment(environment, also=also), pass_fds=pass_fds, preexec_fn=die_with_parent,
        )  # fmt: skip
    except FileNotFoundError:
        raise CommandFailed(
            "program not found", on=str(arguments[0]), hint="install it, or name its path in the fleet file"
        ) from None
    except subprocess.TimeoutExpired:
        raise CommandFailed("program took too long", on=name, why=f"no end within {timeout:.0f} s") from None
    except OSError as error:
        raise CommandFailed("program could not be started", on=str(arguments[0]), why=str(error)) from None
    if done.returncode:
        tail = " ".join(done.stderr.decode("utf-8", "replace").split())[-400:]
        raise CommandFailed(f"{name} ended with status {done.returncode}", on=name, why=tail)
    return done.stdout
