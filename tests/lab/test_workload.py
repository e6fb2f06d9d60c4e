"""The workload's ledger tells the truth, and its check finds every kind of lie."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from relight.errors import LabError
from relight.fleet import Server
from relight.gtid import Gtid, GtidSet
from relight.lab import schema
from relight.lab.ledger import Entry, LedgerVerdict, LedgerWriter, check_ledger, read_ledger
from relight.lab.template import Logins
from relight.lab.tracked import gtid_in
from relight.lab.transactions import Transactions
from relight.lab.workload import Pace, Workload
from relight.server import mysqld
from relight.server.session import Session
from tests.support.servers import DURABLE, Servers, kill

PACE = Pace(threads=3, definitions_every=0.2)


@pytest.fixture(scope="module")
def shop(module_servers: Servers) -> Server:
    server = module_servers.make("shop")
    with module_servers.connect(server) as session:
        schema.create(session)
    return server


@pytest.fixture(scope="module")
def written(shop: Server, logins: Logins, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of a few hundred commits and of every other outcome; nothing else ever writes through the workload."""
    ledger = tmp_path_factory.mktemp("ledger") / "shard.tsv"
    with Workload(shop, logins.application, logins.admin, ledger, pace=PACE) as workload:
        workload.wait_for(300)
        deadline = time.monotonic() + 60
        while not {"rolled-back", "ddl"} <= set(workload.counts):
            assert time.monotonic() < deadline, f"not every outcome came about: {workload.counts}"
            time.sleep(0.02)
    return ledger


@pytest.fixture
def session(shop: Server, module_servers: Servers) -> Iterator[Session]:
    with module_servers.connect(shop) as session:
        yield session


def check(session: Session, ledger: Path, up_to: GtidSet | None = None) -> LedgerVerdict:
    return check_ledger(session, ledger, schema.DATABASES, up_to)


def test_every_commit_is_in_the_ledger_with_its_gtid(written: Path, session: Session) -> None:
    verdict = check(session, written)
    assert verdict.ok, verdict
    assert verdict.present == verdict.expected == verdict.acknowledged >= 300
    executed = GtidSet.parse(session.value("SELECT @@GLOBAL.gtid_executed"))
    told = [Gtid.parse(entry.gtid) for entry in read_ledger(written) if entry.kind == "committed"]
    assert len(set(told)) == len(told)
    assert GtidSet.of(told) <= executed
    kinds = {entry.kind for entry in read_ledger(written)}
    assert kinds >= {"committed", "rolled-back", "ddl"}
    assert {len(entry.databases) for entry in read_ledger(written) if entry.kind == "committed"} == {1, 2, 3}


def test_a_deleted_row_is_missing(written: Path, session: Session) -> None:
    one = session.value("SELECT MIN(id) FROM orders.ledger")
    session.run("BEGIN")
    session.run("DELETE FROM orders.ledger WHERE id = %s", one)
    verdict = check(session, written)
    session.run("ROLLBACK")
    assert not verdict.ok
    assert verdict.missing == (f"{one} in orders",)
    assert verdict.present == verdict.expected - 1


def test_a_row_applied_twice_is_found(written: Path, session: Session) -> None:
    one = session.value("SELECT MIN(id) FROM media.ledger")
    session.run("BEGIN")
    session.run("INSERT INTO media.ledger SELECT * FROM media.ledger WHERE id = %s", one)
    verdict = check(session, written)
    session.run("ROLLBACK")
    assert verdict.duplicated == (f"{one} in media",)
    assert not verdict.ok


def test_a_row_that_nobody_committed_is_found(written: Path, session: Session) -> None:
    rolled_back = next(entry for entry in read_ledger(written) if entry.kind == "rolled-back" and entry.digest)
    session.run("BEGIN")
    session.run(
        "INSERT INTO accounts.ledger (id, digest) VALUES ('1-t0-7', 'xxxxxxxx'), (%s, 'yyyyyyyy')", rolled_back.id
    )
    verdict = check(session, written)
    session.run("ROLLBACK")
    assert set(verdict.unexpected) == {"1-t0-7 in accounts", f"{rolled_back.id} in accounts"}
    assert not verdict.ok


def test_a_row_with_other_content_is_found(written: Path, session: Session) -> None:
    one = session.value("SELECT MAX(id) FROM orders.ledger")
    session.run("BEGIN")
    session.run("UPDATE orders.ledger SET digest = 'tampered' WHERE id = %s", one)
    verdict = check(session, written)
    session.run("ROLLBACK")
    assert verdict.altered == (f"{one} in orders",)
    assert not verdict.ok


def test_only_what_lies_within_the_set_is_expected_and_the_rest_must_not_be_there(
    written: Path, session: Session
) -> None:
    committed = [entry for entry in read_ledger(written) if entry.kind == "committed"]
    uuid = committed[0].gtid.split(":")[0]
    numbers = sorted(int(entry.gtid.split(":")[1]) for entry in committed)
    shipped = GtidSet.parse(f"{uuid}:1-{numbers[-11]}")
    lost = [entry for entry in committed if Gtid.parse(entry.gtid) not in shipped]
    assert len(lost) == 10

    too_much = check(session, written, shipped)
    assert {text.split(" ")[0] for text in too_much.unexpected} == {entry.id for entry in lost}

    session.run("BEGIN")
    for entry in lost:
        for database in entry.databases:
            session.run(f"DELETE FROM `{database}`.ledger WHERE id = %s", entry.id)
    verdict = check(session, written, shipped)
    session.run("ROLLBACK")
    assert verdict.ok, verdict
    assert verdict.beyond == 10
    assert verdict.expected == verdict.acknowledged - 10


