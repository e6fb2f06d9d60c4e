"""Turns logged statements into what a session must send, with the standard ``mysqlbinlog``.

It knows every detail of a statement's context (SQL mode, character sets, time zone, default
database, user variables) for every server version; rewriting that here would be guessing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from relight.binlog import format as f
from relight.binlog.compose import as_log_file
from relight.binlog.query import read_query
from relight.binlog.reader import Event
from relight.server import command

_LEFT_OUT = (
    b"/*!\\C",  # tells the mysql client, not the server, the character set
    b"/*!50616 SET @@SESSION.GTID_NEXT",  # the session has it, and inside a transaction it cannot be set
)

_PRINTED_END = b"\n/*!*/;\n"
"""What mysqlbinlog prints behind a logged statement."""


@contextmanager
def rendered(mysqlbinlog: Path, format_description: bytes, events: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The statements that have the effect of the events, context first.

    Files that a LOAD DATA LOCAL among them reads are there until the context ends.

    :raises CommandFailed: mysqlbinlog could not read the events.
    """
    with tempfile.TemporaryDirectory(prefix="relight-") as folder:
        log = Path(folder) / "log"
        log.write_bytes(as_log_file(format_description, events))
        # Row events never come this way, so nothing is lost by not printing them as BINLOG; what
        # is gained is that the format description is not printed as BINLOG either, which would leave
        # the session's GTID undetermined (error 1782 on the next statement).
        # Nor are options files read: a database that ~/.my.cnf names would leave out what concerns all others.
        text = command.run(
            [mysqlbinlog, "--no-defaults", "--skip-gtids", "--base64-output=decode-rows", f"--local-load={folder}", log]
        )  # fmt: skip
        queries = [read_query(Event(0, f.QUERY, 0, 0, event)).text for event in events if event[4] == f.QUERY]
        text, taken_out = _without(text, queries)
        yield [taken_out.get(s, s) for s in _statements(text) if not s.startswith(_LEFT_OUT)]


def _without(text: bytes, queries: Sequence[bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """Marks instead of the logged statements, which may hold lines that look like comments or delimiters."""
    taken_out = {}
    for number, query in enumerate(queries):
        mark = b"\0query %d" % number
        taken_out[mark] = query
        text = text.replace(b"\n" + query + _PRINTED_END, b"\n" + mark + _PRINTED_END, 1)
    return text, taken_out


def _statements(text: bytes) -> Iterator[bytes]:
    """What stands between the DELIMITER lines; around them mysqlbinlog saves and restores the client's settings."""
    delimiter = b""
    collected: list[bytes] = []
    for line in text.split(b"\n"):
        if not collected and (line.startswith(b"#") or not line.strip()):
            continue
        if not collected and line.startswith(b"DELIMITER "):
            word = line[len(b"DELIMITER ") :].strip()
            delimiter = b"" if word == b";" else word
            continue
        if not delimiter:
            continue
        collected.append(line)
        if line.endswith(delimiter):
            statement = b"\n".join(collected)[: -len(delimiter)].strip()
            collected = []
            if statement:
                yield statement
