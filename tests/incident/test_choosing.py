"""Which shards are meant, what the incident is called, and who is down."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from relight.errors import FleetError
from relight.fleet import Shard
from relight.incident.asking import down_among
from relight.incident.choosing import Wanted, candidates
from relight.incident.naming import incident_id, run_id
from relight.lab.addresses import PORT, free_addresses
from tests.airflow.fleets import fleet, server

FLEET = fleet("shop-1", "shop-2", "cart-1")


def chosen(**wanted: object) -> list[str]:
    return [shard.name for shard in candidates(FLEET, Wanted.model_validate(wanted))]


def test_what_is_said_must_all_hold() -> None:
    assert chosen(names=("cart-1", "shop-2")) == ["shop-2", "cart-1"]
    assert chosen(pattern="shop-*") == ["shop-1", "shop-2"]
    assert chosen(pattern="shop-*", names=("cart-1", "shop-2")) == ["shop-2"]
    assert chosen(tier=1) == chosen(down=True) == ["shop-1", "shop-2", "cart-1"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "no shards are chosen"), ({"names": ("shop-9",)}, "shop-9"), ({"tier": 7}, "no shard is meant"),
        ({"pattern": "SHOP-*"}, "like SHOP"),
    ],
)  # fmt: skip
def test_a_choice_of_nothing_is_refused_in_words(wanted: dict[str, object], said: str) -> None:
    with pytest.raises(FleetError, match=said):
        chosen(**wanted)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("INC-4711", "INC-4711"), ("  power loss, hall 3 ", "power-loss-hall-3"), ("a__b", "a_b"), ("né/../x", "n-..-x"),
    ],
)  # fmt: skip
def test_the_same_words_give_the_same_name(text: str, made: str) -> None:
    assert incident_id(text) == made
    assert incident_id(made) == made


def test_an_incident_without_a_usable_name_is_refused() -> None:
    with pytest.raises(FleetError, match="needs a name"):
        incident_id(" -- ")
    assert len(run_id(incident_id("x" * 300), "s" * 63)) < 200, "as long as a run's folder may be called"


def listening(greeting: bytes) -> socket.socket:
    """Something that takes connections and says that; nothing, where it is empty."""
    waiting = socket.create_server((free_addresses(1)[0], PORT))

    def serve() -> None:
        kept = []
        while True:
            try:
                kept.append(waiting.accept()[0])
            except OSError:
                return
            kept[-1].sendall(greeting)

    threading.Thread(target=serve, daemon=True).start()
    return waiting


def test_a_shard_is_down_when_neither_its_source_nor_a_replica_answers() -> None:
    (nobody,) = free_addresses(1)
    with listening(b"J") as alive, listening(b"") as hangs:
        dead = Shard(name="dead", source=server("d-a", nobody), replicas=(server("d-b", hangs.getsockname()[0]),))
        half = Shard(name="half", source=server("h-a", nobody), replicas=(server("h-b", alive.getsockname()[0]),))
        began = time.monotonic()
        assert [shard.name for shard in down_among([dead, half], seconds=0.5)] == ["dead"]
        assert time.monotonic() - began < 5


def test_thousands_are_asked_in_seconds() -> None:
    with listening(b"") as hangs:
        one = server("x", hangs.getsockname()[0])
        shards = [Shard(name=f"s-{n}", source=one) for n in range(800)]
        began = time.monotonic()
        assert len(down_among(shards, seconds=0.5)) == 800
        assert time.monotonic() - began < 20
