"""What gives a user variable the value that a statement of the log has read from it."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_STRING, _REAL, _INT, _DECIMAL = 0, 1, 2, 4
_UNSIGNED = 1
_DIGITS = 9
"""So many decimal digits are kept in four bytes."""
_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes that so many digits take."""


def assignment(body: memoryview, collations: Mapping[int, tuple[str, str]]) -> bytes:
    """The assignment, for a SET statement, that a USER_VAR event stands for.

    :raises KeyError: an unknown type or collation. struct.error, IndexError: the event is broken.
    """
    (length,) = struct.unpack_from("<I", body)
    name = b"@`" + bytes(body[4 : 4 + length]).replace(b"`", b"``") + b"`"
    position = 4 + length
    if body[position]:
        return name + b"=NULL"
    kind, collation, size = struct.unpack_from("<BII", body, position + 1)
    start = position + 10
    value = bytes(body[start : start + size])
    flags = body[start + size] if len(body) > start + size else 0
    return name + b"=" + _literal(kind, value, collations.get(collation), bool(flags & _UNSIGNED))


def _literal(kind: int, value: bytes, collation: tuple[str, str] | None, unsigned: bool) -> bytes:
    if kind == _STRING:
        if collation is None:
            raise KeyError("a collation that this server does not know")
        charset, order = collation
        return f"_{charset} x'{value.hex()}' COLLATE `{order}`".encode()
    if kind == _REAL:
        (number,) = struct.unpack("<d", value)
        return b"%.17e" % float(number)
    if kind == _INT:
        return b"%d" % int.from_bytes(value, "little", signed=not unsigned)
    if kind == _DECIMAL:
        return decimal(value[0], value[1], value[2:]).encode()
    raise KeyError(f"a user variable of type {kind}")


def decimal(precision: int, scale: int, value: bytes) -> str:
    """A DECIMAL from its binary form, with the point that keeps a literal from being an integer."""
    negative = not value[0] & 0x80
    # The sign's bit is turned over, and in a negative number all others too.
    raw = bytes([value[0] ^ 0x80, *value[1:]])
    if negative:
        raw = bytes(byte ^ 0xFF for byte in raw)
    whole = precision - scale
    first, rest = whole % _DIGITS, scale % _DIGITS
    groups = [first] * bool(first) + [_DIGITS] * (whole // _DIGITS + scale // _DIGITS) + [rest] * bool(rest)
    digits, position = "", 0
    for group in groups:
        size = _BYTES[group]
        digits += str(int.from_bytes(raw[position : position + size], "big")).rjust(group, "0")
        position += size
    return f"{'-' if negative else ''}{digits[:whole] or '0'}.{digits[whole:]}"
