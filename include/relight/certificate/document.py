"""What stands in a promotion certificate, and the file that it is signed in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from relight.backups.manifest import GtidField, Value
from relight.keys import SIGNATURE_BYTES, PublicKey, decoded
from relight.run_files import CheckResult, TableVerdict, Verdict

SCHEMA_FILE = Path(__file__).with_name("schema-v1.json")
"""The published form of the file; a test compares it with the model."""


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC)


def _signature(text: str) -> str:
    decoded(text, SIGNATURE_BYTES)
    return text


UtcTime = Annotated[AwareDatetime, AfterValidator(_utc)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Described(Value):
    """Its docstrings stand in the published schema too."""

    model_config = ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)


class CertifiedServer(_Described):
    """The server that was checked, and no other."""

    name: str
    host: str
    port: int
    server_uuid: str
    datadir: Path


class ObjectHash(_Described):
    """One object of the store that the server was rebuilt from."""

    key: str
    sha256: Sha256
    size: int = Field(ge=0)


class LanePosition(_Described):
    """The last transaction that a lane has replayed."""

    lane: str
    segment: int
    """The segment's number in the plan."""
    transaction: int
    """The transaction's number in the segment."""


class Certificate(_Described):
    """That a rebuilt server is what snapshot and logs say, as far as it was checked.

    Cannot be made where something differs, nor, unless it is a rehearsal's, without an approver where something is
    inconclusive.
    """

    version: Literal[1] = 1
    id: str = Field(min_length=1)
    issued_at: UtcTime
    expires_at: UtcTime
    relight_version: str
    run_id: str
    shard: str
    mode: Literal["promote", "rehearse"]
    target: str
    """The point that was asked for, as it is written on the command line."""
    server: CertifiedServer
    plan_key: str
    plan_sha256: Sha256
    snapshot_id: str
    objects: tuple[ObjectHash, ...]
    """The snapshot's manifest, its parts, and the segments."""
    reaches: UtcTime
    """The point in time that the server shows."""
    data_loss_window_s: FiniteFloat
    """Seconds from the last transaction that was brought back to the moment the plan was made."""
    gtids: GtidField
    """What the server has executed."""
    positions: tuple[LanePosition, ...]
    databases: tuple[str, ...]
    tables: tuple[TableVerdict, ...]
    checks: tuple[CheckResult, ...]
    verdict: Verdict = Field(json_schema_extra={"enum": ["match", "inconclusive"]})
    approved_by: str
    """Who accepted what is inconclusive, or agreed to a promotion of a shard of whose tier every one is asked for;
    empty where nobody had to, as in a rehearsal."""
    approval_reason: str
    """Why, in that person's words."""
    restore_seconds: FiniteFloat
    verification_seconds: FiniteFloat

    @model_validator(mode="after")
    def _is_earned(self) -> Certificate:
        parts = {*(one.verdict for one in self.tables), *(one.verdict for one in self.checks)}
        mistakes = []
        if "mismatch" in {self.verdict, *parts}:
            mistakes.append("where something differs there is no certificate")
        if self.verdict == "match" and "inconclusive" in parts:
            mistakes.append("the verdict is match although something is inconclusive")
        if self.mode == "promote" and self.verdict == "inconclusive" and not self.approved_by.strip():
            mistakes.append("an inconclusive verdict needs somebody who approved of it")
        if self.expires_at <= self.issued_at:
            mistakes.append("it expires before it is issued")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


class Signature(_Described):
    """Who signed. The signature covers the certificate and everything here but itself."""

    algorithm: Literal["Ed25519"]
    key: PublicKey
    """The public key in base64."""
    name: str
    """What its owner calls the key."""
    value: Annotated[str, AfterValidator(_signature)]
    """The signature in base64."""


class SignedCertificate(_Described):
    """A promotion certificate of Relight, as a file."""

    certificate: Certificate
    signature: Signature


def schema() -> str:
    """The JSON schema of the file, as it is published."""
    described = SignedCertificate.model_json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**head, **described}, indent=2) + "\n"
