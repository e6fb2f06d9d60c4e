"""What the README says can be done can be done: commands parse, files exist, settings and grants are taken.

The convention: in a fenced block marked ``console``, each line that begins with ``$ `` is a command that a
reader may copy. Blocks marked ``sql`` are run on a real server, ``ini`` are settings of a server.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter
from typer.core import TyperGroup
from typer.main import get_command

from relight.announcing.base import Endpoint
from relight.announcing.settings import Announce
from relight.cli.context import FAILED
from relight.cli.main import application
from relight.fleet import CertificateSettings, Fleet, Limits, PromotionSettings, Server, Shard, StoreSettings, Tier
from relight.fleet_file import load_fleet
from relight.guard.finding import KINDS
from relight.planning.target import Target
from tests.support.servers import Servers

PROJECT = Path(__file__).resolve().parents[1]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
EXAMPLE = PROJECT / "include" / "deploy" / "fleet.example.yaml"


def blocks(kind: str) -> list[str]:
    """The fenced blocks marked so."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every command, split into words as a shell does; comments and variables set in front are left out."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def text_of(words: list[str]) -> str:
    return " ".join(words)


RELIGHT = [words for words in commands() if Path(words[0]).name == "relight"]
CURL = [words for words in commands() if words[0] == "curl"]
KNOWN = {"make", "relight", "curl", "python", "airflow", "cp", "docker"}


def section(title: str) -> str:
    """The text below a heading of the second level, up to the next."""
    found = re.search(rf"^## {re.escape(title)}.*?$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def table(title: str, first: str) -> dict[str, str]:
    """First and second column of the table in a section whose first heading is ``first``."""
    lines = section(title).split(f"| {first} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1] for row in rows}


def test_every_command_block_holds_commands_only_of_programs_that_are_checked_here() -> None:
    for block in blocks("console"):
        assert all(line.startswith("$ ") for line in block.splitlines()), block
    programs = {Path(words[0]).name for words in commands() if "=" not in words[0]}
    assert programs <= KNOWN


@pytest.mark.parametrize("words", RELIGHT, ids=text_of)
def test_every_relight_command_is_one_that_relight_understands(words: list[str]) -> None:
    parsed = understood(words)
    if target := parsed.get("target"):
        Target.parse(str(target))


def understood(words: list[str]) -> dict[str, Any]:
    """What the command line makes of the words, without doing it. Raises what it would tell the user."""
    command, rest = get_command(application()), words[1:]
    while isinstance(command, TyperGroup) and not (command.invoke_without_command and not rest):
        assert rest, f"{command.name} alone does nothing"
        assert rest[0] in command.commands, f"{command.name} has no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return dict(command.make_context(command.name, rest).params)


@pytest.mark.parametrize(
    "line",
    [
        "relight", "relight backup", "relight plan", "relight backup ful shard-1", "relight lab status now",
        "relight restore shard-1 --mod rehearse", "relight restore shard-1 --mode reherse", "relight restore s --workers 0",
    ],
)  # fmt: skip
def test_a_command_that_relight_would_refuse_is_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"."):
        understood(line.split())


def test_every_kind_of_finding_is_explained_and_no_other() -> None:
    assert set(table("Ask before you destroy", "Finding")) == {f"`{kind}`" for kind in KINDS}


def test_the_exit_statuses_of_the_guard_are_told() -> None:
    assert set(table("Ask before you destroy", "Exit status")) == {"0", str(FAILED), "2"}


def test_the_lines_for_scripts_and_units_ask_the_guard() -> None:
    (script,), (unit,) = blocks("sh"), blocks("systemd")
    assert understood(shlex.split(script.partition("||")[0]))["named"] == "/var/lib/mysql"
    assert script.rstrip().endswith("|| exit 1")
    (condition,) = re.findall(r"^ExecCondition=(.*)$", unit, re.MULTILINE)
    assert understood(condition.split())["named"] == "/var/lib/mysql"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word for words in commands() if words[0] == "make" for word in words[1:]}
    named |= set(re.findall(r"`make ([a-z-]+)`", README))
    assert {"demo", "test"} <= named <= targets


def test_the_first_screen_shows_the_two_commands() -> None:
    screen = README.splitlines()[:25]
    assert any(line.startswith("$ make demo") for line in screen)
    assert any(line.startswith("$ make test") for line in screen)


