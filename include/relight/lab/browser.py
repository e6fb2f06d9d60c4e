"""The browser that pages are looked at with, in tests and for screenshots: Chromium without a window.

The machine's own is used where there is one; else one that was unpacked from Debian 12's packages.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from relight.errors import LabError
from relight.lab.place import Place

STAMP = ".complete"
"""Written last: without it the folder is the rest of an interrupted install."""

_ON_MACHINE = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
"""For a browser that nobody sees, that may run as root, and that talks to nobody by itself."""


@dataclass(frozen=True)
class Browser:
    """The program, and the environment in which it finds its libraries and fonts."""

    program: Path
    environment: dict[str, str] = field(default_factory=dict)


def find_browser(place: Place) -> Browser:
    """The one to use. :raises LabError: there is none yet."""
    found = on_machine() or private(place)
    if found is None:
        raise LabError("no browser", on=str(place.browser), hint="run: make setup")
    return found


def on_machine() -> Browser | None:
    """The machine's own, or None."""
    program = next(filter(None, map(shutil.which, _ON_MACHINE)), None)
    return Browser(Path(program)) if program else None


def private(place: Place) -> Browser | None:
    """The complete one below the lab, or None."""
    found = in_folder(place.browser)
    return found if found is not None and (place.browser / STAMP).exists() else None


def in_folder(prefix: Path) -> Browser | None:
    """What lies in a folder that packages were unpacked into, or None if the program is missing."""
    program = prefix / "usr" / "lib" / "chromium" / "chromium"
    if not program.exists():
        return None
    folders = [
        *prefix.glob("usr/lib/*-linux-gnu"),
        *prefix.glob("lib/*-linux-gnu"),
        *prefix.glob("usr/lib/*-linux-gnu/*/"),
    ]
    return Browser(program, {
        "LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders if folder.is_dir()),
        "FONTCONFIG_FILE": str(prefix / "fonts.conf"),
        "XDG_DATA_DIRS": str(prefix / "usr" / "share"),
        "HOME": os.environ.get("HOME", "/"),
    })  # fmt: skip


def write_fonts(prefix: Path) -> None:
    """Tell the private one where its fonts are: Debian's own file names folders of the machine."""
    (prefix / "fonts.conf").write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n<fontconfig>\n'
        f"  <dir>{prefix}/usr/share/fonts</dir>\n  <cachedir>{prefix}/fonts.cache</cachedir>\n"
        "  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>\n"
        "  <alias><family>system-ui</family><prefer><family>DejaVu Sans</family></prefer></alias>\n"
        "  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>\n"
        "</fontconfig>\n",
        encoding="utf-8",
    )
