"""The public surface: what is listed here is what users may rely on, and a change of it is deliberate.

After such a change: python -m tests.test_surface
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
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
        names = (
            home.__all__ if module != "adamcompat" else [*home._ELSEWHERE, *import_module("adamcompat.numpy").__all__]
        )
        lines += [line for name in sorted(names) for line in described(module, name)]
    # The signatures of generated classes are facts of the mapping, and tested as such.
    lines += [f"{adapter.module}.{adapter.name}" for adapter in MAPPING.adapters if adapter.runtime != "numpy"]
    return lines


def test_the_public_surface_is_what_is_listed() -> None:
    pytest.importorskip("libcst")
    assert surface() == LIST.read_text(encoding="utf-8").splitlines(), "deliberate? run: python -m tests.test_surface"


def test_nothing_else_is_public() -> None:
    """What dir() shows is listed, a module, or what the package itself imports."""
    shown = {name for name in dir(adamcompat) if not name.startswith("_")}
    own = {name for name in shown if not isinstance(getattr(adamcompat, name), ModuleType)}
    listed = {line.split(".")[1].partition("(")[0] for line in surface() if line.startswith("adamcompat.")}
    assert own - listed == {"Any", "TYPE_CHECKING", "annotations", "import_module"}


if __name__ == "__main__":
    LIST.write_text("".join(f"{line}\n" for line in surface()), encoding="utf-8")
