"""Which shards are down: of which neither the source nor a replica answers. Asked directly, many side by side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from relight.fleet import Server, Shard

SECONDS = 3.0
AT_ONCE = 400


def down_among(shards: Iterable[Shard], *, seconds: float = SECONDS) -> list[Shard]:
    """The shards of which no server answers within ``seconds``, in the order that they came in.

    A server answers if it greets whoever connects, as MySQL does before it asks for a login: one that refuses
    a login, is full or is closed to applications is alive. The guard looks again on the machine itself.
    """
    given = list(shards)
    return asyncio.run(_down_among(given, seconds))


async def _down_among(shards: list[Shard], seconds: float) -> list[Shard]:
    room = asyncio.Semaphore(AT_ONCE)
    alive = await asyncio.gather(*(_is_alive(shard, room, seconds) for shard in shards))
    return [shard for shard, is_alive in zip(shards, alive, strict=True) if not is_alive]


async def _is_alive(shard: Shard, room: asyncio.Semaphore, seconds: float) -> bool:
    return any(await asyncio.gather(*(_answers(server, room, seconds) for server in shard.servers)))


async def _answers(server: Server, room: asyncio.Semaphore, seconds: float) -> bool:
    async with room:
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(server.host, server.port)
                try:
                    return bool(await reader.read(1))
                finally:
                    writer.close()
                    with contextlib.suppress(OSError):  # that it hangs up first is no matter
                        await writer.wait_closed()
        except OSError:  # also TimeoutError
            return False
