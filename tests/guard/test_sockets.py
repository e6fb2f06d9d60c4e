"""Addresses as the kernel writes them, and connections of real sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from relight.guard.sockets import _address, answers, ends_of


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0100007F:0CEA", ("127.0.0.1", "3306")), ("00000000000000000000000001000000:0CEA", ("[::1]", "3306")),
        ("0000000000000000FFFF00000100007F:0050", ("127.0.0.1", "80")),
    ],
)  # fmt: skip
def test_addresses_are_read(text: str, meant: tuple[str, str]) -> None:
    assert _address(text) == meant


def test_who_listens_and_who_is_connected_is_told_apart(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.create_connection(tcp.getsockname()) as out,
        tcp.accept()[0] as accepted,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        port = tcp.getsockname()[1]
        ends = ends_of(os.getpid(), {os.fstat(one.fileno()).st_ino for one in (tcp, accepted, unix)})
        assert (ends.ports, ends.paths) == ([f"127.0.0.1:{port}"], [str(tmp_path / "s")])
        assert (dict(ends.clients), dict(ends.servers)) == ({"127.0.0.1": 1}, {})
        ends = ends_of(os.getpid(), {os.fstat(out.fileno()).st_ino})
        assert (dict(ends.clients), dict(ends.servers)) == ({}, {f"127.0.0.1:{port}": 1})
        assert not ends.listens
        assert answers(tmp_path / "s")
    assert not answers(tmp_path / "s")
    assert not answers(tmp_path / "nowhere" / "s")
