"""Unpacking what hostile hands have made: nothing outside the directory is ever made, cut or written to."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.backups.manifest import Extent, Part, SnapshotManifest
from relight.backups.packing import pack, upload_part
from relight.beneath import Beneath
from relight.errors import ObjectCorrupt, ServerError
from relight.fleet import StoreSettings
from relight.lab.s3 import S3Server
from relight.progress import Silent
from relight.store.base import Store
from relight.store.s3 import S3Store, open_store
from relight.unpacking import unpack
from tests.backups.test_distrust import HOSTILE_NAMES, snapshot

BELOW = ("incoming", "run-1")


@pytest.fixture
def store(store_settings: StoreSettings, s3_server: S3Server) -> S3Store:
    return open_store(store_settings, s3_server.login)


def stored(store: Store, files: dict[str, bytes], folder: Path, *, part_bytes: int = 1000) -> SnapshotManifest:
    """A snapshot of these files, really in the store."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    sizes = [(name, len(content)) for name, content in files.items()]
    parts = [
        upload_part(store, f"p/{number}.zst", folder, extents, lambda _moved: None)
        for number, extents in enumerate(pack(sizes, part_bytes))
    ]
    directories = sorted({"/".join(name.split("/")[:n]) for name in files for n in range(1, name.count("/") + 1)})
    honest = {**snapshot(), "files": sizes, "directories": directories, "parts": parts}
    return SnapshotManifest.model_validate(
        honest | {"data_bytes": sum(size for _, size in sizes), "stored_bytes": sum(part.size for part in parts)}
    )


def lying(manifest: SnapshotManifest, **values: object) -> SnapshotManifest:
    """With values that no validation has seen: what is relied on is how files are opened."""
    return manifest.model_copy(update=values)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


def test_files_come_back_as_they_were_and_only_they(store: Store, tmp_path: Path) -> None:
    files = {"ibdata1": os.urandom(5000), "d/t.ibd": os.urandom(1234), "d/e/u.ibd": b"x", "empty": b""}
    manifest = stored(store, files, tmp_path / "made")
    left_over = tmp_path / "work" / "incoming" / "run-1"
    left_over.mkdir(parents=True)
    (left_over / "auto.cnf").write_text("of whom?")
    (left_over / "ibdata1").mkdir()
    unpack(store, manifest, tmp_path / "work", BELOW, Silent(), parallel=3)
    assert contents(left_over) == files
    assert left_over.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("what", HOSTILE_NAMES)
@pytest.mark.parametrize("of", ["a file", "a directory", "an extent"])
def test_no_name_leads_out_of_the_directory_even_unseen_by_validation(
    store: Store, tmp_path: Path, what: str, of: str
) -> None:
    path = HOSTILE_NAMES[what].replace("/abs/", f"{tmp_path}/abs/")
    manifest = stored(store, {"a": b"12345"}, tmp_path / "made")
    (tmp_path / "abs").mkdir()
    (tmp_path / "work").mkdir()
    for victim in (tmp_path / "x", tmp_path / "work" / "x", tmp_path / "abs" / "x"):
        victim.write_bytes(b"untouched")
    extent = Extent.model_construct(path=path, offset=0, length=5)
    parts = (manifest.parts[0].model_copy(update={"extents": (extent,)}),)
    hostile = {
        "a file": lying(manifest, files=((path, 5),), parts=parts), "a directory": lying(manifest, directories=(path,)),
        "an extent": lying(manifest, parts=parts),
    }[of]  # fmt: skip
    before = contents(tmp_path)
    with suppress(ServerError):  # some are names like any other
        unpack(store, hostile, tmp_path / "work", BELOW, Silent(), parallel=1)
    inside = str(Path("work", *BELOW)) + "/"
    assert {name: data for name, data in contents(tmp_path).items() if not name.startswith(inside)} == before


@pytest.mark.parametrize("at", ["work/incoming", "work/incoming/run-1"])
def test_a_link_where_the_directory_belongs_is_not_followed(store: Store, tmp_path: Path, at: str) -> None:
    manifest = stored(store, {"a": b"12345"}, tmp_path / "made")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "run-1").mkdir(parents=True)
    (elsewhere / "run-1" / "a").write_bytes(b"untouched")
    (tmp_path / at).parent.mkdir(parents=True)
    (tmp_path / at).symlink_to(elsewhere if at.endswith("incoming") else elsewhere / "run-1")
    with suppress(ServerError):  # or it is replaced
        unpack(store, manifest, tmp_path / "work", BELOW, Silent(), parallel=1)
    assert contents(elsewhere) == {"run-1/a": b"untouched"}


