"""Run ``adamcompat table``: print the parameter mapping between two dialects."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from adamcompat.commands import DONE
from adamcompat.commands.arguments import dialect, known_dialects
from adamcompat.differences import OTHER_MEANING, OTHER_STEP, SAME, rows
from adamcompat.mapping.tables import MAPPING
from adamcompat.render import RENDERERS, cells, headings, line_of

EXAMPLES = """\
  adamcompat table                                   Keras 3 to MindSpore
  adamcompat table --from tf26 --to mindspore        what TensorFlow 2.6's Adam becomes
  adamcompat table --format html > mapping.html      as a page; also markdown, json, csv
"""

# Below this width the notes of a table would be a word wide.
_TABLE_WIDTH = 130

_STYLES = {SAME: "dim", OTHER_MEANING: "bold red", OTHER_STEP: "bold red"}


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    table = commands.add_parser(
        "table",
        help="print the parameter mapping between two dialects",
        description="Print the parameter mapping between two dialects of Adam.",
        epilog=f"{known_dialects()}\n\nexamples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    table.add_argument(
        "--from", dest="source", type=dialect, default="keras3", metavar="DIALECT", help="default: keras3"
    )
    table.add_argument(
        "--to", dest="target", type=dialect, default="mindspore", metavar="DIALECT", help="default: mindspore"
    )
    table.add_argument("--format", choices=["rich", *RENDERERS], default="rich", help="default: rich")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the table in the format that is asked for.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0.
    """
    if options.format == "rich":
        print_table(console, options.source, options.target)
    else:
        table = rows(MAPPING, options.source, options.target)
        sys.stdout.write(RENDERERS[options.format](MAPPING, options.source, options.target, table))
    return DONE


def print_table(console: Console, source: str, target: str) -> None:
    """Print a mapping table for people: as a table where it fits, else as a list.

    Args:
        console: the console to print to; its width decides.
        source: the name of the dialect to come from, such as ``keras3``.
        target: the name of the dialect to go to, such as ``mindspore``.
    """
    a, b = MAPPING.dialects[source], MAPPING.dialects[target]
    found = rows(MAPPING, source, target)
    if console.width < _TABLE_WIDTH:
        console.print(f"[bold]{a.target} to {b.target}[/]", soft_wrap=True)
        for row in found:
            console.print(escape(line_of(row)), style=_STYLES.get(row.category, ""))
            if row.note:
                console.print(Padding(escape(row.note), (0, 0, 0, 4)), style="dim")
        return
    table = Table(title=f"{a.target} to {b.target}", title_justify="left", header_style="bold")
    for position, title in enumerate(headings(MAPPING, source, target)):
        table.add_column(title, no_wrap=position < 4, ratio=None if position < 5 else 1)
    for row in found:
        table.add_row(*map(escape, cells(row)), style=_STYLES.get(row.category, ""))
    console.print(table)
