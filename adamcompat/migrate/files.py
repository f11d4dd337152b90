"""Find, read, migrate and replace files."""

from __future__ import annotations

import io
import os
import re
import tempfile
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from adamcompat.migrate.findings import Finding, Outcome
from adamcompat.migrate.notebook import migrate_notebook
from adamcompat.migrate.text import TARGETS, migrate_text
from adamcompat.translation.messages import error

SUFFIXES = (".py", ".ipynb")
_MENTIONS = re.compile(rb"adam", re.IGNORECASE)
# From here on starting processes pays.
_MANY = 200

__all__ = ["TARGETS", "Outcome", "find", "migrate_file", "migrate_files", "write"]


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """The files to look at: files as they are named, and in folders every .py and .ipynb.

    Hidden folders, virtual environments, __pycache__ and node_modules are passed over, and links to
    folders are not followed.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(path)
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            here = Path(folder)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and name not in ("__pycache__", "node_modules")
                and not (here / name / "pyvenv.cfg").exists()
            )
            yield from (here / name for name in sorted(names) if name.endswith(SUFFIXES))


def migrate_file(path: Path, to: str) -> Outcome:
    """Read and migrate one file; nothing is written.

    Args:
        path: a .py or .ipynb file.
        to: shim, mindspore or tensorflow.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        return Outcome(path, (Finding(error("cannot-read", f"{problem.strerror or problem}")),))
    if not _MENTIONS.search(data):
        return Outcome(path)
    notebook = path.suffix == ".ipynb"
    try:
        text = data.decode("utf-8" if notebook else _encoding(data))
    except (SyntaxError, UnicodeDecodeError, LookupError) as problem:
        return Outcome(path, (Finding(error("does-not-parse", f"cannot be decoded: {problem}")),))
    after, findings = (migrate_notebook if notebook else migrate_text)(text, to)
    return Outcome(path, tuple(findings), text, after)


def _encoding(data: bytes) -> str:
    return tokenize.detect_encoding(io.BytesIO(data).readline)[0]


def migrate_files(paths: Sequence[Path], to: str) -> Iterator[Outcome]:
    """Migrate many files, in their order; nothing is written."""
    work = partial(migrate_file, to=to)
    workers = min(os.cpu_count() or 1, 8)
    if len(paths) < _MANY or workers == 1:
        yield from map(work, paths)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(work, paths, chunksize=16)


def write(outcome: Outcome) -> Outcome:
    """Replace a file by its migrated text: as a whole or not at all, with its mode and encoding.

    Returns:
        The outcome; with another finding, and unchanged, where the file could not be written.
    """
    # A link stays a link.
    path = outcome.path.resolve()
    temporary: str | None = None
    try:
        encoding = "utf-8" if path.suffix == ".ipynb" else _encoding(path.read_bytes())
        data = outcome.after.encode(encoding)
        mode = path.stat().st_mode
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode & 0o7777)
        Path(temporary).replace(path)
    except (OSError, UnicodeEncodeError) as problem:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink()
        finding = Finding(error("cannot-write", f"left alone: {problem}"))
        return outcome.unchanged(*outcome.findings, finding)
    return outcome
