"""The whole story on real servers and a real store: backup, loss, restore, promotion, replicas."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.certificate.document import Certificate, SignedCertificate
from relight.certificate.signing import SigningKey
from relight.errors import CertificateRefused, GuardRefused, ObjectCorrupt, PromotionRefused, ValidationFailed
from relight.fleet import Server
from relight.planning.target import Target
from relight.recover import recover
from relight.run_files import certificate_path, load_checks, load_verdicts
from relight.server import mysqld
from relight.server.session import Session
from relight.server.table_checksums import checksums
from relight.site import Run, Site
from relight.step_records import load_records
from relight.steps.certify import certify
from relight.steps.judge import judge
from relight.steps.lanes import plan_lanes
from relight.steps.plan import plan_run
from relight.steps.prepare import prepare
from relight.steps.promote import promote
from relight.steps.replay import replay_group
from relight.steps.restore import restore_snapshot
from relight.steps.segments import ship_segments
from relight.steps.snapshot import take_snapshot
from relight.steps.split import split_segment
from relight.steps.validate import validate_database
from tests.support.promoting import assert_history
from tests.support.servers import Servers, kill


@dataclass
class Lost:
    """A shard that was backed up, written to and then lost entirely."""

    site: Site
    source: Server
    replicas: list[Server]
    scratch: Server
    sums: dict[str, int]
    gtids: str
    middle: str
    """The GTID of the transaction after which table b.mark had exactly one row."""

    def run(self, run_id: str = "run-1", target: str = "latest", mode: str = "promote") -> Run:
        return Run.model_validate({"run_id": run_id, "shard": "shard-1", "target": Target.parse(target), "mode": mode})


SCHEMA = """
CREATE DATABASE a
CREATE DATABASE b
CREATE TABLE a.t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50), doc JSON)
CREATE TABLE a.heap (v INT)
CREATE TABLE b.mark (id INT PRIMARY KEY)
CREATE EVENT a.hourly ON SCHEDULE EVERY 1 HOUR STARTS '2035-01-01' DO DELETE FROM a.heap
CREATE EVENT a.resting ON SCHEDULE EVERY 1 HOUR STARTS '2035-01-01' DISABLE DO DELETE FROM a.heap
INSERT INTO a.t (v, doc) VALUES ('before the snapshot', '{"a": 1}')
"""


def write(session: Session, count: int) -> None:
    for n in range(count):
        session.run("INSERT INTO a.t (v, doc) VALUES (%s, %s)", f"row {n}", json.dumps({"n": n}))
        session.run("INSERT INTO a.heap VALUES (%s), (%s)", n, n)
        session.run("UPDATE a.t SET v = CONCAT(v, '!') WHERE id = %s", n)
        session.run("DELETE FROM a.heap WHERE v = %s LIMIT 1", n)


def empty(server: Server) -> None:
    """What a reinstall script does."""
    kill(server)
    for entry in server.datadir.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.fixture
def lost(servers: Servers, site: Callable[..., Site]) -> Lost:
    source = servers.make("source")
    replicas = servers.make_replicas(source, 2)
    scratch = servers.make("scratch", empty=True)
    place = site(source, replicas, scratch=scratch)
    with servers.connect(source) as session:
        for statement in SCHEMA.strip().splitlines():
            session.run(statement)
        executed = session.value("SELECT @@GLOBAL.gtid_executed")
        with servers.connect(replicas[0]) as replica:
            assert replica.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", executed) == 0
        take_snapshot(place, "shard-1")
        write(session, 60)
        session.run("INSERT INTO b.mark VALUES (1)")
        middle = str(session.value("SELECT @@GLOBAL.gtid_executed")).rsplit("-", 1)
        ship_segments(place, "shard-1")
        session.run("ALTER TABLE a.t ADD COLUMN late INT DEFAULT 3")
        write(session, 40)
        session.run("INSERT INTO b.mark VALUES (2)")
        ship_segments(place, "shard-1")
        sums = checksums(session)
        gtids = str(session.value("SELECT @@GLOBAL.gtid_executed"))
        session.run("INSERT INTO b.mark VALUES (3)")  # never shipped: lost for good
    for server in (source, *replicas):
        empty(server)
    uuid = middle[0].rsplit(",", 1)[-1].split(":")[0].strip()
    return Lost(place, source, replicas, scratch, sums, gtids, f"{uuid}:{middle[1]}")


def test_a_lost_shard_comes_back_with_its_replicas_and_everything_that_was_shipped(
    servers: Servers, lost: Lost
) -> None:
    report = recover(lost.site, lost.run())
    assert report.outcome == "done"
    with servers.connect(lost.source) as source:
        assert checksums(source) == lost.sums
        assert_history(source, lost.gtids)
        assert source.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only, @@GLOBAL.event_scheduler") == (0, 0, "ON")
        assert source.rows("SELECT event_name, status FROM information_schema.events ORDER BY 1") == [
            ("hourly", "ENABLED"), ("resting", "DISABLED"),
        ]  # fmt: skip
        assert source.rows("SHOW DATABASES LIKE '_relight'") == []
        source.run("INSERT INTO b.mark VALUES (99)")
        executed = source.value("SELECT @@GLOBAL.gtid_executed")
        for server in lost.replicas:
            with servers.connect(server) as replica:
                assert replica.value("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 30)", executed) == 0
                assert checksums(replica) == checksums(source)
                assert replica.row("SELECT @@GLOBAL.super_read_only, @@GLOBAL.offline_mode") == (1, 0)
                assert replica.rows("SELECT status FROM information_schema.events WHERE status = 'ENABLED'") == []


def test_a_promoted_server_keeps_its_durable_settings_and_stays_open_after_a_restart(
    servers: Servers, lost: Lost
) -> None:
    configured = int(mysqld.configured(lost.source, "max-allowed-packet"))
    recover(lost.site, lost.run())
    mysqld.stop(lost.source, servers.admin)
    with mysqld.start(lost.source, servers.admin) as session:
        assert session.row("SELECT @@GLOBAL.offline_mode, @@GLOBAL.read_only") == (0, 0)
        assert session.rows("SELECT * FROM performance_schema.persisted_variables") == []
        assert session.value("SELECT @@GLOBAL.max_allowed_packet") == configured


@pytest.mark.parametrize("kind", ["gtid", "time"])
def test_a_target_in_the_middle_stops_exactly_there(servers: Servers, lost: Lost, kind: str) -> None:
    target = f"gtid:{lost.middle}"
    if kind == "time":
        segment = json.loads(lost.site.store.get(next(
            o.key for o in lost.site.store.list("shard-1/segments/") if o.key.endswith(".json")
        )))  # fmt: skip
        target = f"time:{segment['last_commit']}"
    recover(lost.site, lost.run(target=target))
    with servers.connect(lost.source) as session:
        assert session.rows("SELECT id FROM b.mark") == [(1,)]
        assert session.rows("SHOW COLUMNS FROM a.t LIKE 'late'") == []


def test_a_rehearsal_proves_the_backups_and_leaves_nothing_behind(servers: Servers, lost: Lost) -> None:
    report = recover(lost.site, lost.run(mode="rehearse"))
    assert report.outcome == "done"
    assert report.rows == 1 + 2 * 100 + 2
    assert not lost.scratch.datadir.exists()
    assert not mysqld.port_answers(lost.scratch)
    assert list(lost.source.datadir.iterdir()) == [], "the shard's own server was touched"


def test_a_rehearsal_is_never_promoted(lost: Lost) -> None:
    recover(lost.site, lost.run(mode="rehearse"))
    for step in (prepare, promote):
        with pytest.raises(PromotionRefused, match="rehearsal"):
            step(lost.site, lost.run(mode="rehearse"))


def test_a_living_target_is_refused_and_nothing_of_it_changes(servers: Servers, lost: Lost) -> None:
    shutil.rmtree(lost.source.datadir)
    servers.template.copy_to(lost.source.datadir)
    mysqld.start(lost.source, servers.admin).close()
    with pytest.raises(GuardRefused, match="answers on"):
        recover(lost.site, lost.run())
    with servers.connect(lost.source) as session:
        assert session.value("SELECT 1") == 1
    assert [r.step for r in load_records(lost.site.store, lost.run()) if r.outcome == "failed"] == ["guard"]


def test_an_existing_data_directory_is_set_aside_never_deleted(lost: Lost) -> None:
    (lost.source.datadir / "precious").write_text("only copy")
    recover(lost.site, lost.run())
    (aside,) = lost.source.datadir.parent.glob("data.set-aside.*")
    assert (aside / "precious").read_text() == "only copy"


def test_missing_rows_are_found_and_the_server_stays_closed(servers: Servers, lost: Lost) -> None:
    run = lost.run()
    _rebuild_only(lost.site, run)
    with servers.connect(lost.source) as session:
        session.run("SET SESSION sql_log_bin = 0")
        session.run("DELETE FROM a.heap LIMIT 1")
    validate_database(lost.site, run, "a")
    with pytest.raises(ValidationFailed, match=r"a\.heap: -1 rows.* \(expected 100, counted 99\)"):
        judge(lost.site, run)
    with pytest.raises(PromotionRefused, match="not validated"):
        prepare(lost.site, run)
    with servers.connect(lost.source) as session:
        assert session.value("SELECT @@GLOBAL.offline_mode") == 1
    bad = [v for v in load_verdicts(run.folder(lost.site.fleet)) if v.verdict == "mismatch"]
    assert [(v.table, v.expected, v.counted) for v in bad] == [("heap", 100, 99)]


def test_a_value_that_is_not_what_the_log_says_keeps_the_server_closed(servers: Servers, lost: Lost) -> None:
    run = lost.run()
    _rebuild_only(lost.site, run)
    with servers.connect(lost.source) as session:
        session.run("SET SESSION sql_log_bin = 0")
        session.run("UPDATE a.t SET doc = JSON_SET(doc, '$.n', -1) ORDER BY id DESC LIMIT 1")
    validate_database(lost.site, run, "a")
    with pytest.raises(
        ValidationFailed, match=r'row content: a\.t id=\d+: doc is \{"n": -1\} and should be \{"n": \d+\}'
    ):
        judge(lost.site, run)
    with pytest.raises(CertificateRefused, match="there is nothing to certify"):
        certify(lost.site, run)
    with pytest.raises(CertificateRefused, match="no certificate"):
        prepare(lost.site, run)


def test_an_account_that_was_given_more_rights_is_found(servers: Servers, lost: Lost) -> None:
    run = lost.run()
    _rebuild_only(lost.site, run)
    with servers.connect(lost.source) as session:
        session.run("SET SESSION sql_log_bin = 0")
        session.run("CREATE USER intruder@'%' IDENTIFIED BY 'x'")
        session.run("GRANT ALL ON *.* TO replication@'%'")
    with pytest.raises(ValidationFailed) as caught:
        judge(lost.site, run)
    assert "accounts: account intruder@% was not in the snapshot" in str(caught.value)
    assert "accounts: account replication@% has another password, other attributes or other grants" in str(caught.value)


def test_accounts_that_the_log_has_changed_are_compared_with_what_its_statements_make(
    servers: Servers, site: Callable[..., Site]
) -> None:
    source, scratch = servers.make("source"), servers.make("scratch", empty=True)
    place = site(source, scratch=scratch)
    with servers.connect(source) as session:
        session.run("CREATE DATABASE a")
        session.run("CREATE TABLE a.t (id INT PRIMARY KEY)")
        session.run("CREATE ROLE reader")
        session.run("CREATE USER old@'%' IDENTIFIED BY 'one' DEFAULT ROLE reader")
        session.run("GRANT SELECT ON a.* TO reader")
        take_snapshot(place, "shard-1")
        session.run("ALTER USER old@'%' IDENTIFIED BY 'two'")
        session.run("CREATE USER new@'%' IDENTIFIED BY 'three'")
        session.run("GRANT INSERT, UPDATE ON a.* TO new@'%'")
        session.run("REVOKE UPDATE ON a.* FROM new@'%'")
        session.run("GRANT reader TO new@'%'")
        ship_segments(place, "shard-1")
    run = Run(run_id="accounts", shard="shard-1", target=Target(kind="latest"), mode="rehearse")
    from relight import recover as story

    story._rebuild(place, run, 2)
    checks = {one.check: one for one in load_checks(run.folder(place.fleet))}
    assert (checks["accounts"].verdict, checks["accounts"].notes) == ("match", ())
    with servers.connect(scratch) as session:
        session.run("SET SESSION sql_log_bin = 0")
        session.run("GRANT UPDATE ON a.* TO new@'%'")
        with pytest.raises(ValidationFailed, match="accounts: account new@% has another password"):
            judge(place, run)
        session.run("REVOKE UPDATE ON a.* FROM new@'%'")
        judge(place, run)
        session.run("ALTER USER old@'%' IDENTIFIED BY 'one'")
        with pytest.raises(ValidationFailed, match="accounts: account old@% has another password"):
            judge(place, run)


def test_a_server_is_promoted_with_the_certificate_of_exactly_this_server_and_plan_alone(
    servers: Servers, lost: Lost
) -> None:
    run = lost.run()
    _rebuild_only(lost.site, run)
    certify(lost.site, run)
    path = certificate_path(run.folder(lost.site.fleet))
    good = path.read_text()
    signed = SignedCertificate.model_validate_json(good)
    key = SigningKey.of(lost.site.credentials.login("certificate"))
    past = datetime.now(UTC) - timedelta(hours=30)
    bad = {
        "changed after it was signed": good.replace('"data_loss_window_s": ', '"data_loss_window_s": 1'),
        "its plan is": _signed_again(key, signed, plan_sha256="0" * 64),
        "its server is": _signed_again(
            key, signed, server={**signed.certificate.server.model_dump(), "server_uuid": "x"}
        ),
        "its run is": _signed_again(key, signed, run_id="another"),
        "expired at": _signed_again(key, signed, issued_at=past, expires_at=past + timedelta(hours=24)),
        "not trusted": _signed_again(SigningKey.new("stranger"), signed),
    }
    for why, file in bad.items():
        path.write_text(file)
        with pytest.raises(CertificateRefused, match=why):
            prepare(lost.site, run)
        with servers.connect(lost.source) as session:
            assert session.value("SELECT @@GLOBAL.offline_mode") == 1
    path.write_text(good)
    prepare(lost.site, run)
    promote(lost.site, run)
    with servers.connect(lost.source) as session:
        assert session.value("SELECT @@GLOBAL.offline_mode") == 0
    assert certify(lost.site, run).id == signed.certificate.id, "it is written once"


def _signed_again(key: SigningKey, signed: SignedCertificate, **changed: object) -> str:
    certificate = Certificate.model_validate({**signed.certificate.model_dump(), **changed})
    return key.sign(certificate).decode()


def test_a_certificate_holds_everything_that_somebody_signs_for(lost: Lost) -> None:
    recover(lost.site, lost.run())
    run = lost.run()
    content = certificate_path(run.folder(lost.site.fleet)).read_bytes()
    found = SignedCertificate.model_validate_json(content).certificate
    assert (found.verdict, found.approved_by, found.mode) == ("match", "", "promote")
    assert {t.table: t.verdict for t in found.tables} == {"t": "match", "heap": "match", "mark": "match"}
    assert {c.check for c in found.checks} == {
        "row counts", "row content", "definitions", "damage", "auto-increment", "foreign keys", "history", "lanes", "accounts",
        "source's log",
    }  # fmt: skip
    stored = {o.key: o.size for o in lost.site.store.list("shard-1/")}
    assert all(stored[o.key] == o.size for o in found.objects)
    assert str(found.gtids) == lost.gtids
    assert found.restore_seconds > 0
    assert found.verification_seconds > 0
    (key,) = [o.key for o in lost.site.store.list(f"{run.folder_key}/certificates/")]
    assert lost.site.store.get(key) == content


def test_a_transaction_that_the_rebuilt_server_ran_by_itself_is_found(servers: Servers, lost: Lost) -> None:
    run = lost.run()
    _rebuild_only(lost.site, run)
    with servers.connect(lost.source) as session:
        session.run("CREATE TABLE b.stray (id INT)")
        session.run("DROP TABLE b.stray")
    with pytest.raises(ValidationFailed, match="history"):
        judge(lost.site, run)


def test_a_rebuilt_server_that_dies_during_replay_goes_on_from_its_last_commit(servers: Servers, lost: Lost) -> None:
    run = lost.run()
    plan = plan_run(lost.site, run)
    restore_snapshot(lost.site, run)
    for number in range(plan.segments):
        split_segment(lost.site, run, number)
    groups = plan_lanes(lost.site, run).groups
    replay_group(lost.site, run, groups[0].number)
    kill(lost.source)
    assert not mysqld.port_answers(lost.source)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda group: replay_group(lost.site, run, group.number), groups))
    report = recover(lost.site, run)
    assert report.outcome == "done"
    with servers.connect(lost.source) as session:
        assert checksums(session) == lost.sums


def test_two_tries_at_once_build_one_server(servers: Servers, lost: Lost) -> None:
    """Airflow starts a task again that it has not heard of, and the first one may still be at it."""
    run = lost.run()
    plan_run(lost.site, run)
    with ThreadPoolExecutor() as pool:
        tries = list(pool.map(lambda _: restore_snapshot(lost.site, run), range(3)))
    assert sum(bool(one.set_aside) for one in tries) == 1
    assert recover(lost.site, run).outcome == "done"
    with servers.connect(lost.source) as session:
        assert checksums(session) == lost.sums


def test_run_again_after_it_is_done_nothing_changes(servers: Servers, lost: Lost) -> None:
    recover(lost.site, lost.run())
    with servers.connect(lost.source) as session:
        session.run("INSERT INTO b.mark VALUES (100)")
    assert judge(lost.site, lost.run()).verdict == "match"
    assert not validate_database(lost.site, lost.run(), "b").mismatches
    prepare(lost.site, lost.run())
    promote(lost.site, lost.run())
    with servers.connect(lost.source) as session:
        assert session.value("SELECT COUNT(*) FROM b.mark WHERE id = 100") == 1
        assert session.value("SELECT @@GLOBAL.offline_mode") == 0


def test_a_flipped_byte_in_a_segment_is_caught_before_anything_is_applied(servers: Servers, lost: Lost) -> None:
    _flip(lost.site, "shard-1/segments/", ".zst")
    with pytest.raises(ObjectCorrupt):
        recover(lost.site, lost.run())
    with servers.connect(lost.source) as session:
        assert session.rows("SELECT * FROM _relight.progress") == []


def test_a_flipped_byte_in_a_snapshot_part_is_caught_before_the_directory_is_in_place(lost: Lost) -> None:
    _flip(lost.site, "shard-1/snapshots/", ".zst")
    with pytest.raises(ObjectCorrupt):
        recover(lost.site, lost.run())
    assert list(lost.source.datadir.iterdir()) == []


def _flip(site: Site, prefix: str, ending: str) -> None:
    """Change one byte of the first object, behind the store's back."""
    key = next(o.key for o in site.store.list(prefix) if o.key.endswith(ending))
    data = bytearray(site.store.get(key))
    data[len(data) // 2] ^= 1
    client, bucket, whole = raw_access(site, key)
    client.put_object(Bucket=bucket, Key=whole, Body=bytes(data))


def raw_access(site: Site, key: str):  # type: ignore[no-untyped-def]
    """A plain S3 client, the bucket and the full key."""
    import boto3

    settings, login = site.fleet.store, site.credentials.login("store")
    client = boto3.client(
        "s3", endpoint_url=settings.endpoint, region_name=settings.region, aws_access_key_id=login.user,
        aws_secret_access_key=login.password,
    )  # fmt: skip
    return client, settings.bucket, str(Path(settings.prefix) / key)


def _rebuild_only(site: Site, run: Run) -> None:
    """Everything up to the judgement, which the test asks for itself."""
    from relight import recover as story

    story._rebuild(site, run, 2)
    certificate_path(run.folder(site.fleet)).unlink()
