"""What the operating system refuses is told with path and hint, leaves a record and a report, and is no traceback."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relight.errors import MachineError
from relight.operating_system import machine_errors
from relight.recover import recover
from relight.server.table_checksums import checksums
from relight.site import Site
from relight.step_records import load_records
from tests.support.commands import shell_for
from tests.support.promoting import Proved, lose
from tests.support.servers import Servers


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EIO, errno.EMFILE])
def test_what_is_refused_has_its_path_a_reason_and_what_to_do(number: int) -> None:
    with pytest.raises(MachineError) as refused, machine_errors("/srv/work"):
        raise OSError(number, os.strerror(number), "/srv/work/x")
    assert (refused.value.on, refused.value.why) == ("/srv/work/x", os.strerror(number))
    assert refused.value.hint


def test_a_disk_that_does_not_say_its_name_is_the_one_that_is_written_to() -> None:
    with pytest.raises(MachineError, match=r"\(/srv/work\): No space left"), machine_errors("/srv/work"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_network_that_breaks_is_not_taken_for_a_file() -> None:
    with pytest.raises(ConnectionResetError), machine_errors():
        raise ConnectionResetError(errno.ECONNRESET, "reset")


def mounted(folder: Path, *options: str) -> Iterator[None]:
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr!r}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def lost(servers: Servers, site: Callable[..., Site]) -> Proved:
    return lose(servers, site, replicas=0)


@pytest.fixture(params=["full", "read-only"])
def broken(request: pytest.FixtureRequest, lost: Proved) -> Iterator[str]:
    """The folder of runs is a disk of its own that takes nothing, while the rest of ``workdir`` is fine."""
    runs = lost.source.workdir / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    options = ("-o", "size=8k,nr_inodes=12") if request.param == "full" else ("-o", "ro")
    yield from (request.param for _ in mounted(runs, *options))


def test_a_disk_that_takes_nothing_ends_the_step_with_words_and_a_record_and_the_run_goes_on_afterwards(
    lost: Proved, broken: str, tmp_path: Path
) -> None:
    said = "No space left" if broken == "full" else "Read-only file system"
    done = shell_for(lost.site, tmp_path).run(f"relight restore shard-1 --run-id {lost.run.run_id}")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert said in done.stderr
    assert str(lost.source.workdir) in done.stderr
    failed = [one for one in load_records(lost.site.store, lost.run) if one.outcome == "failed"]
    assert any(said in one.error for one in failed), failed
    subprocess.run(["umount", "-l", lost.source.workdir / "runs"], check=True)
    try:
        assert recover(lost.site, lost.run).outcome == "done"
    finally:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", lost.source.workdir / "runs"], check=True)
    with lost.servers.connect(lost.source) as session:
        assert checksums(session) == lost.sums


def test_a_folder_that_may_not_be_written_is_named_by_a_backup_too(
    servers: Servers, site: Callable[..., Site], tmp_path: Path
) -> None:
    place = site(servers.make("source"))
    source = place.fleet.shards[0].source
    source.workdir.mkdir(parents=True, exist_ok=True)
    for _ in mounted(source.workdir, "-o", "ro"):
        for line in ("relight backup full shard-1", "relight backup logs shard-1", "relight backup logs --all"):
            done = shell_for(place, tmp_path).run(line)
            assert (done.returncode, "Traceback" in done.stderr) == (1, False), (line, done.stderr)
            assert "Read-only file system" in done.stderr
            assert str(source.workdir) in done.stderr
