"""Write the remarks of a migration as SARIF 2.1.0, which code hosts and editors read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from adamcompat import __version__
from adamcompat.migrate.findings import Finding, Outcome
from adamcompat.migrate.notebook import lines_of_cells
from adamcompat.migrate.rules import RULES
from adamcompat.translation.messages import Severity

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.ERROR: "error"}
_ROOT = "%SRCROOT%"


def sarif(outcomes: Iterable[Outcome], root: Path) -> dict[str, Any]:
    """Return the remarks on some files as one log of SARIF 2.1.0.

    Args:
        outcomes: what became of the files.
        root: the folder from which the addresses of the files go out.
    """
    rules: dict[str, int] = {}
    results: list[dict[str, Any]] = []
    for outcome in outcomes:
        cells = any(finding.cell is not None for finding in outcome.findings)
        lines = lines_of_cells(outcome.before) if cells else {}
        for finding in outcome.findings:
            code = finding.message.code
            results.append(
                {
                    "ruleId": code,
                    "ruleIndex": rules.setdefault(code, len(rules)),
                    "level": _LEVELS[finding.message.severity],
                    "message": {"text": finding.message.text},
                    "locations": [_location(outcome.path, finding, lines, root)],
                }
            )
    driver = {"name": "adamcompat", "version": __version__, "rules": [_rule(code) for code in rules]}
    started = {"text": "the folder in which adamcompat was started"}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_ROOT: {"description": started}},
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    text = RULES[code]
    return {
        "id": code,
        "shortDescription": {"text": text.replace("`", "")},
        "help": {"text": text.replace("`", ""), "markdown": text},
    }


def _location(path: Path, finding: Finding, lines: dict[int, list[int]], root: Path) -> dict[str, Any]:
    """Return where a remark stands; one on a whole file stands in its first line, which code hosts ask for."""
    region = {"startLine": max(finding.line, 1), "startColumn": max(finding.column, 1)}
    found: dict[str, Any] = {}
    if finding.cell is not None:
        # The line of the cell's text in the file; its columns are those of a string with escapes.
        inside = lines.get(finding.cell, [])
        region = {"startLine": inside[finding.line - 1] if 0 < finding.line <= len(inside) else 1}
        found["logicalLocations"] = [{"name": f"cell {finding.cell}, line {finding.line}, column {finding.column}"}]
    return {"physicalLocation": {"artifactLocation": _address(path, root), "region": region}, **found}


def _address(path: Path, root: Path) -> dict[str, str]:
    """Return the address of a file, relative to a folder where it stands in that."""
    # Without links being followed: a code host knows a file by the name that it has there.
    whole = Path(os.path.abspath(root / path))  # noqa: PTH100
    try:
        relative = whole.relative_to(os.path.abspath(root))  # noqa: PTH100
    except ValueError:
        return {"uri": whole.as_uri()}
    # A name may hold bytes that are no text.
    return {"uri": quote(os.fsencode(relative.as_posix())), "uriBaseId": _ROOT}
