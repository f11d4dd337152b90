#!/usr/bin/env python3
"""Generate everything that follows from mapping.yaml.

    python scripts/generate.py            write the files
    python scripts/generate.py --check    exit 1 and name the command if a file is out of date
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

HOME = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HOME))

from adamcompat.mapping.compare import rows  # noqa: E402
from adamcompat.mapping.loader import MappingError, load  # noqa: E402
from adamcompat.mapping.model import Adapter, Dialect, Mapping, ParameterFact  # noqa: E402
from adamcompat.render import markdown  # noqa: E402

HEAD = "# Generated from mapping.yaml by scripts/generate.py; edit that file, not this one.\n"
MEND = "python scripts/generate.py"
MARK = re.compile(r"(<!-- generated: table (\w+) (\w+) -->\n).*?(<!-- end of generated table -->)", re.DOTALL)

HINTS = {
    "number": "float",
    "float": "float",
    "integer": "int",
    "flag": "bool",
    "text": "str",
    "beta": "Beta",
    "learning_rate": "LearningRate",
    "decay": "Decay",
    "parameters": "Parameters",
}
BASES = {"apply_gradients": "ApplyGradientsAdam", "call": "CallAdam"}
EXAMPLES = {
    "apply_gradients": """
>>> import numpy as np
>>> weight = np.array([1.0, 2.0])
>>> optimizer = {name}()
>>> optimizer.apply_gradients([(np.array([0.5, -0.5]), weight)])
1
>>> weight.round(4)
array([0.999, 2.001])
""",
    "call": """
