"""Run ``adamcompat state``: show optimizer state in files, and carry it from one form to another."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adamcompat.commands import DONE, WRONG_USAGE
from adamcompat.extras import how_to_install

if TYPE_CHECKING:
    from adamcompat.state.files import Conversion, Document

EXAMPLES = """\
  adamcompat state show run.ckpt                     the optimizer state in a file
  adamcompat state convert run.keras run.ckpt --like fresh.ckpt
"""

# How roles are headed in a table.
_HEADS = {
    "parameter": "parameter",
    "first_moment": "m",
    "second_moment": "v",
    "maximum_second_moment": "v max",
    "average": "average",
    "accumulated_gradient": "accumulated",
}


def add(commands: Any) -> None:
    """Add the command's parser.

    Args:
        commands: the subparsers of the command line.
    """
    state = commands.add_parser(
        "state",
        help="show and convert optimizer state in files",
        description="Show Adam's state in a file of Keras, TensorFlow, MindSpore, PyTorch or adamcompat, or carry it "
        "to another file.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tasks = state.add_subparsers(dest="task", required=True, metavar="TASK")
    show = tasks.add_parser("show", help="print the step, and the shape and norm of each moment and parameter")
    show.add_argument(
        "file",
        metavar="FILE",
        help=".safetensors, .ckpt, .keras, .weights.h5, .h5, .pt, .pth, or a checkpoint of TensorFlow",
    )
    convert = tasks.add_parser(
        "convert",
        help="write the state in one file to another",
        description="Write the state in SRC to DST, which is replaced as a whole or not at all. What will be written "
        "is shown first.",
    )
    convert.add_argument("source", metavar="SRC")
    convert.add_argument(
        "target",
        metavar="DST",
        help="ends in .safetensors (adamcompat's form), .ckpt, .keras, .weights.h5, .pt or .pth",
    )
    convert.add_argument(
        "--like", metavar="FILE", help="a file by the program that will read DST, at any step: names, shapes, the rest"
    )
    convert.add_argument(
        "--map", metavar="MAP.yaml", help="rename:, layout: and alone: where names and shapes leave it open"
    )
    convert.add_argument(
        "--mindspore", action="store_true", help="MindSpore's names in a .safetensors file, not adamcompat's"
    )
    convert.add_argument("--state-only", action="store_true", help="leave the parameters as they are in --like")
    convert.add_argument("--cast", action="store_true", help="round to the dtypes of --like where those are narrower")
    convert.add_argument("--dry-run", action="store_true", help="show what would be written, and stop")
    for task in (show, convert):
        for beta in ("beta1", "beta2"):
            task.add_argument(
                f"--{beta}", type=float, metavar="X", help=f"{beta} of the file that is read, where it does not tell it"
            )


def run(options: argparse.Namespace, console: Console) -> int:
    """Show or convert the state in a file.

    Args:
        options: the parsed arguments.
        console: the console to print to.

    Returns:
        0 where it is done, 2 where a file cannot be used.
    """
    from adamcompat.state.terms import StateError

    if "" in vars(options).values():
        sys.stderr.write("adamcompat state: a path is empty; name a file\n")
        return WRONG_USAGE
    try:
        with _warnings_as_lines():
            return _show(options, console) if options.task == "show" else _convert(options, console)
    except StateError as error:
        sys.stderr.write(f"adamcompat state: {error}\n")
        if any(option in str(error) for option in ("rename=", "layout=", "alone=")):
            sys.stderr.write("Here these stand in a file for --map, as rename:, layout: and alone:.\n")
        return WRONG_USAGE


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Show warnings for the user as the errors are shown, without the place in our code."""

    def show(message: Warning | str, *rest: object) -> None:
        sys.stderr.write(f"adamcompat state: note: {message}\n")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _open(path: str, options: argparse.Namespace) -> Document:
    from adamcompat.state.files import open_document

    return open_document(path, beta1=options.beta1, beta2=options.beta2)


