"""Key material as text."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated

from pydantic import AfterValidator

KEY_BYTES = 32
"""The length of an Ed25519 key, secret or public."""
SIGNATURE_BYTES = 64


def encoded(content: bytes) -> str:
    """Base64, as keys and signatures are written."""
    return base64.b64encode(content).decode("ascii")


def decoded(text: str, size: int = KEY_BYTES) -> bytes:
    """The bytes behind base64.

    :raises ValueError: it is not the one usual way to write exactly so many bytes. Does not repeat the
        text, which may be a secret.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    # Base64 has spare bits: texts that differ can mean the same bytes. Only one of them is taken.
    if len(content) != size or encoded(content) != text:
        raise ValueError(f"not the base64 of {size} bytes")
    return content


def _public(text: str) -> str:
    try:
        decoded(text)
    except ValueError as error:
        raise ValueError(f"not a public key: {error}") from None
    return text


PublicKey = Annotated[str, AfterValidator(_public)]
"""An Ed25519 public key in base64. Equal keys are equal texts."""


def fingerprint(public_key: str) -> str:
    """A public key as it is shown to people, in the form of ``ssh-keygen -l``."""
    digest = hashlib.sha256(decoded(public_key)).digest()
    return "SHA256:" + encoded(digest).rstrip("=")
