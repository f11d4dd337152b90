"""Print verdicts for people, and write them for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.markup import escape

from adamcompat.terminal import fits, say, table
from adamcompat.verify.counts import by_framework, difference, source_of, summary
from adamcompat.verify.judge import DIFFERS, STRICTER, UNMEASURED, Verdict

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
    """Print how many facts agree, which do not, how many each framework has, and then every fact.

    Args:
        console: where to print. Where all facts fit, they stand in a table for each dialect, else in lists.
        verdicts: on all facts, those of one dialect together.
        absent: the name of each framework that was not observed, and why.
    """
    wrong = [verdict for verdict in verdicts if verdict.state == DIFFERS]
    style = "bold red" if wrong else "bold green"
    if verdicts:
        say(console, summary(verdicts), style)
    else:
        console.print("No framework is installed here, so nothing was verified.", soft_wrap=True)
    for verdict in wrong:
        say(console, difference(verdict), "red")
    for text in by_framework(verdicts):
        say(console, text)
    if any(verdict.state == STRICTER for verdict in verdicts):
        say(console, f"{STRICTER}: the mapping refuses what the original lets pass", "dim")
    for name, reason in absent.items():
        # It ends in a command, which is to be copied.
        console.print(escape(f"{name}: {reason}"), soft_wrap=True)
    _show_facts(console, verdicts)
    if verdicts:
        # After some hundred lines the first ones are out of sight.
        console.print()
        say(console, summary(verdicts), style)


def _show_facts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print the facts of each dialect: as tables where all of them fit, else as lists."""
    blocks = [(dialect, list(block)) for dialect, block in groupby(verdicts, lambda verdict: verdict.dialect)]
    tables = [_rows(dialect, block) for dialect, block in blocks]
    wide = all(fits(console.width, heads, rows) for heads, rows in tables)
    for (dialect, block), (heads, rows) in zip(blocks, tables, strict=True):
        console.print()
        if wide:
            styles = [_STYLES.get(verdict.state, "") for verdict in block]
            console.print(table(console.width, heads, rows, f"dialects.{dialect}", styles=styles))
            continue
        say(console, f"dialects.{dialect}, {heads[2]}", "bold")
        for verdict, (fact, mapped, observed, state) in zip(block, rows, strict=True):
            found = mapped if mapped == observed else f"{mapped}; found: {observed}"
            say(console, f"{state} {fact}: {found}", _STYLES.get(verdict.state, ""), first="  ")


def _rows(dialect: str, verdicts: Sequence[Verdict]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the heads and rows of one dialect's table; what all of its paths share stands above them."""
    head = f"dialects.{dialect}."
    return ("fact", "mapping", source_of(verdicts[0]), "verdict"), [
        (verdict.path.removeprefix(head), verdict.mapping, verdict.observed, verdict.state) for verdict in verdicts
    ]
