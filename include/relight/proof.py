"""What stands between a rebuilt server and its promotion: a certificate that holds for exactly this server and plan."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from relight.certificate.document import Certificate
from relight.certificate.signing import SigningKey, trusted_keys
from relight.certificate.verifying import check_is_for, verify
from relight.errors import CertificateRefused
from relight.run_files import certificate_path
from relight.server.session import Session
from relight.site import Run, Site
from relight.store.base import MOST_MANIFEST


def plan_digest(site: Site, run: Run) -> str:
    """SHA-256 of the plan as it is stored."""
    return hashlib.sha256(site.store.get(run.plan_key, most=MOST_MANIFEST)).hexdigest()


def keys_trusted_here(site: Site) -> frozenset[str]:
    """The public keys whose certificates count at this site. :raises FleetError: it has no key of its own."""
    return trusted_keys(site.fleet.certificates, SigningKey.of(site.credentials.login("certificate")))


def check_certificate(site: Site, run: Run, session: Session) -> Certificate:
    """The certificate of this run, if it holds for the server of the session.

    :raises CertificateRefused: there is none, it was tampered with, has expired, or is another server's or plan's.
    """
    path = certificate_path(run.folder(site.fleet))
    if not path.exists():
        raise CertificateRefused(
            "the server has no certificate", on=run.shard, why="the shard was not validated, or did not pass",
            hint="the server stays closed; run validation, judgement and certification first",
        )  # fmt: skip
    certificate = verify(path.read_bytes(), keys_trusted_here(site), datetime.now(UTC))
    check_is_for(
        certificate, run_id=run.run_id, shard=run.shard, plan_sha256=plan_digest(site, run),
        server_uuid=str(session.value("SELECT @@server_uuid")), datadir=run.server(site.fleet).datadir,
    )  # fmt: skip
    return certificate
