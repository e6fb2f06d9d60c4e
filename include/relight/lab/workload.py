"""An application that writes to a shard, and keeps the ledger of what the server acknowledged."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from pymysql.err import MySQLError

from relight.credentials import Login
from relight.errors import LabError
from relight.fleet import Server
from relight.lab.definitions import Definitions
from relight.lab.ledger import TABLE, Entry, Kind, LedgerWriter
from relight.lab.schema import DATABASES
from relight.lab.tracked import TrackedConnection, is_closed_to_writes, is_lost, open_tracked
from relight.lab.transactions import Transaction, Transactions


@dataclass(frozen=True)
class Pace:
    """How hard the workload works: threads, transactions per second in all (None: as many as it can),
    and seconds between changes of definitions (None: never any)."""

    threads: int = 4
    rate: float | None = None
    definitions_every: float | None = 2.0


_Job = Callable[[str], None]


class Workload:
    """Writes until it is stopped or the server is gone. A context manager; may be started once.

    Each thread has one connection over TCP and TLS. A transaction is sent as one text and its
    outcome is one of: committed (with its GTID), rolled back, unknown (the connection broke).
    """

    def __init__(
        self, server: Server, application: Login, admin: Login, ledger: Path, *, pace: Pace | None = None,
        seed: int = 1, databases: Sequence[str] = DATABASES,
    ) -> None:  # fmt: skip
        self._server = server
        self._application = application
        self._admin = admin
        self._pace = pace or Pace()
        self._seed = seed
        self._databases = tuple(databases)
        self._writer = LedgerWriter(ledger)
        self._run = f"{int(time.time()):x}{secrets.token_hex(2)}"
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._counts: Counter[Kind] = Counter()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    @property
    def committed(self) -> int:
        """How many commits were acknowledged so far."""
        return self._counts["committed"]

    @property
    def counts(self) -> dict[str, int]:
        """How many transactions had which outcome so far."""
        with self._lock:
            return {str(kind): count for kind, count in self._counts.items()}

    @property
    def running(self) -> bool:
        """Whether it still writes: false once it was stopped or the server went away."""
        return any(thread.is_alive() for thread in self._threads)

    def start(self) -> Self:
        """Begin to write."""
        jobs = [(f"t{number}", self._write) for number in range(self._pace.threads)]
        if self._pace.definitions_every is not None:
            jobs.append(("ddl", self._define))
        for name, job in jobs:
            self._threads.append(threading.Thread(target=self._guarded, args=(name, job), daemon=True))
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> dict[str, int]:
        """Finish the transactions under way, close the ledger, and give the counts.

        :raises LabError: a thread failed for a reason of its own.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._threads:
            self._threads.clear()
            self._writer.close()
        if self._failure is not None:
            raise LabError("the workload failed", on=self._server.name, why=repr(self._failure)) from self._failure
        return self.counts

    def wait_for(self, commits: int, timeout: float = 120) -> None:
        """Wait until so many commits were acknowledged. :raises LabError: it ended or took too long."""
        deadline = time.monotonic() + timeout
        while self.committed < commits:
            if not self.running or time.monotonic() > deadline:
                raise LabError("the workload does not get on", on=self._server.name, why=str(self.counts))
            time.sleep(0.02)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _guarded(self, name: str, job: _Job) -> None:
        try:
            job(name)
        except MySQLError as error:
            # No connection, or none any more: the server is gone, and with it the work.
            if not (is_lost(error) or is_closed_to_writes(error)):
                self._failure = error
        except BaseException as error:  # noqa: BLE001 -- reported by stop(), in the caller's thread
            self._failure = error

    def _write(self, name: str) -> None:
        transactions = Transactions(Random(f"{self._seed} {name}"), self._databases)
        thread = f"{self._run}-{name}"
        connection = open_tracked(self._server, self._application)
        self._writer.append(Entry("begun", f"{thread}-0"))
        number = 0
        pause = self._pace.threads / self._pace.rate if self._pace.rate else 0.0
        due = time.monotonic()
        while not self._stopping.is_set():
            number += 1
            self._commit(connection, transactions.next(), f"{thread}-{number}")
            due = max(due + pause, time.monotonic() - 1)
            if pause and due > time.monotonic():
                self._stopping.wait(due - time.monotonic())
        self._writer.append(Entry("ended", f"{thread}-{number}"))
        connection.close()

    def _commit(self, connection: TrackedConnection, transaction: Transaction, one: str) -> None:
        body = "; ".join(transaction.statements)
        digest = hashlib.sha256(body.encode()).hexdigest()[:16]
        notes = "; ".join(
            f"INSERT INTO `{database}`.{TABLE} (id, digest) VALUES ('{one}', x'{digest}')"
            for database in transaction.databases
        )
        end = "ROLLBACK" if transaction.rolled_back else "COMMIT"

        def note(kind: Kind, gtid: str = "") -> None:
            self._note(Entry(kind, one, gtid, transaction.databases, digest))

        try:
            connection.run(f"BEGIN; {body}; {notes}; {end}")
        except MySQLError as error:
            if is_lost(error):
                note("unknown")
                raise
            # The statements behind the refused one, the COMMIT among them, were not run.
            note("rolled-back")
            if is_closed_to_writes(error):
                raise
            connection.run("ROLLBACK")
        else:
            note("rolled-back" if transaction.rolled_back else "committed", connection.gtid)

    def _define(self, name: str) -> None:
        definitions = Definitions(Random(f"{self._seed} {name}"), self._databases)
        connections = {
            "application": open_tracked(self._server, self._application),
            "admin": open_tracked(self._server, self._admin),
        }
        self._writer.append(Entry("begun", f"{self._run}-{name}-0"))
        for connection in connections.values():
            connection.run("SET SESSION lock_wait_timeout = 5")
        number = 0
        while not self._stopping.wait(self._pace.definitions_every):
            for by, statement in definitions.next():
                number += 1
                try:
                    connections[by].run(statement)
                except MySQLError as error:
                    if is_lost(error) or is_closed_to_writes(error):
                        raise
                    self._note(Entry("rolled-back", f"{self._run}-{name}-{number}"))
                else:
                    self._note(Entry("ddl", f"{self._run}-{name}-{number}", connections[by].gtid))
        self._writer.append(Entry("ended", f"{self._run}-{name}-{number}"))
        for connection in connections.values():
            connection.close()

    def _note(self, entry: Entry) -> None:
        self._writer.append(entry)
        with self._lock:
            self._counts[entry.kind] += 1
