"""Announcing by a command of one's own: the endpoint is in its environment, and as JSON on its standard input."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from relight.announcing.base import Endpoint
from relight.announcing.settings import CommandAnnounce
from relight.errors import AnnounceFailed, AnnounceUnavailable
from relight.server.command import die_with_parent
from relight.server.environment import child_environment

TRY_AGAIN = 75
"""The exit status for "not now": EX_TEMPFAIL of sysexits.h."""


@dataclass(frozen=True)
class CommandAnnouncer:
    """Runs one command to announce, another to withdraw. Both must bear being run again."""

    settings: CommandAnnounce

    @property
    def name(self) -> str:
        """The command that announces."""
        return f"command {self.settings.announce[0]}"

    def announce(self, endpoint: Endpoint) -> None:
        """Run the command that announces."""
        self._run(self.settings.announce, endpoint, is_open=True)

    def withdraw(self, endpoint: Endpoint) -> None:
        """Run the command that withdraws."""
        self._run(self.settings.withdraw, endpoint, is_open=False)

    def _run(self, arguments: Sequence[str], endpoint: Endpoint, *, is_open: bool) -> None:
        on, seconds = f"command {arguments[0]}", self.settings.timeout_s
        # Files and not pipes: whoever the command leaves behind with a pipe open would be waited for.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
            given.write(json.dumps(endpoint.document(is_open=is_open)).encode())
            given.seek(0)
            try:
                status = _run(arguments, _told(endpoint, is_open=is_open), given, said, seconds)
            except OSError as error:
                raise AnnounceFailed(
                    "the command cannot be started", on=on, why=error.strerror or str(error),
                    hint="name its full path in the fleet file; it must be on the promoted server's machine",
                ) from None  # fmt: skip
            except subprocess.TimeoutExpired:
                raise AnnounceUnavailable(
                    "the command took too long", on=on, why=f"killed after {seconds:g} s. {_end_of(said)}",
                    hint="look what it waits for, or give it a longer timeout_s in the fleet file",
                ) from None  # fmt: skip
            if status:
                kind = AnnounceUnavailable if status == TRY_AGAIN else AnnounceFailed
                raise kind(
                    f"the command ended with status {status}", on=on, why=_end_of(said),
                    hint="run it by hand with the announcement on its standard input",
                )  # fmt: skip


def _run(arguments: Sequence[str], told: Mapping[str, str], given: IO[bytes], said: IO[bytes], seconds: float) -> int:
    """The command's exit status. When the time is over it is killed, with all that it has started."""
    with subprocess.Popen(
        list(arguments), env=child_environment(told), stdin=given, stdout=subprocess.DEVNULL, stderr=said,
        process_group=0, preexec_fn=die_with_parent,  # noqa: PLW1509  (one call of prctl, safe after a fork)
    ) as process:  # fmt: skip
        try:
            return process.wait(seconds)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):  # it has ended at that very moment
                os.killpg(process.pid, signal.SIGKILL)
            raise


def _told(endpoint: Endpoint, *, is_open: bool) -> dict[str, str]:
    """In its environment. The GTID set is only in the document: it may be longer than a variable can be."""
    told = endpoint.model_dump(mode="json", exclude={"gtids"}) | {"open": int(is_open)}
    return {f"RELIGHT_{name.upper()}": str(value) for name, value in told.items()}


def _end_of(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - 2000))
    return " ".join(said.read().decode("utf-8", "replace").split())[-400:] or "It has said nothing."