def _show(options: argparse.Namespace, console: Console) -> int:
    from adamcompat.state.files.formats import FORMS, refuse_missing
    from adamcompat.state.files.stored import norm

    document = _open(options.file, options)
    refuse_missing(document)
    state = document.state
    roles = list(state.tensors)
    table = _table(f"{document.path}: {FORMS[document.form]}", ["parameter", "shape", "dtype"], roles)
    for name in state.names:
        moment = state.first_moment[name]
        norms = [f"{norm(state.tensors[role][name]):.6g}" for role in roles]
        table.add_row(escape(name), _shape(moment.shape), str(moment.dtype), *norms)
    console.print(table)
    console.print(escape(repr(state)), soft_wrap=True)
    facts = ", ".join(f"{name}={value}" for name, value in state.hyperparameters.items())
    if facts:
        console.print(f"hyperparameters: {escape(facts)}", soft_wrap=True)
    return DONE


def _convert(options: argparse.Namespace, console: Console) -> int:
    from adamcompat.state.files import convert
    from adamcompat.state.files.formats import FORMS, MINDSPORE_SAFETENSORS

    conversion = convert(
        _open(options.source, options),
        options.target,
        like=_open(options.like, options) if options.like else None,
        form=MINDSPORE_SAFETENSORS if options.mindspore else None,
        state_only=options.state_only,
        cast=options.cast,
        **_map(options.map),
    )
    console.print(_shown(conversion))
    console.print(
        f"{FORMS[conversion.source.form]} to {FORMS[conversion.form]}, step {conversion.state.step}, "
        f"{conversion.bytes:,} bytes",
        soft_wrap=True,
    )
    if options.dry_run:
        console.print(f"Nothing was written: {escape(str(conversion.path))} would be.", soft_wrap=True)
        return DONE
    columns = (TextColumn("writing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=conversion.bytes)
        conversion.carry_out(lambda count: progress.advance(task, count))
    console.print(f"wrote {escape(str(conversion.path))}", soft_wrap=True)
    return DONE


def _shown(conversion: Conversion) -> Table:
    roles = list(conversion.source.state.tensors)
    table = _table("", ["from", "to", "layout", "because of"], roles)
    rows = conversion.matching.rows()
    # What has no partner stands after the pairs, and nothing of it is carried.
    carried = [norms for _, norms in conversion.norms()]
    for position, (source, target, layout, evidence) in enumerate(rows):
        norms = carried[position] if position < len(carried) else {}
        found = [f"{norms[role]:.6g}" if role in norms else "" for role in roles]
        table.add_row(*map(escape, (source, target, layout, evidence.removeprefix("by "))), *found)
    return table


def _table(title: str, columns: list[str], roles: list[str]) -> Table:
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for role in roles:
        table.add_column(f"norm of {_HEADS[role]}", justify="right")
    return table


def _shape(shape: tuple[int, ...]) -> str:
    return str(tuple(shape)).replace(" ", "")


def _map(path: str | None) -> dict[str, Any]:
    """Return the contents of a map file; empty without a file.

    Raises:
        StateError: it cannot be read, or says something else than rename, layout and alone.
    """
    from adamcompat.files import check_file
    from adamcompat.state.terms import StateError

    if path is None:
        return {}
    try:
        import yaml
    except ModuleNotFoundError:
        raise StateError(f"--map needs PyYAML: {how_to_install('files')}") from None
    try:
        check_file(path)
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise StateError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict) or set(found) - {"rename", "layout", "alone"}:
        raise StateError(f"{path}: expected rename:, layout: and alone:, and nothing else")
    alone = found.pop("alone", None) or []
    return {**{key: _tuples(value) for key, value in found.items()}, "alone": alone}


def _tuples(value: Any) -> Any:
    """Return a value of YAML, which has no tuples, with tuples in place of lists that stand for them.

    A list of numbers is a permutation, a list of two texts a pair.
    """
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_tuples(item) for item in value]
        plain = all(isinstance(item, int) for item in items)
        pair = len(items) == 2 and all(isinstance(item, str) for item in items)
        return tuple(items) if plain or pair else items
    return value
