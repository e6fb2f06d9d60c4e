"""The file says where the shard is; readers never see half of it, and nothing older replaces what is newer."""

from __future__ import annotations

import json
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relight.announcing.file import FileAnnouncer
from relight.announcing.settings import FileAnnounce
from relight.errors import AnnounceFailed
from tests.announcing.endpoints import endpoint


def announcer(path: Path) -> FileAnnouncer:
    return FileAnnouncer(FileAnnounce(kind="file", path=path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "found" / "shard-1.json"


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_it_says_everything_and_that_the_shard_is_open(path: Path) -> None:
    announcer(path).announce(endpoint())
    assert read(path) == {
        "shard": "shard-1", "role": "source", "server": "shop-1a", "host": "shop-1a.example.net", "port": 3306,
        "server_uuid": "3e11fa47-71ca-11e1-9e33-c80aa9429562", "epoch": 3,
        "gtids": "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-23", "at": "2026-11-24T03:04:05Z", "open": True,
    }  # fmt: skip


def test_withdrawn_it_says_the_same_but_that_it_is_closed(path: Path) -> None:
    one = announcer(path)
    one.announce(endpoint())
    before = read(path)
    for _ in range(2):
        one.withdraw(endpoint())
        assert read(path) == {**before, "open": False}
    one.announce(endpoint())
    assert read(path) == before


def test_what_was_never_announced_can_be_withdrawn(path: Path) -> None:
    announcer(path).withdraw(endpoint())
    assert read(path)["open"] is False


@pytest.mark.parametrize("again", ["announce", "withdraw"])
def test_a_newer_announcement_is_not_overwritten(path: Path, again: str) -> None:
    one = announcer(path)
    one.announce(endpoint(4, host="new.example.net"))
    with pytest.raises(AnnounceFailed, match="epoch 4 of shard-1 is published, this is epoch 3") as refused:
        getattr(one, again)(endpoint(3))
    assert str(path) in refused.value.on
    assert refused.value.hint
    assert (read(path)["host"], read(path)["open"]) == ("new.example.net", True)


def test_an_older_or_equal_announcement_is_replaced(path: Path) -> None:
    one = announcer(path)
    for epoch in (0, 3, 3, 7):
        one.announce(endpoint(epoch))
    assert read(path)["epoch"] == 7


def test_another_shard_is_not_overwritten(path: Path) -> None:
    announcer(path).announce(endpoint())
    with pytest.raises(AnnounceFailed, match="it holds shard-1, this is shard-2"):
        announcer(path).announce(endpoint(9, shard="shard-2"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"shard": "shard-1", "epoch": "3"}', "\xff"])
def test_what_is_no_announcement_is_not_overwritten(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AnnounceFailed, match="a file that is no announcement is not overwritten"):
        announcer(path).announce(endpoint())
    assert path.read_bytes() == text.encode("latin-1")


def test_a_reader_sees_the_whole_file_however_often_it_changes(path: Path) -> None:
    one, over, seen = announcer(path), threading.Event(), set()
    one.announce(endpoint())

    def look() -> int:
        count = 0
        while not over.is_set() or not count:
            found = read(path)
            assert len(found) == 10
            seen.add(found["open"])
            count += 1
        return count

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(look) for _ in range(2)]
        try:
            for _ in range(100):
                one.withdraw(endpoint(gtids="x" * 20_000))
                one.announce(endpoint())
        finally:
            over.set()
        assert all(reader.result() > 10 for reader in readers)
    assert seen == {True, False}


def test_of_many_at_once_the_newest_stays(path: Path) -> None:
    epochs = random.sample(range(1000), 40)

    def try_it(epoch: int) -> bool:
        try:
            announcer(path).announce(endpoint(epoch))
        except AnnounceFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(try_it, epochs))
    assert read(path)["epoch"] == max(epochs)
    assert done[epochs.index(max(epochs))]


def test_nothing_is_left_lying_around_but_the_lock(path: Path) -> None:
    announcer(path).announce(endpoint())
    assert sorted(one.name for one in path.parent.iterdir()) == [".shard-1.json.lock", "shard-1.json"]


def test_where_it_cannot_write_it_says_which_file_and_why(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("a file, not a folder")
    with pytest.raises(AnnounceFailed, match="the file cannot be written") as failed:
        announcer(tmp_path / "full" / "shard-1.json").announce(endpoint())
    assert "full/shard-1.json" in failed.value.on
    assert failed.value.why == os.strerror(20) or failed.value.why == os.strerror(17)