>>> import numpy as np
>>> weight = np.array([1.0, 2.0])
>>> optimizer = {name}([weight])
>>> optimizer((np.array([0.5, -0.5]),))
(True,)
>>> weight.round(4)
array([0.999, 2.001])
""",
}
SOURCES = """\
Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), Section 2; AMSGrad:
Reddi, Kale and Kumar, "On the Convergence of Adam and Beyond" (2018)."""


def literal(value: Any, indent: int = 0) -> str:
    """`value` as Python source."""
    pad = "    " * (indent + 1)
    end = "    " * indent
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        flat = f"{type(value).__name__}({', '.join(f'{name}={literal(item)}' for name, item in fields)})"
        if len(flat) + 4 * indent <= 100 and "\n" not in flat:
            return flat
        lines = "".join(f"{pad}{name}={literal(item, indent + 1)},\n" for name, item in fields)
        return f"{type(value).__name__}(\n{lines}{end})"
    if isinstance(value, dict):
        lines = "".join(f"{pad}{literal(key)}: {literal(item, indent + 1)},\n" for key, item in value.items())
        return f"{{\n{lines}{end}}}"
    if isinstance(value, tuple):
        flat = f"({', '.join(literal(item) for item in value)}{',' if len(value) == 1 else ''})"
        if len(flat) + 4 * indent <= 100 and "\n" not in flat:
            return flat
        return "(\n" + "".join(f"{pad}{literal(item, indent + 1)},\n" for item in value) + f"{end})"
    if isinstance(value, float) and math.isinf(value):
        return "math.inf" if value > 0 else "-math.inf"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def tables(mapping: Mapping) -> str:
    """adamcompat/mapping/tables.py"""
    body = literal(mapping)
    used = sorted(set(re.findall(r"\b([A-Z]\w+)\(", body)))
    names = "".join(f"    {name},\n" for name in used)
    return (
        f'{HEAD}# ruff: noqa: E501, RUF100\n"""The facts of mapping.yaml as Python objects."""\n\nimport math\n\n'
        f"from adamcompat.mapping.model import (\n{names})\n\nMAPPING = {body}\n"
    )


def hint(fact: ParameterFact) -> str:
    optional = fact.default is None and not fact.required
    return HINTS[fact.type] + (" | None" if optional else "")


def wrapped(text: str, first: str, rest: str) -> str:
    return textwrap.fill(text, 100, initial_indent=first, subsequent_indent=rest)


def describe(mapping: Mapping, fact: ParameterFact, origin: str = "") -> str:
    text = f"{fact.name}: {mapping.canonical[fact.canonical].about}"
    if fact.note:
        text += f" {fact.note}"
    if fact.range is not None:
        text += f" In {fact.range}."
    text += " Required." if fact.required else f" Default: {fact.default!r}."
    return wrapped(text + origin, "    ", "        ")


def docstring(mapping: Mapping, adapter: Adapter, dialect: Dialect) -> str:
    lines = [f"Adam as {dialect.title} calls it, on NumPy arrays, which are updated in place.", ""]
    lines += [f"The call is that of {dialect.target} ({dialect.versions}).", ""]
    lines += ["m <- m + (g - m) (1 - beta1)", "v <- v + (g^2 - v) (1 - beta2)"]
    lines += ["p <- p - learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)"]
    lines[4:] = ["    " + line for line in lines[4:]]
    lines += ["", "Args:"]
    lines += [describe(mapping, fact) for fact in dialect.accepted]
    for other, fact in mapping.borrowed(adapter):
        lines.append(describe(mapping, fact, f" {other.title}'s; honoured with a UserWarning."))
    about = "; ".join(f"{entry.name!r}: {entry.about}" for entry in mapping.numerics.values())
    lines.append(wrapped(f"numerics: How to round. {about} Default: 'canonical'.", "    ", "        "))
    if dialect.groups:
        lines += ["", "Keys of a parameter group:"]
        lines += [describe(mapping, fact) for fact in dialect.groups]
    errors = dialect.errors
    lines += ["", "Raises:"]
    for kind in dataclasses.fields(errors):
        lines.append(f"    {getattr(errors, kind.name)}: {kind.name.replace('_', ' ')}.")
    lines += ["", "Example:", textwrap.indent(EXAMPLES[dialect.protocol].format(name=adapter.name).strip(), "    ")]
    lines += ["", SOURCES]
    return "\n".join(lines)


def adapter_class(mapping: Mapping, adapter: Adapter) -> str:
    dialect = mapping.dialects[adapter.dialect]
    signature = ["self"]
    for fact in dialect.parameters:
        signature.append(f"{fact.name}: {hint(fact)}" + ("" if fact.required else f" = {literal(fact.default)}"))
    signature += ["*", f'numerics: str = "canonical"']
    if dialect.kwargs or adapter.borrows:
        signature.append("**kwargs: Any")
    given = "".join(f"                {literal(fact.name)}: {fact.name},\n" for fact in dialect.parameters)
    extra = "kwargs" if dialect.kwargs or adapter.borrows else "{}"
    doc = textwrap.indent(docstring(mapping, adapter, dialect), "    ").strip()
    return (
        f"class {adapter.name}({BASES[dialect.protocol]}):\n"
        f'    """{doc}\n    """\n\n'
        f"    _adapter = {literal(adapter.name)}\n\n"
        "    def __init__(\n        " + ",\n        ".join(signature) + ",\n    ) -> None:\n"
        f"        super().__init__(\n            {{\n{given}            }},\n            {extra},\n            numerics,\n        )\n"
    )


def adapters(mapping: Mapping) -> str:
    """adamcompat/numpy/adapters.py"""
    chosen = [adapter for adapter in mapping.adapters if adapter.runtime == "numpy"]
    classes = "\n\n".join(adapter_class(mapping, adapter) for adapter in chosen)
    bases = sorted({BASES[mapping.dialects[adapter.dialect].protocol] for adapter in chosen})
    modules = {"ApplyGradientsAdam": "apply_gradients", "CallAdam": "call"}
    imports = "".join(f"from adamcompat.numpy.{modules[base]} import {base}\n" for base in bases)
    hints = [name for name in ("Beta", "Decay", "LearningRate", "Parameters") if re.search(rf": {name}\b", classes)]
    listed = "".join(f"    {literal(adapter.name)},\n" for adapter in chosen)
    return (
        f'{HEAD}# ruff: noqa: E501, RUF100\n"""Adapters for NumPy arrays: the exact signature of each dialect."""\n\n'
        f"from __future__ import annotations\n\nfrom typing import Any\n\n{imports}"
        f"from adamcompat.numpy.optimizer import {', '.join(hints)}\n\n__all__ = [\n{listed}]\n\n\n{classes}"
    )


def readme(mapping: Mapping, text: str) -> str:
    """README.md with its tables replaced."""
    return MARK.sub(lambda m: m[1] + markdown(mapping, m[2], m[3], rows(mapping, m[2], m[3])) + m[4], text)


def outputs(mapping: Mapping, home: Path) -> dict[Path, str]:
    """Every generated file and what it must hold."""
    page = home / "README.md"
    return {
        home / "adamcompat/mapping/tables.py": tables(mapping),
        home / "adamcompat/numpy/adapters.py": adapters(mapping),
        page: readme(mapping, page.read_text(encoding="utf-8")),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    parser.add_argument("--root", type=Path, default=HOME, help="the checkout to work on (default: this one)")
    options = parser.parse_args(arguments)
    try:
        wanted = outputs(load(options.root / "mapping.yaml"), options.root)
    except MappingError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(options.root)} is out of date; run: {MEND}", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(options.root)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
