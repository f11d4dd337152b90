"""Every example in a docstring is one that pytest's doctests find: none is hidden by a decorator or a nested scope."""

from __future__ import annotations

import ast
import doctest
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Folder of the package, and its part of a tool, to what must be installed for it.
NEEDED = {"tensorflow": "tf_keras", "mindspore": "mindspore", "torch": "torch"}


def written(path: Path) -> list[int]:
    """How many examples each docstring of a file has."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, nodes)]
    return sorted(count for text in texts if (count := len(doctest.DocTestParser().get_examples(text))))


FILES = [path for path in sorted((ROOT / "adamcompat").rglob("*.py")) if written(path)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_example_is_run(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    for framework in NEEDED.keys() & {parts[1], parts[-1].partition("_")[0]}:
        if find_spec(NEEDED[framework]) is None:
            pytest.skip(f"{framework} is not installed")
    if path.name == "rewrite.py":
        pytest.importorskip("libcst")
    assert path.name != "__main__.py", "pytest does not look for examples there"
    module = import_module(".".join(parts).removesuffix(".__init__"))
    found = [len(test.examples) for test in doctest.DocTestFinder().find(module) if test.examples]
    assert sorted(found) == written(path)


def test_there_are_examples() -> None:
    assert len(FILES) > 20
