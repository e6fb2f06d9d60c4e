"""Each server of the lab has an address to itself, and there MySQL's own port."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import sys

import pytest

from relight.errors import LabError
from relight.lab import addresses
from relight.lab.addresses import PORT, free_addresses
from relight.lab.ports import free_ports, is_free


def test_no_two_servers_share_an_address_and_none_is_the_one_that_is_meant_when_none_is_named() -> None:
    found = [*free_addresses(200), *free_addresses(200)]
    assert len(set(found)) == 400
    for address in map(ipaddress.ip_address, found):
        assert address.is_loopback
        assert address not in ipaddress.ip_network("127.0.0.0/12")


def test_two_processes_find_different_ones() -> None:
    ask = "from relight.lab.addresses import free_addresses; print(*free_addresses(100))"
    found = [subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True) for _ in range(2)]
    first, second = (set(done.stdout.split()) for done in found)
    assert len(first) == len(second) == 100
    assert not first & second


def test_an_address_where_somebody_listens_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken,) = free_addresses(1)
    first, second = (int(part) for part in taken.split(".")[1:3])
    with socket.create_server((taken, PORT)):
        assert not is_free(PORT, taken)
        monkeypatch.setattr(addresses, "_given", set())
        drawn = iter([127, first, second, int(taken.split(".")[3]), 127, 16, 1, 1])
        monkeypatch.setattr(addresses.random, "randint", lambda low, high: next(drawn))
        assert free_addresses(1) == ["127.16.1.1"]


def test_a_port_that_is_taken_on_all_addresses_is_said_and_not_waited_for() -> None:
    (port,) = free_ports(1)
    with socket.create_server(("0.0.0.0", port)), pytest.raises(LabError, match=f"port {port}.*on all addresses"):
        free_addresses(1, port=port)