@pytest.mark.parametrize("kind", ["link to a file", "hard link", "link to a directory", "pipe", "directory"])
def test_what_another_process_puts_in_the_way_meanwhile_is_not_written_through(
    store: Store, tmp_path: Path, kind: str
) -> None:
    """The store plays the other process: it acts while the part is on its way."""
    manifest = stored(store, {"d/a": b"12345"}, tmp_path / "made")
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "a").write_bytes(b"untouched")
    folder = tmp_path.joinpath("work", *BELOW) / "d"

    class Meanwhile:
        def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
            shutil.rmtree(folder)
            if kind == "link to a directory":
                folder.symlink_to(target)
            else:
                folder.mkdir()
                make = {
                    "link to a file": lambda at: at.symlink_to(target / "a"), "pipe": os.mkfifo,
                    "hard link": lambda at: at.hardlink_to(target / "a"), "directory": Path.mkdir,
                }[kind]  # fmt: skip
                make(folder / "a")
            yield from store.stream(key, size=size, sha256=sha256)

    with pytest.raises(ServerError) as caught:
        unpack(Meanwhile(), manifest, tmp_path / "work", BELOW, Silent(), parallel=1)  # type: ignore[arg-type]
    assert "d/a" in caught.value.on
    assert contents(target) == {"a": b"untouched"}


def compressed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


BOMBS = {
    "more than it says": compressed(b"123456"),
    "less than it says": compressed(b"1234"),
    "a bomb": compressed(bytes(2**30)),
    "two frames": compressed(b"12345") + compressed(b"6"),
    "a bomb behind it": compressed(b"12345") + compressed(bytes(2**30)),
    "garbage behind it": compressed(b"12345") + b"garbage",
    "cut": compressed(b"12345")[:-7],
    "not compressed": b"12345",
    "a window of a gigabyte": bytes.fromhex("28b52ffd 00a0 2900 00") + b"12345",
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_part_inflates_no_further_than_its_manifest_says(store: Store, tmp_path: Path, what: str) -> None:
    manifest = stored(store, {"a": b"12345"}, tmp_path / "made")
    bomb = BOMBS[what]
    store.put("bomb", bomb)
    part = Part(key="bomb", sha256=hashlib.sha256(bomb).hexdigest(), size=len(bomb), extents=manifest.parts[0].extents)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ObjectCorrupt) as caught:
        unpack(store, lying(manifest, parts=(part,)), tmp_path / "work", BELOW, Silent(), parallel=1)
    assert caught.value.on == "bomb"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10
    assert tmp_path.joinpath("work", *BELOW, "a").stat().st_size == 5


def test_a_part_whose_bytes_were_damaged_on_their_way_once_is_fetched_again(store: Store, tmp_path: Path) -> None:
    files = {"a": os.urandom(300_000)}
    manifest = stored(store, files, tmp_path / "made", part_bytes=50_000)
    said: list[str] = []

    class Said(Silent):
        moved = 0
        lock = threading.Lock()

        def say(self, text: str) -> None:
            said.append(text)

        def advance(self, label: str, amount: int) -> None:
            with self.lock:
                self.moved += amount

    class Flips:
        """One bit of the first transfer of every part."""

        def __init__(self, times: int) -> None:
            self.times = times
            self.seen: dict[str, int] = {}

        def stream(self, key: str, *, size: int | None, sha256: str | None) -> Iterator[bytes]:
            from relight.store.base import verified

            self.seen[key] = self.seen.get(key, 0) + 1
            data = bytearray(b"".join(store.stream(key, size=None, sha256=None)))
            if self.seen[key] <= self.times:
                data[len(data) // 2] ^= 4
            return verified([bytes(data)], key, size=size, sha256=sha256)

    progress = Said()
    folder = unpack(Flips(1), manifest, tmp_path / "work", BELOW, progress, parallel=2)  # type: ignore[arg-type]
    assert contents(folder) == files
    assert len(said) == len(manifest.parts)
    assert progress.moved == manifest.stored_bytes
    always = Flips(1000)
    with pytest.raises(ObjectCorrupt):
        unpack(always, manifest, tmp_path / "work", BELOW, Silent(), parallel=1)  # type: ignore[arg-type]
    assert max(always.seen.values()) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    path=st.lists(
        st.sampled_from(["..", ".", "", "a", "x", "link", "dir", "a\0b", "\udc80", "\ud800"]) | st.text(max_size=6),
        max_size=5,
    ).map("/".join)
)
def test_whatever_a_path_is_nothing_outside_is_touched(tmp_path: Path, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "x").write_bytes(b"untouched")
    with Beneath.new(tmp_path / "work", "in", mode=0o750) as below:
        inside = tmp_path / "work" / "in"
        (inside / "dir").mkdir()
        (inside / "link").symlink_to(outside)
        (inside / "x").symlink_to(outside / "x")
        for make in (below.make_directory, lambda one: below.make_file(one, 3)):
            try:
                make(path)
                with below.writing(path, 0) as file:
                    file.write(b"abc")
            except ServerError:
                pass
    assert contents(outside) == {"x": b"untouched"}
    assert {one.name for one in tmp_path.iterdir()} == {"outside", "work"}
    assert {one.name for one in (tmp_path / "work").iterdir()} == {"in"}
