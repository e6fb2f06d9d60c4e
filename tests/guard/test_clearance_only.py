"""Only the guard moves or removes data directories: every other call that could is listed here, with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_layers import LIBRARY, PROJECT, imports_of

GUARD = "include/relight/guard/clearance.py"
RENAMING = "include/relight/guard/renaming.py"

ALLOWED: dict[tuple[str, str], str] = {
    (GUARD, "put_in_place"): "takes a clearance",
    (GUARD, "remove_own"): "takes a clearance",
    (GUARD, "remove_set_aside"): "takes a clearance",
    (GUARD, "_move_and_look_again"): "takes a clearance",
    (GUARD, "_put_back"): "takes a clearance",
    ("include/relight/guard/issuing.py", "_drop_old"): "records of clearances that expired months ago",
    (RENAMING, "move"): "only clearance.py may import it, see below",
    (RENAMING, "_rename"): "the same",
    ("include/relight/server/mysqld.py", "_remove_lock_of_dead_server"): "the lock of a socket whose process is dead",
    ("include/relight/server/passing.py", "passing_folder"): "a temporary folder, made there",
    ("include/relight/server/passing.py", "remove_left_behind"): "the same of a process that has ended",
    ("include/relight/server/local_copy.py", "local_copy"): "the copy that it has made",
    ("include/relight/server/local_copy.py", "remove_stale_copies"): "copies that killed attempts left, by their name",
    ("include/relight/durable.py", "written_beside"): "whatever is written, under its final name at once",
    ("include/relight/beneath.py", "_remove"): "what an earlier attempt has left where a snapshot is unpacked",
    ("include/relight/steps/certify.py", "certify"): "an earlier certificate of the run",
    ("include/relight/steps/judge.py", "judge"): "an earlier judgement of the run",
    ("include/relight/steps/teardown.py", "_remove_streams"): "the run's split logs",
    ("include/relight/steps/drill.py", "_flip_bit"): "what it has unpacked to see it fail",
    ("include/relight/splitting.py", "_split"): "the run's split logs, under their final name at once",
    ("include/relight/splitting.py", "_scratch"): "what killed attempts left of them",
    ("include/relight/splitting.py", "_fetched"): "the compressed file of a fetched log",
}
"""By file and function. Nothing here but the guard may touch a server's ``datadir``."""

THROWN_AWAY = {
    "include/relight/lab/": "servers that were made to be lost: the lab is the incident, in its own folder",
    "include/relight/bench/": "servers that measure something, in its own folder",
}
"""Nothing outside may import these (tests/test_layers.py), so no restore can come upon them."""

CALLS = {
    "rmtree", "unlink", "rename", "renames", "rmdir", "removedirs", "renameat2", "move", "remove", "replace",
    "copytree", "copy", "copyfile", "copy2", "truncate",
}  # fmt: skip
PROGRAMS = {"rm", "mv", "rmdir", "unlink", "shred", "dd", "truncate", "cp", "rsync", "mkfs", "umount", "mount"}


def files() -> Iterator[Path]:
    for folder in ("include", "plugins", "dags"):
        yield from sorted((PROJECT / folder).rglob("*.py"))


