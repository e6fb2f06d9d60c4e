"""Runs the program ``relight`` as a person does, on the fleet of a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from relight.credentials import EnvironmentCredentials
from relight.site import Site

PROGRAM = Path(sys.executable).parent
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Shell:
    """A shell in which ``relight`` is found, and knows its fleet."""

    environment: dict[str, str]

    def run(self, line: str) -> Done:
        """One line, as it is pasted."""
        return subprocess.run(
            ["bash", "-c", line], env=self.environment, text=True, capture_output=True, check=False, timeout=600
        )

    def printed_in(self, text: str) -> str:
        """The last command of Relight's in a text; it reaches to the end of its sentence or line."""
        return cast("str", re.findall(r"relight (?:'[^']*'|[^;,)\n'])+", text)[-1]).rstrip(" .")


def shell_for(site: Site, folder: Path) -> Shell:
    """A shell on the machine that the site is on."""
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(site.fleet.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
    assert isinstance(site.credentials, EnvironmentCredentials)
    path = os.pathsep.join([str(PROGRAM), os.environ["PATH"]])
    return Shell({**os.environ, **site.credentials.environment, "RELIGHT_FLEET": str(file), "PATH": path})