def test_half_of_a_transaction_in_doubt_is_found(written: Path, session: Session, tmp_path: Path) -> None:
    whole = next(e for e in read_ledger(written) if e.kind == "committed" and len(e.databases) == 2)
    ledger = tmp_path / "doubt.tsv"
    lines = written.read_text().splitlines(keepends=True)
    ledger.write_text("".join(f"unknown\t{whole.id}\t\t{','.join(whole.databases)}\t{whole.digest}\n"
                              if f"\t{whole.id}\t" in line else line for line in lines))  # fmt: skip
    assert check(session, ledger).ok
    session.run("BEGIN")
    session.run(f"DELETE FROM `{whole.databases[0]}`.ledger WHERE id = %s", whole.id)
    verdict = check(session, ledger)
    session.run("ROLLBACK")
    assert verdict.missing == (f"{whole.id} in {whole.databases[0]}",)


def test_a_writer_killed_in_the_middle_leaves_a_ledger_that_still_agrees(
    servers: Servers, logins: Logins, tmp_path: Path
) -> None:
    server = servers.make()
    with servers.connect(server) as session:
        schema.create(session)
    ledger = tmp_path / "shard.tsv"
    program = (
        "import sys; from pathlib import Path; from relight.credentials import Login; "
        "from relight.fleet import Server; "
        "from relight.lab.workload import Workload; "
        "e = sys.stdin.readline().split(); app, admin = Login(e[0], e[1]), Login(e[2], e[3]); "
        "Workload(Server.model_validate_json(sys.argv[1]), app, admin, Path(sys.argv[2])).start().wait_for(10**9, 100)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, server.model_dump_json(), str(ledger)], stdin=subprocess.PIPE, text=True
    )
    assert writer.stdin is not None
    one, two = logins.application, logins.admin
    writer.stdin.write(f"{one.user} {one.password} {two.user} {two.password}\n")
    writer.stdin.flush()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (ledger.exists() and ledger.read_text().count("\n") > 300):
        time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    with servers.connect(server) as session:
        while session.value("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'shop'"):
            time.sleep(0.05)
        verdict = check(session, ledger)
    assert verdict.ok, verdict
    assert verdict.acknowledged >= 280


def test_a_server_that_vanishes_ends_the_workload_and_loses_no_acknowledged_commit(
    servers: Servers, logins: Logins, tmp_path: Path
) -> None:
    server = servers.make(options=DURABLE)
    with servers.connect(server) as session:
        schema.create(session)
    ledger = tmp_path / "shard.tsv"
    workload = Workload(server, logins.application, logins.admin, ledger, pace=PACE).start()
    workload.wait_for(200)
    kill(server)
    deadline = time.monotonic() + 20
    while workload.running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workload.running
    counts = workload.stop()
    assert counts["committed"] >= 200
    with mysqld.start(server, servers.admin) as session:
        verdict = check(session, ledger)
    assert verdict.ok, verdict
    assert verdict.expected == counts["committed"]


def test_a_workload_goes_on_in_the_same_ledger(written: Path, shop: Server, logins: Logins, session: Session) -> None:
    before = check(session, written).acknowledged
    with Workload(shop, logins.application, logins.admin, written, pace=Pace(2, 100.0, None), seed=7) as workload:
        workload.wait_for(30)
    verdict = check(session, written)
    assert verdict.ok, verdict
    assert verdict.acknowledged == before + workload.committed


def test_the_same_seed_gives_the_same_transactions() -> None:
    def first(seed: int) -> list[object]:
        stream = Transactions(Random(seed), schema.DATABASES)
        return [stream.next() for _ in range(200)]

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_a_ledger_that_is_none_is_refused(tmp_path: Path, session: Session) -> None:
    with pytest.raises(LabError, match="no ledger"):
        check(session, tmp_path / "none.tsv")
    (tmp_path / "odd.tsv").write_text("committed\tx\n")
    with pytest.raises(LabError, match="line 1"):
        check(session, tmp_path / "odd.tsv")


def test_a_torn_last_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "torn.tsv"
    path.write_text("begun\ta-t0-0\t\t\t")
    writer = LedgerWriter(path)
    writer.append(Entry("ended", "a-t0-0"))
    writer.close()
    assert [entry.kind for entry in read_ledger(path)] == ["begun", "ended"]


def test_the_gtid_is_found_among_other_session_state() -> None:
    gtid = b"cbeee2bb-e6ab-11f1-9163-02fc00000001:7"
    tracked = bytes([0, 2, 1, ord("x")]) + bytes([3, len(gtid) + 2, 0, len(gtid)]) + gtid
    assert gtid_in(bytes([0, len(tracked)]) + tracked) == gtid.decode()
    assert gtid_in(bytes([3]) + b"abc" + bytes([0])) == ""