def test_every_file_that_is_named_exists() -> None:
    own = {path.name for path in PROJECT.iterdir()} - {".lab", ".venv"}
    named = {text.rstrip("/") for text in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", README)}
    named |= set(re.findall(r"\]\(([^)#]+)\)", README))
    named |= {
        word for words in commands() for word in words[1:] if "/" in word and (PROJECT / word.split("/")[0]).is_dir()
    }
    paths = {name for name in named if name.split("/")[0] in own}
    assert len(paths) > 20
    assert not {name for name in paths if not (PROJECT / name).exists()}


def test_every_link_inside_the_page_leads_somewhere() -> None:
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert not set(re.findall(r"\]\(#([^)]+)\)", README)) - anchors


def test_pages_that_errors_and_other_files_point_to_are_there() -> None:
    assert "### fleet.example.yaml" in section("On your own fleet")
    assert "### Accounts" in section("On your own fleet")
    assert section("Deployment")


@pytest.mark.parametrize("words", CURL, ids=text_of)
def test_every_api_call_names_a_dag_and_parameters_that_exist(words: list[str]) -> None:
    path = next(word for word in words if word.startswith(("$AIRFLOW/", "TOKEN=")))
    assert path.startswith("$AIRFLOW/api/v2/dags/")
    dag = PROJECT / "dags" / f"{path.split('/')[4]}.py"
    source = dag.read_text(encoding="utf-8")
    source += (PROJECT / "plugins" / "relight_airflow" / "request.py").read_text(encoding="utf-8")
    source += (PROJECT / "plugins" / "relight_airflow" / "steps.py").read_text(encoding="utf-8")
    source += (PROJECT / "plugins" / "relight_airflow" / "fleet_request.py").read_text(encoding="utf-8")
    bodies = [json.loads(word) for flag, word in pairwise(words) if flag == "--json"]
    for body in bodies:
        assert all(f'"{name}"' in source for name in body.get("conf", {}))
        assert all(f'"{task}"' in source for task in body.get("task_ids", []))
        if "conf" in body:
            assert {"shard", "incident"} & set(body["conf"]), "without it the tasks go to the default queue"
            assert "logical_date" in body, "Airflow refuses a body without it"


def test_every_task_of_the_table_of_failures_is_a_task() -> None:
    steps = (PROJECT / "plugins" / "relight_airflow" / "steps.py").read_text(encoding="utf-8")
    rows = section("A shard is gone: what to do").split("| Task | What it says |", 1)[1].split("\n\n", 1)[0]
    cells = [line.split("|")[1] for line in rows.splitlines()[2:]]
    tasks = {task for cell in cells for task in re.findall(r"`(\w+)`", cell)} - {"check"}
    assert {"guard", "restore_snapshot", "split", "replay", "judge", "promote", "replicas"} <= tasks
    assert not {task for task in tasks if f'"{task}"' not in steps}


def test_every_message_of_the_table_of_failures_is_one_that_relight_gives() -> None:
    library = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("include/relight", "plugins")
        for path in (PROJECT / folder).rglob("*.py")
    )
    rows = section("A shard is gone: what to do").split("| Task | What it says |", 1)[1].split("\n\n", 1)[0]
    said = [text for line in rows.splitlines()[2:] for text in re.findall(r"`([^`]+)`", line.split("|")[2])]
    assert len(said) > 20
    for text in said:
        # What a message fills in is N or dots here.
        pieces = [piece.strip(" ()") for piece in re.split(r"\bN\b|\.\.\.", text)]
        assert all(piece in library for piece in pieces), text


def test_the_example_is_a_fleet_file_without_mistakes() -> None:
    fleet = load_fleet(EXAMPLE)
    assert all(shard.scratch for shard in fleet.shards), "nobody could rehearse"
    assert "password" not in EXAMPLE.read_text(encoding="utf-8").replace("no passwords", "")


def test_announcers_are_shown_of_every_kind_and_without_mistakes() -> None:
    (block,) = blocks("yaml")
    shown = TypeAdapter(tuple[Announce, ...]).validate_python(yaml.safe_load(block)["announce"])
    kinds = {f"`{one.kind}`" for one in shown}
    assert len(kinds) == len(get_args(get_args(Announce)[0]))
    assert set(table("Where applications find it", "Kind")) == kinds


def test_what_applications_are_told_is_shown_as_it_is() -> None:
    (block,) = blocks("json")
    told = json.loads(block)
    is_open = told.pop("open")
    assert Endpoint.model_validate(told).document(is_open=is_open) == json.loads(block)


def fields() -> Iterator[tuple[str, str]]:
    """Every field as the README calls it, and its default; empty where that is nothing worth saying."""
    yield "fleet", ""
    models = {
        "store": StoreSettings, "limits": Limits, "certificates": CertificateSettings, "shards[]": Shard,
        "server": Server, "tiers[]": Tier, "promotion": PromotionSettings,
    }  # fmt: skip
    for prefix, model in models.items():
        for name, field in model.model_fields.items():
            nothing = field.is_required() or field.default in (None, "", ())
            yield f"{prefix}.{name}", "" if nothing else str(field.default)


@pytest.mark.parametrize(("name", "default"), list(fields()))
def test_every_field_of_the_fleet_file_is_described_with_its_default(name: str, default: str) -> None:
    described = table("On your own fleet", "Field")
    assert f"`{name}`" in described
    if default:
        assert described[f"`{name}`"] == f"`{default}`"


def test_no_field_is_described_that_does_not_exist() -> None:
    assert set(table("On your own fleet", "Field")) == {f"`{name}`" for name, _ in fields()}
    assert set(Fleet.model_fields) == {"fleet", "store", "shards", "tiers", "limits", "promotion", "certificates"}


def test_the_settings_are_those_of_the_example() -> None:
    (block,) = blocks("ini")
    example = (PROJECT / "include" / "deploy" / "my.cnf").read_text(encoding="utf-8").splitlines()
    assert all(line in example for line in block.splitlines())


def test_a_server_takes_the_settings_and_the_grants(servers: Servers) -> None:
    (block,) = blocks("ini")
    settings = dict(line.split(" = ", 1) for line in block.splitlines())
    server = servers.make(options=settings)
    with servers.connect(server) as session:
        session.run("DROP USER relight@'%'")
        session.run("DROP USER replication@'%'")
        for statement in "\n".join(blocks("sql")).split(";"):
            if statement.strip():
                session.run(statement)
        for user in ("relight", "replication", "relight_small"):
            assert session.rows(f"SHOW GRANTS FOR {user}@'%'")


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=]", one)[0] for one in wanted}
    described = set(re.findall(r"`([^`]+)`", " ".join(table("Dependencies", "Package"))))
    assert described == names
