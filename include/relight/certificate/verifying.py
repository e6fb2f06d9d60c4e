"""Reading a certificate's file, and refusing it where it does not hold."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from relight.backups.manifest import Value
from relight.certificate.canonical import canonical, parsed
from relight.certificate.document import Certificate, Signature, SignedCertificate
from relight.certificate.signing import signed_bytes
from relight.errors import CertificateRefused, TargetError
from relight.keys import SIGNATURE_BYTES, decoded, fingerprint

_CLOCK_SKEW = timedelta(minutes=5)
"""How far the clock of the machine that signed may be ahead."""

_HINT = "a certificate counts as Relight wrote it, or not at all: get the file anew"

Read = TypeVar("Read", bound=Value)


class _Envelope(Value):
    """The file, before it is known whether to believe it."""

    certificate: dict[str, Any]
    signature: Signature


def verify(content: bytes, trusted: Collection[str], now: datetime) -> Certificate:
    """The certificate in a file, if it holds. :raises CertificateRefused: it does not, and says why."""
    return verify_file(content, trusted, now).certificate


def verify_file(content: bytes, trusted: Collection[str], now: datetime) -> SignedCertificate:
    """The same, together with the signature."""
    try:
        document = parsed(content)
        whole = canonical(document)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise _refused(f"it cannot be read as JSON: {why}") from None
    signature = _read(_Envelope, whole).signature
    _check_version(document["certificate"])
    _check_signature(document["certificate"], signature, trusted)
    file = _read(SignedCertificate, whole)
    _check_times(file.certificate, now)
    return file


def check_is_for(
    certificate: Certificate, *, run_id: str, shard: str, plan_sha256: str, server_uuid: str, datadir: Path
) -> None:
    """Refuse a certificate that speaks of something else.

    :raises CertificateRefused: with everything that differs.
    """
    pairs = {
        "run": (certificate.run_id, run_id),
        "shard": (certificate.shard, shard),
        "plan": (certificate.plan_sha256, plan_sha256),
        "server": (certificate.server.server_uuid, server_uuid),
        "data directory": (str(certificate.server.datadir), str(datadir)),
    }
    differing = [f"its {name} is {its}, not {wanted}" for name, (its, wanted) in pairs.items() if its != wanted]
    if differing:
        raise _refused(
            "; ".join(differing), on=certificate.id, hint="use the certificate that this very run got for this server"
        )


def _read(kind: type[Read], whole: bytes) -> Read:
    try:
        return kind.model_validate_json(whole)
    except ValidationError as error:
        raise _refused(f"it is not a certificate: {_first_mistake(error)}") from None
    except TargetError as error:  # what GTID sets raise, which is no ValueError
        raise _refused(f"it is not a certificate: {error}") from None


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    # The names of fields are the file's: whatever they are, they stay on one line of the terminal.
    place = place if place.isprintable() else ascii(place)
    said = first["msg"].removeprefix("Value error, ")
    return f"{place}: {said}" if place else said


def _check_version(certificate: dict[str, Any]) -> None:
    version = certificate.get("version")
    if type(version) is not int:
        raise _refused("it is not a certificate: it has no version")
    if version != 1:
        raise _refused(f"its version is {version}, and only 1 is known", hint="check it with a newer Relight")


def _check_signature(certificate: object, signature: Signature, trusted: Collection[str]) -> None:
    if signature.key not in trusted:
        raise _refused(
            f"it is signed by a key that is not trusted: {fingerprint(signature.key)}",
            hint="if that key is one of yours, add it to certificates.public_keys in the fleet file",
        )
    try:
        Ed25519PublicKey.from_public_bytes(decoded(signature.key)).verify(
            decoded(signature.value, SIGNATURE_BYTES), signed_bytes(certificate, signature)
        )
    except InvalidSignature:
        raise _refused(
            "the signature does not fit: it was changed after it was signed",
            hint="do not promote on it; get the file anew from where it was issued",
        ) from None


def _check_times(certificate: Certificate, now: datetime) -> None:
    if certificate.issued_at > now + _CLOCK_SKEW:
        raise _refused(
            f"it is not valid yet: it is issued at {_text(certificate.issued_at)}", on=certificate.id,
            hint="compare the clocks of this machine and the one that signed",
        )  # fmt: skip
    if certificate.expires_at <= now:
        raise _refused(
            f"it expired at {_text(certificate.expires_at)}", on=certificate.id,
            hint="have the server checked again, which gives a new one",
        )  # fmt: skip


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _refused(why: str, *, on: str = "", hint: str = _HINT) -> CertificateRefused:
    return CertificateRefused("the certificate is refused", on=on, why=why, hint=hint)
