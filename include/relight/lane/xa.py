"""What the XA statements of a log mean. A server writes them in one form, whatever its client sent."""

from __future__ import annotations

import re
from collections.abc import Sequence

from relight.accounting import Settle

_XA = re.compile(
    rb"XA\s+(START|BEGIN|END|PREPARE|COMMIT|ROLLBACK)\s+(.*?)(\s+ONE\s+PHASE)?\s*$", re.IGNORECASE | re.DOTALL
)


def xid_of(text: bytes) -> str:
    """The name of the transaction that an XA statement is about; empty if it is another statement."""
    found = _XA.match(text)
    return found[2].decode("ascii", "replace").replace(" ", "") if found else ""


def brackets_one_phase(text: bytes, texts: Sequence[bytes]) -> bool:
    """Whether it is XA START or XA END around what is then committed in one phase: like BEGIN and COMMIT.

    ``texts``: all statements of a transaction that is not prepared for another one.
    """
    found = _XA.match(text)
    if found is None or texts[0][:3].upper() != b"XA " or len(texts) < 2:
        return False
    return found[1].upper() in (b"START", b"BEGIN", b"END") or bool(found[3])


def undoes(text: bytes) -> bool:
    """Whether it rolls back all of the transaction that it ends, with XA or without."""
    found = _XA.match(text)
    return text.upper() == b"ROLLBACK" or (found is not None and found[1].upper() == b"ROLLBACK")


def settles(text: bytes) -> Settle | None:
    """What becomes of a prepared transaction, if the statement decides it."""
    found = _XA.match(text)
    if found is None or found[1].upper() not in (b"COMMIT", b"ROLLBACK"):
        return None
    return Settle(xid_of(text), found[1].upper() == b"COMMIT")
