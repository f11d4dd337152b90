"""Migrate notebooks: only the source of code cells changes, the rest of the file stays byte for byte."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from adamcompat.migrate.findings import Edit, Finding, apply
from adamcompat.migrate.text import migrate_text
from adamcompat.translation.messages import error

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
# Lines that IPython runs itself: magics, shell commands, help; and assignments from them.
_MAGIC = re.compile(r"^(\s*)(?:[%!?]|[\w.]+\?{1,2}\s*$|[\w, ]+=\s*[%!])")
# Cell magics behind which Python follows; behind any other the whole cell is something else.
_PYTHON_CELLS = ("%%time", "%%timeit", "%%capture", "%%prun", "%%python", "%%python3")
_HIDDEN = "pass  # adamcompat:magic:"
_MARK = "# adamcompat:cell:"


@dataclass(frozen=True, slots=True)
class _Cell:
    """A code cell.

    Attributes:
        number: its place among all cells, counted from 1.
        source: what it holds.
        spans: where the JSON strings of its source stand in the file; more than one only in a list.
        text: the source with magics hidden.
        hidden: the magics.
    """

    number: int
    source: str
    spans: tuple[tuple[int, int], ...]
    text: str = ""
    hidden: tuple[str, ...] = ()


def migrate_notebook(raw: str, to: str) -> tuple[str, list[Finding]]:
    """Migrate the text of an .ipynb file.

    Args:
        raw: the file's text, JSON.
        to: shim, mindspore or tensorflow.

    Returns:
        The new text and the findings. A cell sees the imports of all cells; one that does not parse is
        left alone, with a finding.
    """
    try:
        cells = list(_code_cells(raw))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        return raw, [Finding(error("does-not-parse", f"not a notebook: {problem}"))]
    findings: list[Finding] = []
    parsed: list[_Cell] = []
    hidden: tuple[str, ...]
    for cell in cells:
        text, hidden = cell.source, ()
        if _problem(text) is not None:
            text, hidden = _hide_magics(text)
        failed = _problem(text)
        if failed is None:
            parsed.append(replace(cell, text=text, hidden=hidden))
        else:
            message = error("does-not-parse", f"not valid Python: {failed}")
            findings.append(Finding(message, failed.lineno or 1, 1, cell.number))
    # The cells as one module, with a comment in front of each by which they are told apart again.
    whole = "".join(f"{_MARK}{index}\n{cell.text}\n" for index, cell in enumerate(parsed))
    new, found = migrate_text(whole, to)
    findings += [_placed(finding, parsed) for finding in found]
    findings.sort(key=lambda finding: (finding.cell or 0, finding.line, finding.column))
    texts = re.split(rf"^{_MARK}\d+\n", new, flags=re.MULTILINE)[1:]
    edits = [
        _edit(raw, cell, _show_magics(text.removesuffix("\n"), cell.hidden))
        for cell, text in zip(parsed, texts, strict=True)
        if text.removesuffix("\n") != cell.text
    ]
    return apply(raw, edits), findings


def _code_cells(raw: str) -> Iterator[_Cell]:
    """The code cells of a notebook with the places of their strings.

    JSON's strings are the same in the file and in a walk over what it says, one after the other.
    """
    tokens = _STRING.finditer(raw)

    def spans(value: Any) -> Iterator[tuple[str, tuple[int, int]]]:
        if isinstance(value, str):
            token = next(tokens)
            if json.loads(token[0]) != value:
                raise ValueError("a key is repeated")
            yield value, token.span()
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from spans(key)
                yield from spans(item)
        elif isinstance(value, list):
            for item in value:
                yield from spans(item)

    notebook = json.loads(raw)
    for key, value in notebook.items():
        list(spans(key))
        if key != "cells":
            list(spans(value))
            continue
        for number, cell in enumerate(value, 1):
            found: list[tuple[str, tuple[int, int]]] = []
            for name, item in cell.items():
                list(spans(name))
                strings = list(spans(item))
                found = strings if name == "source" else found
            if cell["cell_type"] == "code" and found:
                yield _Cell(number, "".join(text for text, _ in found), tuple(span for _, span in found))


def _problem(text: str) -> SyntaxError | None:
    """Why some text is not valid Python, if it is not."""
    try:
        ast.parse(text)
    except SyntaxError as problem:
        return problem
    except ValueError as problem:
        return SyntaxError(str(problem))
    return None


def _hide_magics(source: str) -> tuple[str, tuple[str, ...]]:
    """The source with every line that only IPython understands behind a placeholder; and these lines."""
    lines = source.split("\n")
    hidden: list[str] = []
    first = next((line.strip() for line in lines if line.strip()), "")
    everything = first.startswith("%%") and first.partition(" ")[0] not in _PYTHON_CELLS
    continued = False
    for index, line in enumerate(lines):
        match = _MAGIC.match(line)
        if everything or match or continued:
            indent = match[1] if match and not everything and not continued else ""
            lines[index] = f"{indent}{_HIDDEN}{len(hidden)}"
            hidden.append(line)
            continued = line.rstrip().endswith("\\")
    return "\n".join(lines), tuple(hidden)


def _show_magics(text: str, hidden: tuple[str, ...]) -> str:
    return re.sub(rf"[ \t]*{re.escape(_HIDDEN)}(\d+)", lambda match: hidden[int(match[1])], text)


def _placed(finding: Finding, cells: list[_Cell]) -> Finding:
    """A finding on all cells together as one on its cell."""
    start = 0
    for cell in cells:
        length = cell.text.count("\n") + 2
        if start < finding.line <= start + length:
            return replace(finding, line=finding.line - start - 1, cell=cell.number)
        start += length
    return finding


def _edit(raw: str, cell: _Cell, source: str) -> Edit:
    """The strings of a cell's source, written anew where they changed."""
    old = {json.loads(raw[start:end]): raw[start:end] for start, end in cell.spans}
    start, end = cell.spans[0][0], cell.spans[-1][1]
    before = raw[:start].rstrip()
    lines = source.splitlines(keepends=True) if before.endswith("[") else [source]
    between = "," + raw[len(before) : start]
    return Edit(
        start, end, between.join(old.get(line) or json.dumps(line, ensure_ascii=raw.isascii()) for line in lines)
    )
