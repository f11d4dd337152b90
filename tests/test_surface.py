"""The public surface: what is listed here is what users may rely on, and a change of it is deliberate.

After such a change: python -m tests.test_surface
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import adamcompat
from adamcompat.commands import NAMES
from adamcompat.mapping.tables import MAPPING

LIST = Path(__file__).parent / "data" / "surface.txt"
# Modules whose names can be looked at without a framework.
MODULES = (
    "adamcompat",
    "adamcompat.comparison",
    "adamcompat.drive",
    "adamcompat.recording",
    "adamcompat.state",
    "adamcompat.state.files",
    "adamcompat.migrate",
)


def described(module: str, name: str) -> list[str]:
    """A name with its signature, and for a class its own public members."""
    found = getattr(import_module(module), name)
    if not callable(found) or (isinstance(found, type) and issubclass(found, Exception)):
        return [f"{module}.{name}"]
    if not isinstance(found, type):
        return [f"{module}.{name}{signature(found)}"]
    lines = [f"{module}.{name}{'' if getattr(found, '_is_protocol', False) else signature(found)}"]
    for member, value in sorted(vars(found).items()):
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if not member.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
            lines.append(f"{module}.{name}.{member}{signature(function) if inspect.isfunction(function) else ''}")
    return lines


def signature(function: Any) -> str:
    """Names and defaults; annotations are spelled differently by different versions of Python."""
    parameters = inspect.signature(function).parameters.values()
    shown = [parameter.replace(annotation=parameter.empty) for parameter in parameters if parameter.name[0] != "_"]
    return re.sub(r"<function .* at 0x\w+>", "...", str(inspect.Signature(shown)))


def surface() -> list[str]:
    lines = [f"adamcompat {name}" for name in NAMES]
    for module in MODULES:
        home = import_module(module)
        names = dir(home) if module == "adamcompat" else home.__all__
        lines += [line for name in sorted(names) for line in described(module, name)]
    # The signatures of generated classes are facts of the mapping, and tested as such.
    lines += [f"{adapter.module}.{adapter.name}" for adapter in MAPPING.adapters if adapter.runtime != "numpy"]
    return lines


def test_the_public_surface_is_what_is_listed() -> None:
    pytest.importorskip("libcst")
    assert surface() == LIST.read_text(encoding="utf-8").splitlines(), "deliberate? run: python -m tests.test_surface"


@pytest.mark.parametrize("module", ["adamcompat", "adamcompat.state"])
def test_dir_lists_what_is_public_and_nothing_else(module: str) -> None:
    home = import_module(module)
    assert dir(home) == sorted(home.__all__)
    listed = {line.removeprefix(f"{module}.") for line in LIST.read_text("utf-8").splitlines() if module in line}
    assert set(dir(home)) == {line.partition("(")[0] for line in listed if re.fullmatch(r"\w+(\(.*)?", line)}


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs tensorflow")
@pytest.mark.parametrize(
    "module", ["adamcompat.tensorflow", "adamcompat.tensorflow.v1", "adamcompat.tensorflow.legacy"]
)
def test_dir_lists_the_classes_that_are_loaded_when_they_are_used(module: str) -> None:
    adapters = {entry.name for entry in MAPPING.adapters if entry.module == module}
    assert dir(import_module(module)) == sorted(adapters)


def test_a_star_brings_what_is_public() -> None:
    namespace: dict[str, object] = {}
    exec("from adamcompat import *", namespace)
    assert sorted(name for name in namespace if name != "__builtins__") == dir(adamcompat)


if __name__ == "__main__":
    LIST.write_text("".join(f"{line}\n" for line in surface()), encoding="utf-8")
