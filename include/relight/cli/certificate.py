"""``relight certificate``: check promotion certificates, anywhere and offline; make the key that signs them."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from relight.certificate.document import Certificate, SignedCertificate, schema
from relight.certificate.signing import SigningKey, own_key, trusted_keys
from relight.certificate.verifying import verify_file
from relight.cli.context import fleet_if_any, readable_errors
from relight.cli.tables import console
from relight.errors import CertificateRefused, FleetError, command_line
from relight.fleet import CertificateSettings
from relight.keys import decoded, fingerprint
from relight.run_files import CheckResult

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Check promotion certificates, and make the key that signs them."
)

_SHOWN = 10
"""More than this of anything does not help on one screen; --json has all."""


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The certificate's file; - for standard input.", show_default=False)],
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="Trust this public key and no other. May be repeated. Default: the fleet's keys and one's own."
        ),
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", help="The fleet file. Default: RELIGHT_FLEET, else the lab, else none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON.")] = False,
) -> None:
    """Check that a certificate is signed by a trusted key, unchanged and not expired, and show what it says."""
    with readable_errors():
        trusted = _given(key) if key else _known(fleet)
        signed = verify_file(_content(file), trusted, datetime.now(UTC))
    if as_json:
        print(signed.model_dump_json(indent=1))
    else:
        _show(signed)


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of a certificate's file."""
    print(schema(), end="")


@app.command("key")
def make_key(
    name: Annotated[str, typer.Option(help="What to call the key; stands in every certificate.")] = "relight",
) -> None:
    """Make a new signing key. It is printed and kept nowhere."""
    with readable_errors():
        made = SigningKey.new(name)
    print("# where certificates are signed:")
    print(f"RELIGHT_CERTIFICATE_USER={shlex.quote(made.login.user)}")
    print(f"RELIGHT_CERTIFICATE_PASSWORD={made.login.password}")
    print("# in the fleet file, so that they count everywhere:")
    print(f"#   certificates: {{public_keys: ['{made.public}']}}")
    print(
        "keep RELIGHT_CERTIFICATE_PASSWORD secret: whoever has it can sign certificates. It is shown only now.",
        file=sys.stderr,
    )


def _given(keys: list[str]) -> frozenset[str]:
    for key in keys:
        try:
            decoded(key)
        except ValueError as error:
            raise FleetError(
                "not a public key",
                on="--key",
                why=str(error),
                hint=f"it is printed, with the secret, by: {command_line('certificate', 'key')}",
            ) from None
    return frozenset(keys)


def _known(fleet: Path | None) -> frozenset[str]:
    """The keys of the fleet file, where one is found, and one's own, where there is one."""
    found, credentials = fleet_if_any(fleet)
    trusted = trusted_keys(found.certificates if found else CertificateSettings(), own_key(credentials))
    if not trusted:
        raise CertificateRefused(
            "the certificate is not checked", why="no key is known that it could be signed with",
            hint="name the public key with --key, or in the fleet file under certificates.public_keys",
        )  # fmt: skip
    return trusted


def _content(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateRefused(
            "the certificate cannot be read", on=str(file), why=error.strerror or str(error),
            hint="name its file, or - for standard input",
        ) from None  # fmt: skip


def _show(signed: SignedCertificate) -> None:
    certificate, show = signed.certificate, console().print
    facts = Table(box=None, show_header=False)
    for name, value in _facts(signed):
        facts.add_row(name, value)
    show(facts)
    checks = Table("check", "done on", "looked at", "verdict", "findings", "seconds", box=None)
    for row in _check_rows(certificate.checks):
        checks.add_row(*row)
    show(checks)
    for line in _doubts(certificate):
        show(line, soft_wrap=True)


def _facts(signed: SignedCertificate) -> list[tuple[str, str]]:
    one, signature = signed.certificate, signed.signature
    tables = Counter(table.verdict for table in one.tables)
    server = one.server
    return [
        ("certificate", f"{one.id}, of {_text(one.issued_at)}, by Relight {one.relight_version}"),
        ("verdict", one.verdict),
        ("shard", one.shard),
        ("run", f"{one.run_id}, {'to be promoted' if one.mode == 'promote' else 'a rehearsal, never promoted'}"),
        ("server", f"{server.name} at {server.host}:{server.port}, {server.server_uuid}, {server.datadir}"),
        ("restored to", f"{_text(one.reaches)} ({one.target}), {one.data_loss_window_s:.1f} s are lost"),
        ("from", f"{one.snapshot_id}, {len(one.objects):,} objects"),
        ("tables", ", ".join(f"{tables[verdict]:,} {verdict}" for verdict in sorted(tables)) or "none"),
        ("compared", f"{sum(table.compared for table in one.tables):,} rows with what the log says, column by column"),
        ("took", f"{one.restore_seconds:.1f} s to restore, {one.verification_seconds:.1f} s to check"),
        ("approved by", f"{one.approved_by}: {one.approval_reason}" if one.approved_by else "nobody had to"),
        ("valid until", _text(one.expires_at)),
        ("signed by", f"{signature.name}, {fingerprint(signature.key)}"),
    ]


def _check_rows(checks: Iterable[CheckResult]) -> list[list[str]]:
    """One row for each kind of check, however often it was done."""
    kinds: dict[str, list[CheckResult]] = {}
    for one in checks:
        kinds.setdefault(one.check, []).append(one)
    return [
        [
            kind, done[0].on if len(done) == 1 else f"{len(done):,}", f"{sum(one.checked for one in done):,}",
            "inconclusive" if any(one.verdict == "inconclusive" for one in done) else "match",
            f"{sum(len(one.findings) for one in done):,}", f"{sum(one.seconds for one in done):.1f}",
        ]
        for kind, done in kinds.items()
    ]  # fmt: skip


def _doubts(certificate: Certificate) -> list[str]:
    """What is inconclusive and what was not looked at, as far as it fits."""
    found = [f"{t.database}.{t.table}: {t.reason}" for t in certificate.tables if t.verdict == "inconclusive"]
    known = set(found)  # the check of row counts repeats them
    for one in certificate.checks:
        found += [f"{one.check} {one.on}: {text}" for text in one.findings if text not in known]
    for one in certificate.checks:
        found += [f"{one.check} {one.on}: {text}" for text in one.notes]
    more = len(found) - _SHOWN
    return found[:_SHOWN] + ([f"and {more:,} more; --json lists all"] if more > 0 else [])


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
