"""Step: sign what was found, so that it can be held against the server when it is promoted, and by anybody later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from relight.backups.manifest import SnapshotManifest, Value
from relight.certificate import approval
from relight.certificate.document import Certificate, CertifiedServer, LanePosition, ObjectHash, SignedCertificate
from relight.certificate.signing import SigningKey
from relight.durable import write_whole
from relight.errors import CertificateRefused, ObjectCorrupt
from relight.fleet import Server
from relight.lane import lane_progress
from relight.planning.plan import Plan, load_plan, load_snapshot_manifest
from relight.proof import plan_digest
from relight.reading import read_json, read_json_file
from relight.run_files import (
    Judgement,
    certificate_path,
    judgement_path,
    load_checks,
    load_judgement,
    load_lanes,
    load_verdicts,
)
from relight.server.rebuilt import is_beyond_proof
from relight.server.session import Session, connect
from relight.site import Run, Site
from relight.step_records import PROVING, RESTORING, elapsed, load_records
from relight.steps.stepping import step


class CertificateSummary(Value):
    """Where the certificate is."""

    id: str
    verdict: str
    expires_at: datetime
    key: str
    """In the store."""
    file: str
    """On the rebuilt server's machine."""


@step("certify")
def certify(site: Site, run: Run) -> CertificateSummary:
    """Sign a certificate of the judgement and store it; each is written once.

    :raises CertificateRefused: the shard was not judged, or nobody has approved who has to (``tiers[].approval``).
        FleetError: there is no key to sign with.
    """
    folder, server = run.folder(site.fleet), run.server(site.fleet)
    path = certificate_path(folder)
    if is_beyond_proof(server.datadir, run.run_id):
        issued = _issued(site, run, path)
        site.progress.say(f"{run.shard} is being promoted by this run, or was, with certificate {issued.id}")
        return _summary(run, issued, str(path))
    path.unlink(missing_ok=True)  # one from before was for another judgement
    if not judgement_path(folder).exists():
        raise CertificateRefused(
            "there is nothing to certify", on=run.shard, why="the shard was not validated, or did not pass"
        )
    _refuse_unapproved(site, run, load_judgement(folder))
    key = SigningKey.of(site.credentials.login("certificate"))
    certificate = make_certificate(site, run)
    signed = key.sign(certificate)
    site.store.put(_key(run, certificate.id), signed)
    write_whole(path, signed.decode("utf-8"))
    site.progress.say(f"certificate {certificate.id}: {certificate.verdict}, signed by {key.name}, in {path}")
    return _summary(run, certificate, str(path))


def _issued(site: Site, run: Run, path: Path) -> Certificate:
    """The one of which the promotion has begun: nothing of replay is left that another one could be made of. If the
    file was lost or cut, it comes from the store."""
    what = "the certificate"
    try:
        return read_json_file(SignedCertificate, path, what).certificate
    except (FileNotFoundError, ObjectCorrupt):
        keys = [one.key for one in site.store.list(_key(run, "").removesuffix(".json"))]
    if not keys:
        raise CertificateRefused(
            "there is no certificate any more", on=run.shard, why="neither on disk nor in the store"
        )
    content = site.store.get(keys[-1])
    found = read_json(SignedCertificate, content, on=keys[-1], what=what).certificate
    write_whole(path, content)
    return found


def _refuse_unapproved(site: Site, run: Run, judgement: Judgement) -> None:
    """A rehearsal may end with doubts: it is never promoted, and its certificate says so."""
    if run.mode == "rehearse":
        return
    lacks = approval.lacking(
        site.fleet.tier_of(run.shard_of(site.fleet)).approval, doubts=bool(judgement.inconclusive),
        approved_by=run.approved_by, reason=run.approval_reason,
    )  # fmt: skip
    if lacks:
        raise CertificateRefused(
            lacks, on=run.shard,
            why="; ".join(judgement.inconclusive[:10]) or "each promotion of its tier needs a name",
            hint="the server stays closed; read the verdicts; if that may be promoted, go on with this run: clear task "
            f"'approve' in Airflow; or, with your own name and reason: {_approved(run)}",
        )  # fmt: skip


def _approved(run: Run) -> str:
    name, why = approval.PLACEHOLDERS
    return run.model_copy(update={"approved_by": name, "approval_reason": why}).command(goes_on=True)


def _key(run: Run, certificate: str) -> str:
    return f"{run.folder_key}/certificates/{certificate}.json"


def _summary(run: Run, certificate: Certificate, path: str) -> CertificateSummary:
    return CertificateSummary(
        id=certificate.id, verdict=certificate.verdict, expires_at=certificate.expires_at,
        key=_key(run, certificate.id), file=path,
    )  # fmt: skip


def make_certificate(site: Site, run: Run) -> Certificate:
    """Gather what was planned, done and found."""
    folder, server = run.folder(site.fleet), run.server(site.fleet)
    plan = load_plan(site.store, run)
    snapshot = load_snapshot_manifest(site.store, plan.snapshot)
    judgement = load_judgement(folder)
    lanes = load_lanes(folder)
    now = datetime.now(UTC)
    records = load_records(site.store, run)
    with connect(server, site.admin) as session:
        subject, positions = _subject(session, server), _positions(session)
    return Certificate(
        id=f"{now:%Y%m%dT%H%M%S%fZ}-{run.shard}", issued_at=now,
        expires_at=now + timedelta(hours=site.fleet.certificates.valid_hours), relight_version=version("relight"),
        run_id=run.run_id, shard=run.shard, mode=run.mode, target=str(run.target), server=subject,
        plan_key=run.plan_key, plan_sha256=plan_digest(site, run),
        snapshot_id=snapshot.id, objects=tuple(_objects(site, plan, snapshot)),
        reaches=plan.reaches, data_loss_window_s=round((plan.made_at - plan.reaches).total_seconds(), 3),
        gtids=judgement.gtids, positions=positions, databases=lanes.databases, tables=tuple(load_verdicts(folder)),
        checks=tuple(load_checks(folder)), verdict=judgement.verdict,
        approved_by=run.approved_by if run.mode == "promote" else "",
        approval_reason=run.approval_reason if run.mode == "promote" else "",
        restore_seconds=elapsed(records, RESTORING), verification_seconds=elapsed(records, PROVING),
    )  # fmt: skip


def _subject(session: Session, server: Server) -> CertifiedServer:
    return CertifiedServer(
        name=server.name, host=server.host, port=server.port,
        server_uuid=str(session.value("SELECT @@server_uuid")), datadir=server.datadir,
    )  # fmt: skip


def _positions(session: Session) -> tuple[LanePosition, ...]:
    return tuple(
        LanePosition(lane=state.lane, segment=state.position.segment, transaction=state.position.transaction)
        for state in lane_progress.load_all(session)
    )


def _objects(site: Site, plan: Plan, snapshot: SnapshotManifest) -> Iterator[ObjectHash]:
    manifest = site.store.get(plan.snapshot.manifest_key)
    yield ObjectHash(key=plan.snapshot.manifest_key, sha256=plan.snapshot.manifest_sha256, size=len(manifest))
    for part in snapshot.parts:
        yield ObjectHash(key=part.key, sha256=part.sha256, size=part.size)
    for planned in plan.segments:
        segment = planned.segment
        yield ObjectHash(key=segment.key, sha256=segment.sha256, size=segment.stored_bytes)
