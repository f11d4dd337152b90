"""Public docstrings say what goes in, what comes out and what is raised."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "adamcompat"
FILES = sorted(path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*.py"))
RIDDLES = ("What", "Which", "Whether", "Those", "How", "Where", "Who", "When", "Why")
NOTHING = ("None", "NoReturn", "Never")


def public_functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Yield the functions and methods of a module that have no private name, in no private class."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if not decorators & {"overload", "property", "cached_property"} and not any(
                name.endswith(".setter") for name in decorators
            ):
                yield node


def raised_by(function: ast.FunctionDef) -> bool:
    """Return whether a statement of the function itself raises an exception that it names."""
    inner = [node for node in ast.walk(function) if node is not function and isinstance(node, ast.FunctionDef)]
    within = {id(part) for node in inner for part in ast.walk(node)}
    return any(
        isinstance(node, ast.Raise) and node.exc is not None and id(node) not in within for node in ast.walk(function)
    )


def lacks(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the sections that the function's docstring should have and has not."""
    said = ast.get_docstring(function) or ""
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
    if len(names) >= 3:
        if "Args:" not in said:
            yield "Args"
        else:
            yield from (f"Args: {name}" for name in names if f"{name}:" not in said and f"{name}`" not in said)
        gives = function.returns is not None and ast.unparse(function.returns) not in NOTHING
        if gives and not said.startswith(("Return ", "Yield ")) and "Returns:" not in said and "Yields:" not in said:
            yield "Returns"
    if raised_by(function) and "Raises:" not in said:
        yield "Raises"


def faults(path: Path) -> list[str]:
    """Return each fault of the docstrings of a file, with its line."""
    tree = ast.parse(path.read_text())
    found = [
        f"{path}:{function.lineno} {function.name} lacks {section}"
        for function in public_functions(tree)
        for section in lacks(function)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            said = (ast.get_docstring(node) or "").split()
            if said and said[0].rstrip(",.:") in RIDDLES:
                found.append(f"{path}:{getattr(node, 'lineno', 1)} begins with {said[0]}")
    return found


@pytest.mark.parametrize("name", FILES)
def test_what_goes_in_comes_out_and_is_raised_is_said(name: str) -> None:
    assert faults(PACKAGE.parent / name) == []


def test_each_fault_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "def made(a, b, c) -> int:\n    '''Make one of three.'''\n    raise ValueError(a)\n"
        "def named(a, b, c) -> None:\n    '''Name.\n\n    Args:\n        a: One.\n        b: Two.\n    '''\n"
        "def _own(a, b, c) -> int:\n    '''What is private.'''\n"
    )
    assert [fault.split(" ", 1)[1] for fault in faults(module)] == [
        "made lacks Args",
        "made lacks Returns",
        "made lacks Raises",
        "named lacks Args: c",
        "begins with What",
    ]
