"""Signing certificates with Ed25519.

What is signed: a line that says what it is for, a line that says by whom (the signature's fields without
its value), and the certificate; the last two as canonical JSON. So a file may be laid out anew, but no
value of it can be changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relight.certificate.canonical import canonical, parsed
from relight.certificate.document import Certificate, Signature, SignedCertificate
from relight.credentials import Credentials, Login
from relight.errors import FleetError, command_line
from relight.fleet import CertificateSettings
from relight.keys import SIGNATURE_BYTES, decoded, encoded

_PURPOSE = b"relight-certificate-v1"
"""Keeps what the key signs for anything else from being taken for a certificate."""

_LONGEST_NAME = 64


@dataclass(frozen=True)
class SigningKey:
    """A secret key and what its owner calls it. Neither ``repr`` nor errors show the secret."""

    name: str
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def of(cls, login: Login) -> SigningKey:
        """The key that a login holds: its name, and in base64 its seed.

        :raises FleetError: it holds none.
        """
        try:
            seed = decoded(login.password)
        except ValueError as error:
            raise _malformed(f"its password is {error}") from None
        # A name stands in every certificate; a secret that was put in its place would too.
        if not login.user.strip() or not login.user.isprintable() or len(login.user) > _LONGEST_NAME:
            raise _malformed(f"its user name is not a text of up to {_LONGEST_NAME} letters")
        if _is_key(login.user):
            raise _malformed("its user name is a key, which belongs in the password")
        return cls(login.user, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def new(cls, name: str) -> SigningKey:
        """A new random key. :raises FleetError: the name is none."""
        return cls.of(Login(name, encoded(Ed25519PrivateKey.generate().private_bytes_raw())))

    @property
    def login(self) -> Login:
        """The key as credentials hold it."""
        return Login(self.name, encoded(self._private.private_bytes_raw()))

    @property
    def public(self) -> str:
        """The public key, in base64."""
        return encoded(self._private.public_key().public_bytes_raw())

    def sign(self, certificate: Certificate) -> bytes:
        """The file of the signed certificate."""
        text = certificate.model_dump_json()
        # A copy of a certificate with values changed was never checked: what would not be read is not signed.
        checked = Certificate.model_validate_json(text)
        unsigned = Signature(
            algorithm="Ed25519", key=self.public, name=self.name, value=encoded(bytes(SIGNATURE_BYTES))
        )
        value = self._private.sign(signed_bytes(parsed(text.encode("utf-8")), unsigned))
        file = SignedCertificate(certificate=checked, signature=unsigned.model_copy(update={"value": encoded(value)}))
        return file.model_dump_json(indent=1).encode("utf-8") + b"\n"


def own_key(credentials: Credentials) -> SigningKey | None:
    """The key that is signed with here, None where there is none. :raises FleetError: it is malformed."""
    try:
        login = credentials.login("certificate")
    except FleetError:
        return None
    return SigningKey.of(login)


def trusted_keys(settings: CertificateSettings, own: SigningKey | None = None) -> frozenset[str]:
    """The public keys whose certificates count: those of the fleet file, and one's own."""
    return frozenset(settings.public_keys) | ({own.public} if own else set())


def signed_bytes(certificate: object, signature: Signature) -> bytes:
    """What the signature's value covers, for a certificate as it was parsed."""
    signer = signature.model_dump(exclude={"value"})
    return b"\n".join([_PURPOSE, canonical(signer), canonical(certificate)])


def _is_key(text: str) -> bool:
    try:
        decoded(text)
    except ValueError:
        return False
    return True


def _malformed(why: str) -> FleetError:
    return FleetError(
        "the signing key is malformed",
        on="certificate",
        why=why,
        hint=f"make a new one with: {command_line('certificate', 'key')}",
    )