def dangerous(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call that moves, overwrites or removes files, with the function it stands in."""

    def visit(node: ast.AST, inside: tuple[str, ...]) -> Iterator[tuple[str, ast.Call]]:
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inside = (*inside, node.name) if named else inside
        if isinstance(node, ast.Call) and (moves_files(node) or runs_program(node)):
            yield ".".join(inside), node
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(tree, ())


def moves_files(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):  # from shutil import rmtree
        return function.id in CALLS - {"remove", "replace", "copy"}
    if not isinstance(function, ast.Attribute) or function.attr not in CALLS:
        return False
    of = function.value.id if isinstance(function.value, ast.Name) else ""
    if of in ("os", "shutil"):
        return True
    if function.attr == "replace":  # a path's has one argument, a text's has two, a date's has names
        return of != "dataclasses" and len(call.args) == 1 and not call.keywords
    # Lists and sets have these too; dictionaries, models and frames are copied.
    return function.attr not in ("remove", "copy", "move") and not (function.attr == "truncate" and len(call.args) == 1)


def runs_program(call: ast.Call) -> bool:
    for argument in call.args:
        words = argument.elts if isinstance(argument, ast.List | ast.Tuple) else []
        if any(isinstance(word, ast.Constant) and Path(str(word.value)).name in PROGRAMS for word in words[:2]):
            return True
    return False


def found() -> Iterator[tuple[str, str, ast.Call]]:
    for file in files():
        name = str(file.relative_to(PROJECT))
        if not name.startswith(tuple(THROWN_AWAY)):
            for function, call in dangerous(ast.parse(file.read_text(encoding="utf-8"))):
                yield name, function, call


def test_nothing_moves_or_removes_files_that_is_not_listed_with_its_reason() -> None:
    wrong = [
        f"{file}:{call.lineno} in {function}" for file, function, call in found() if (file, function) not in ALLOWED
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_listed_that_does_not() -> None:
    assert set(ALLOWED) == {(file, function) for file, function, _ in found()}


def test_only_the_guard_touches_a_server_s_data_directory() -> None:
    """What others move or remove does not come from a ``datadir``, and the guard's functions take a clearance."""
    for file in {file for file, _ in ALLOWED}:
        tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
        for name, call in dangerous(tree):
            function = next(
                node for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef) and node.name == name.rpartition(".")[2]
            )  # fmt: skip
            if file == GUARD:
                assert isinstance(function.args.args[0].annotation, ast.Name)
                assert function.args.args[0].annotation.id == "Clearance"
            else:
                wrong = "datadir" in sources(function, call)
                assert not wrong, f"{file}:{call.lineno}"


def sources(function: ast.FunctionDef, call: ast.Call) -> set[str]:
    """Attributes and names that what a call works on was made of, within its function."""
    made: dict[str, ast.AST] = {}
    for node in ast.walk(function):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            made |= {one.id: node.value for one in ast.walk(target) if isinstance(one, ast.Name)}
        if isinstance(node, ast.For):
            made |= {one.id: node.iter for one in ast.walk(node.target) if isinstance(one, ast.Name)}
    known: set[str] = set()
    waiting: list[ast.AST] = [call]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Attribute):
                known.add(node.attr)
            elif isinstance(node, ast.Name) and node.id not in known:
                known.add(node.id)
                waiting += [made[node.id]] if node.id in made else []
    return known


def test_the_settings_of_a_closed_server_are_written_only_where_the_run_itself_has_built_the_directory() -> None:
    calls = {
        (file.name, ast.unparse(node.args[1])) for file in LIBRARY.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "write_settings"
    }  # fmt: skip
    assert calls == {
        ("restore.py", "incoming"), ("replicas.py", "incoming"),
        ("prepare.py", "server.datadir"),  # which is refused unless it bears the mark of the run
    }  # fmt: skip


def test_only_the_clearance_module_can_rename_without_one() -> None:
    users = {
        str(file.relative_to(PROJECT)) for file in LIBRARY.rglob("*.py") for one in imports_of(file)
        if one.name in ("relight.guard.renaming.move", "relight.guard.renaming")
    }  # fmt: skip
    assert users == {GUARD}


def test_a_data_directory_is_noticed_through_variables() -> None:
    (function,) = ast.parse("def f():\n    a = s.datadir / 'x'\n    for b in a.iterdir():\n        b.unlink()").body
    assert isinstance(function, ast.FunctionDef)
    ((_, call),) = dangerous(ast.Module([function], []))
    assert "datadir" in sources(function, call)


@pytest.mark.parametrize(
    "line",
    [
        "shutil.rmtree(server.datadir)", "server.datadir.rename(there)", "os.replace(a, b)", "a.replace(b)", "path.unlink()",
        "rmtree(x)", "os.remove(x)", "shutil.move(a, b)", "folder.rmdir()", "command.run(['rm', '-rf', folder])",
        "command.run(['sudo', 'mv', a, b])", "library.renameat2(a, b)", "os.truncate(a, 0)",
    ],
)  # fmt: skip
def test_a_call_that_could_is_noticed(line: str) -> None:
    assert list(dangerous(ast.parse(f"def f():\n    {line}")))


@pytest.mark.parametrize(
    "line", ["text.replace('a', 'b')", "time.replace(tzinfo=UTC)", "names.remove('x')", "dataclasses.replace(x, a=1)"]
)
def test_a_call_that_could_not_is_left_alone(line: str) -> None:
    assert not list(dangerous(ast.parse(line)))
