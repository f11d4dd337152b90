"""`import adamcompat` is light, no framework is imported outside its own folder, and modules are in order and short."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

import adamcompat
from adamcompat.mapping.runtimes import FRAMEWORKS as RECORDS

PACKAGE = Path(adamcompat.__file__).parent
FRAMEWORKS = {"tensorflow", "tf_keras", "keras", "mindspore", "torch", "jax"}
HEAVY = FRAMEWORKS | {"numba", "llvmlite", "yaml", "rich", "matplotlib", "libcst"}


def loaded_after(code: str) -> set[str]:
    program = f"import sys\n{code}\nimport json\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout))


@pytest.mark.parametrize(
    "code",
    [
        "import adamcompat",
        "from adamcompat import TFStyleAdam, MindSporeStyleAdam",
        "from adamcompat.state import AdamState",
        "from adamcompat import *",
        "import adamcompat; adamcompat.table(); adamcompat.migrate; adamcompat.verify; dir(adamcompat)",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    assert not loaded_after(code) & HEAVY


@pytest.mark.parametrize(
    "imports",
    [
        "",
        "import adamcompat.{name}",
        "from adamcompat.{name} import *",
        "from adamcompat import {name}",
        "import adamcompat.{name} as other",
        "import adamcompat.cli, adamcompat.commands.{name}; adamcompat.cli.main(['{name}', '--help'])",
    ],
    ids=["nothing", "module", "star", "name", "as", "command"],
)
@pytest.mark.parametrize("name", ["migrate", "verify"])
def test_a_function_that_is_a_folder_too_is_both_whoever_imports_it(name: str, imports: str) -> None:
    parts = {"migrate": "migrate_text", "verify": "judge"}
    program = f"""
import contextlib, sys, adamcompat
with contextlib.suppress(SystemExit):
    {imports.format(name=name) or "pass"}
import inspect
found = adamcompat.{name}
assert found is sys.modules["adamcompat.{name}"]
assert "{"paths" if name == "migrate" else "runtime"}" in inspect.signature(found).parameters
assert found.__call__.__doc__ == found.{name}.__doc__
try:
    found(3, to="shim") if "{name}" == "migrate" else found(3)
except TypeError as error:
    assert "got 3 (int)" in str(error), error
else:
    raise AssertionError
import adamcompat.{name}
from adamcompat.{name} import {parts[name]}
assert adamcompat.{name} is found and adamcompat.{name}.{parts[name]} is {parts[name]}
"""
    # What the command's help prints.
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_making_an_optimizer_loads_no_framework() -> None:
    code = """
