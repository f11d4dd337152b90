"""Read the arguments that several commands take."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from adamcompat.mapping.model import Mapping
from adamcompat.mapping.originals import dialect_named
from adamcompat.mapping.tables import MAPPING


def dialect(name: str, mapping: Mapping = MAPPING) -> str:
    """Return the short name of a dialect.

    Args:
        name: its short name, a dotted name of its class, or what tools call the original, such as ``keras``.
        mapping: the dialects that there are.

    Raises:
        argparse.ArgumentTypeError: there is no such dialect; the text names the most similar one, or all.
    """
    if (found := dialect_named(name, mapping)) is not None:
        return found.name
    known = [*mapping.dialects, *(entry.target for entry in mapping.dialects.values())]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(mapping.dialects)}"
    raise argparse.ArgumentTypeError(f"unknown dialect {name!r}; {hint}")


def path(text: str) -> Path:
    """Return a path.

    Args:
        text: the argument. An empty one, as a variable without a value gives, does not mean the current folder.

    Raises:
        argparse.ArgumentTypeError: the argument is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("a path is empty; name a file or folder")
    return Path(text)


def add_aliases(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a file of aliases.

    Args:
        parser: the parser of a command.
    """
    parser.add_argument(
        "--aliases",
        type=path,
        metavar="FILE",
        help="classes of other libraries, in the grammar of mapping.yaml: names of known classes under 'aliases', and "
        "'dialects' of their own that extend known ones; docs/translate.md shows one",
    )


def known_dialects() -> str:
    """Return the list of the dialects, for the end of a command's help."""
    width = max(map(len, MAPPING.dialects))
    lines = [f"  {key:<{width}} {entry.target} ({entry.versions})" for key, entry in MAPPING.dialects.items()]
    return "\n".join(["dialects:", *lines])
