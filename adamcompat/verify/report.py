"""Print verdicts for people, and write them for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adamcompat.verify.judge import AGREES, DIFFERS, STRICTER, UNMEASURED, Verdict

# Below this width the columns of a table would be a word wide.
_TABLE_WIDTH = 110

_MANY = {AGREES: "agree", STRICTER: "stricter", UNMEASURED: "not measured", DIFFERS: "differ"}
_STYLES = {DIFFERS: "bold red", STRICTER: "dim", UNMEASURED: "dim"}


def as_json(verdicts: Sequence[Verdict], absent: Mapping[str, str]) -> str:
    """Return an object with the versions, what is absent and why, every fact, and the paths that differ, as JSON.

    Args:
        verdicts: on all facts.
        absent: the name of each framework that was not observed, and why.
    """
    found = {
        "versions": {verdict.framework: verdict.version for verdict in verdicts},
        "absent": dict(absent),
        "facts": [asdict(verdict) for verdict in verdicts],
        "differs": [verdict.path for verdict in verdicts if verdict.state == DIFFERS],
    }
    return json.dumps(found, indent=2) + "\n"


def show(console: Console, verdicts: Sequence[Verdict], absent: Mapping[str, str]) -> None:
    """Print every fact, then what differs, then how many there are of each kind.

    Args:
        console: where to print. From a width of 110 columns on, facts stand in a table for each dialect.
        verdicts: on all facts, those of one dialect together.
        absent: the name of each framework that was not observed, and why.
    """
    if console.width >= _TABLE_WIDTH:
        for dialect, block in groupby(verdicts, lambda verdict: verdict.dialect):
            console.print(_table(dialect, list(block)))
    else:
        for verdict in verdicts:
            line = f"{verdict.path}: {verdict.mapping}; {_source(verdict)}: {verdict.observed}: {verdict.state}"
            console.print(escape(line), style=_STYLES.get(verdict.state, ""), soft_wrap=True)
    for verdict in verdicts:
        if verdict.state == DIFFERS:
            text = f"{verdict.path}: the mapping has {verdict.mapping}"
            found = f"{_source(verdict)} has {verdict.observed}"
            console.print(f"[bold red]differs[/] {escape(f'{text}; {found}')}", soft_wrap=True)
    for source in dict.fromkeys(map(_source, verdicts)):
        counts = Counter(verdict.state for verdict in verdicts if _source(verdict) == source)
        parts = [f"{counts[state]} {many}" for state, many in _MANY.items() if counts[state]]
        console.print(f"{source}: {sum(counts.values())} facts: {', '.join(parts)}", soft_wrap=True)
    if any(verdict.state == STRICTER for verdict in verdicts):
        console.print(f"{STRICTER}: the mapping refuses what the original lets pass", style="dim", soft_wrap=True)
    for name, reason in absent.items():
        console.print(f"{name}: {escape(reason)}", soft_wrap=True)
    if not verdicts:
        console.print("No framework is installed here, so nothing was verified.")


def _source(verdict: Verdict) -> str:
    return f"{verdict.framework} {verdict.version}"


def _table(dialect: str, verdicts: Sequence[Verdict]) -> Table:
    """Return the facts of one dialect as a table; what all of their paths share stands above."""
    head = f"dialects.{dialect}"
    table = Table(title=head, title_justify="left", header_style="bold")
    table.add_column("fact", no_wrap=True)
    table.add_column("mapping", overflow="fold")
    table.add_column(_source(verdicts[0]), overflow="fold")
    table.add_column("verdict", no_wrap=True)
    for verdict in verdicts:
        cells = (verdict.path.removeprefix(f"{head}."), verdict.mapping, verdict.observed, verdict.state)
        table.add_row(*map(escape, cells), style=_STYLES.get(verdict.state, ""))
    return table