import numpy
from adamcompat import TFStyleAdam
weight = numpy.ones(3)
TFStyleAdam().apply_gradients([(numpy.ones(3), weight)])
"""
    assert not loaded_after(code) & FRAMEWORKS


def test_the_command_line_loads_no_framework() -> None:
    code = "from adamcompat.cli import main; main(['table', '--format', 'csv']); print()"
    program = f"import sys, io\nsys.stdout = io.StringIO()\n{code}\nsys.stdout = sys.__stdout__"
    assert not loaded_after(program) & (HEAVY - {"rich"})


def test_optimizers_load_nothing_that_only_tools_need() -> None:
    program = "import sys\nfrom adamcompat import TFStyleAdam\nTFStyleAdam()\nprint(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tools = {f"adamcompat.mapping.{name}" for name in ("layers", "rates", "layer_tables", "rate_tables")}
    assert not set(result.stdout.split()) & (tools | {"difflib", "signal", "queue", "concurrent.futures"})


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        (["table"], {"numpy", "adamcompat.commands.translate", "adamcompat.drive", "adamcompat.numpy"}),
        (
            ["translate", "keras.optimizers.Adam()", "--to", "mindspore"],
            {"adamcompat.commands.table", "adamcompat.drive", "adamcompat.numpy", "rich.progress"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_loads_what_it_needs_and_no_other_command(arguments: list[str], absent: set[str]) -> None:
    program = f"import sys\nfrom adamcompat.cli import main\nmain({arguments!r})\nprint(*sorted(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.splitlines()[-1].split())
    assert f"adamcompat.commands.{arguments[0]}" in loaded
    assert not loaded & absent


MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_frameworks_stay_in_their_folders(module: Path) -> None:
    # The folder of a framework, and its part of a tool.
    own = [
        framework for framework in RECORDS.values() if framework.name in (module.parts[0], module.stem.split("_")[0])
    ]
    allowed = {package for framework in own for package in framework.packages}
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        else:
            continue
        for name in names:
            assert name.split(".")[0] not in FRAMEWORKS - allowed, f"{module}:{node.lineno} imports {name}"


# What may be imported from where: nothing that stands later. Modules of no folder belong to the core.
ORDER = (
    {"mapping"},
    {"core"},
    {"executors"},
    {"numpy"},
    {"tensorflow", "mindspore", "torch"},
    {"drive", "recording", "state", "translation", "demo", "installation"},
    {"comparison", "migrate", "verify"},
    {"commands"},
    {"top"},
)
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
TOP = {"__init__", "__main__", "cli"}


def room_of(parts: tuple[str, ...]) -> str:
    if len(parts) > 1 or (PACKAGE / parts[0]).is_dir():
        return parts[0]
    return "top" if parts[0] in TOP else "core"


def nodes_of(node: ast.AST, *, hints: bool) -> Iterator[ast.AST]:
    """Every node below; without `hints`, what stands under ``if TYPE_CHECKING:`` is left out."""
    for child in ast.iter_child_nodes(node):
        if not hints and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            child = ast.Module(child.orelse, [])
        yield child
        yield from nodes_of(child, hints=hints)


def imports_of(module: Path, *, hints: bool = True) -> set[tuple[str, ...]]:
    """The modules of the package that a module names in its imports, at its head or within functions.

    Args:
        module: its path within the package.
        hints: whether imports for the type checker count.

    Returns:
        The parts of each name after ``adamcompat``; none are the package itself.
    """
    found = set()
    for node in nodes_of(ast.parse((PACKAGE / module).read_text(encoding="utf-8")), hints=hints):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{module}:{node.lineno}: write the whole name of the module"
            inside = PACKAGE.joinpath(*node.module.split(".")[1:])
            names = [
                f"{node.module}.{alias.name}"
                if (inside / alias.name).is_dir() or (inside / f"{alias.name}.py").exists()
                else node.module
                for alias in node.names
            ]
        found |= {tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == "adamcompat"}
    return found


def file_of(parts: tuple[str, ...]) -> Path:
    """The file of a module, within the package."""
    path = Path(*parts)
    return path / "__init__.py" if (PACKAGE / path).is_dir() else path.with_suffix(".py")


Place = TypeVar("Place")


def in_circles(arrows: Mapping[Place, set[Place]]) -> set[Place]:
    """Return what lies on a circle, or on a way from one to another."""
    left = set(arrows)
    while ends := {one for one in left if not (arrows[one] & left and any(one in arrows[other] for other in left))}:
        left -= ends
    return left


def test_circles_are_seen() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == {"b", "c"}


def test_every_room_is_in_the_order() -> None:
    assert {room_of(module.with_suffix("").parts) for module in MODULES} == set(LEVELS)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_room_imports_one_that_stands_later(module: Path) -> None:
    own = room_of(module.with_suffix("").parts)
    for parts in filter(None, imports_of(module)):
        other = room_of(parts)
        assert LEVELS[other] <= LEVELS[own], f"{module} imports {'.'.join(parts)}"


def test_rooms_go_in_no_circle() -> None:
    arrows: dict[str, set[str]] = {room: set() for room in LEVELS}
    for module in MODULES:
        own = room_of(module.with_suffix("").parts)
        arrows[own] |= {room_of(parts) for parts in imports_of(module) if parts} - {own}
    assert not in_circles(arrows)


def test_files_go_in_no_circle() -> None:
    arrows = {module: {file_of(parts) for parts in imports_of(module, hints=False)} for module in MODULES}
    assert sum(map(len, arrows.values())) > len(MODULES)
    assert not in_circles(arrows)


# So many lines a module may have that is written by hand: without its docstrings, and with them.
LONGEST, WHOLE = 400, 520


def lines_of_code(text: str) -> int:
    """Return the number of lines of a module that are not in docstrings."""
    count = text.count("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            said = node.body[0]
            count -= (said.end_lineno or said.lineno) - said.lineno + 1
    return count


def test_modules_are_short() -> None:
    texts = {module.as_posix(): (PACKAGE / module).read_text(encoding="utf-8") for module in MODULES}
    by_hand = {name: text for name, text in texts.items() if not text.startswith("# Generated from mapping.yaml")}
    assert len(by_hand) > 200
    assert not {name for name, text in by_hand.items() if lines_of_code(text) > LONGEST or text.count("\n") > WHOLE}


def test_the_public_surface() -> None:
    assert {"TFStyleAdam", "MindSporeStyleAdam", "Parameter", "RowSparse"} <= set(dir(adamcompat))
    with pytest.raises(AttributeError, match="has no attribute 'Adam'"):
        _ = adamcompat.Adam
    namespace: dict[str, object] = {}
    exec("from adamcompat.numpy import *", namespace)
    assert {"TFStyleAdam", "Parameter"} <= set(namespace)
