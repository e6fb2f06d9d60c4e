"""Data files into parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from relight.backups.manifest import Extent
from relight.backups.packing import pack, upload_part
from relight.errors import ServerError
from relight.fleet import StoreSettings
from relight.lab.s3 import S3Server
from relight.store.s3 import open_store


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 40))
def test_every_byte_of_every_file_is_in_exactly_one_part_and_parts_are_full(sizes: list[int], part: int) -> None:
    files = [(f"f{number}", size) for number, size in enumerate(sizes)]
    parts = list(pack(files, part))
    extents = [extent for one in parts for extent in one]
    covered = [(e.path, e.offset + i) for e in extents for i in range(e.length)]
    assert covered == [(path, i) for path, size in files for i in range(size)]
    lengths = [sum(extent.length for extent in one) for one in parts]
    assert all(length == part for length in lengths[:-1])
    assert all(0 < length <= part for length in lengths)
    assert all(extent.length for extent in extents)


def test_a_part_is_one_frame_of_its_extents_one_after_the_other(
    tmp_path: Path, store_settings: StoreSettings, s3_server: S3Server
) -> None:
    store = open_store(store_settings, s3_server.login)
    contents = {"a": os.urandom(100_000), "b": bytes(9 * 2**20), "c": b"xyz"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    extents = (
        Extent(path="a", offset=50_000, length=50_000), Extent(path="b", offset=0, length=9 * 2**20),
        Extent(path="c", offset=0, length=2),
    )  # fmt: skip
    moved: list[int] = []
    part = upload_part(store, "p/0001.zst", tmp_path, extents, moved.append)
    stored = b"".join(store.stream(part.key, size=part.size, sha256=part.sha256))
    raw = contents["a"][50_000:] + contents["b"] + b"xy"
    parameters = zstandard.get_frame_parameters(stored)
    assert parameters.has_checksum
    assert parameters.content_size == len(raw) == sum(moved)
    assert zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False) == raw


def test_a_file_that_became_shorter_leaves_no_part(
    tmp_path: Path, store_settings: StoreSettings, s3_server: S3Server
) -> None:
    store = open_store(store_settings, s3_server.login)
    (tmp_path / "a").write_bytes(b"123")
    with pytest.raises(ServerError, match="shorter"):
        upload_part(store, "p", tmp_path, (Extent(path="a", offset=0, length=4),), lambda _: None)
    assert list(store.list("")) == []
