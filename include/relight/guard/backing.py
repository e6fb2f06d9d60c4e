"""Files that the kernel itself uses, without any process that has them open: loop devices, swap, exports.

A disk image may lie in a data directory as well as a table; what is mounted from it runs on when it is moved away.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from relight.guard.finding import Finding
from relight.guard.mounts import plain
from relight.guard.proc import DELETED, PROC
from relight.guard.subject import Identity, Subject
from relight.guard.views import View

_SYS = Path("/sys")
_LOOP_GET_STATUS64 = 0x4C05
_LOOP_INFO = struct.Struct("=QQ216x")
"""linux/loop.h, struct loop_info64: device and inode of the file, and more."""

_SERVED = {
    "kernel/config/target/core/fileio_*/*/udev_path": "served as a disk (iSCSI target)",
    "kernel/config/nvmet/subsystems/*/namespaces/*/device_path": "served as a disk (NVMe target)",
    "kernel/config/usb_gadget/*/functions/mass_storage.*/lun.*/file": "served as a disk (USB)",
    "block/zram*/backing_dev": "the backing file of a zram device",
}
"""Where the kernel names further files that it has opened itself, below /sys."""

_EXPORTS = (Path("/var/lib/nfs/etab"), Path("/etc/exports"), Path("/proc/fs/nfsd/exports"))


@dataclass(frozen=True)
class Used:
    """A file that the kernel uses."""

    path: str
    """As the kernel tells it: its name now, in whatever namespace it was opened."""
    use: str
    identity: Identity | None = None


def used_by_kernel(subject: Subject, views: Sequence[View]) -> Iterator[Finding]:
    """Files of the directory that the kernel uses by itself."""
    for used in (*_loops(), *_swap(), *_served()):
        if _is_in(subject, used, views):
            yield Finding("mount", f"{used.path} is {used.use}")
    yield from _exported(subject, views[0])


def _is_in(subject: Subject, used: Used, views: Sequence[View]) -> bool:
    path = Path(used.path.removesuffix(DELETED))
    identity = used.identity or views[0].identity(path)
    if subject.holds_file(identity, path.name):
        return True
    if used.identity is not None and not used.path.endswith(DELETED):
        return False  # it is known which file that is, and it is another
    return path.is_absolute() and any(subject.holds_place(view.locate(path)) for view in views)


def _loops() -> Iterator[Used]:
    """Loop devices that are attached, mounted or not. What is built on one (a partition, LVM, RAID) needs it too."""
    for device in sorted((_SYS / "block").glob("loop*")):
        try:
            path = os.fsdecode((device / "loop" / "backing_file").read_bytes().rstrip(b"\n"))
        except OSError:
            continue  # nothing is attached to it
        above = sorted(one.name for one in (device / "holders").glob("*"))
        below = f", below {', '.join(above)}" if above else ""
        yield Used(path, f"the backing file of /dev/{device.name}{below}", _backing(device.name))


def _backing(name: str) -> Identity | None:
    """What file a loop device has, by its identity: its name may be that of another mount namespace."""
    try:
        handle = os.open(f"/dev/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None  # its node is not here, or not for this account; the name remains
    try:
        told = fcntl.ioctl(handle, _LOOP_GET_STATUS64, bytes(_LOOP_INFO.size))
    except OSError:
        return None  # detached meanwhile
    finally:
        os.close(handle)
    device, inode = _LOOP_INFO.unpack(told)
    return device, inode


def _swap() -> Iterator[Used]:
    for line in _lines(PROC / "swaps")[1:]:
        yield Used(plain(line.split()[0]), "used for swapping")


def _served() -> Iterator[Used]:
    for pattern, use in _SERVED.items():
        for file in sorted(_SYS.glob(pattern)):
            for line in _lines(file):
                yield Used(line.strip(), use)


def _exported(subject: Subject, own: View) -> Iterator[Finding]:
    """Directories that the kernel's NFS server exports, while it runs: other machines may use what they hold."""
    threads = "".join(_lines(PROC / "fs" / "nfsd" / "threads")).strip()
    if threads in ("", "0"):
        return
    for path in sorted({exported for file in _EXPORTS for exported in exports_in(_lines(file))}):
        place = own.place(Path(path))
        relation = None if place is None else subject.to_place(place, path)
        if relation is not None:
            yield Finding("mount", f"{subject.top} {relation.text} a directory that the NFS server exports")


def exports_in(lines: Sequence[str]) -> Iterator[str]:
    """The directories that a table of exports names, as in exports(5)."""
    for line in lines:
        text = line.strip()
        quoted = text.startswith('"') and text.count('"') > 1
        path = text[1:].partition('"')[0] if quoted else text.partition("#")[0].split(maxsplit=1)[:1]
        name = path if isinstance(path, str) else "".join(path)
        if name.startswith("/"):
            yield plain(name)


def _lines(file: Path) -> list[str]:
    try:
        return os.fsdecode(file.read_bytes()).splitlines()
    except OSError:
        return []  # this kernel or this machine has no such thing
