"""Find, read, migrate and replace files."""

from __future__ import annotations

import io
import os
import re
import stat
import tokenize
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from pathlib import Path

from adamcompat.executors.launch import processors
from adamcompat.files import replacing
from adamcompat.kinds import path_of, told
from adamcompat.migrate.constructions import in_text
from adamcompat.migrate.findings import Finding, Outcome
from adamcompat.migrate.notebook import migrated_notebook
from adamcompat.migrate.text import TARGETS, check_target, migrated
from adamcompat.translation.aliases import known
from adamcompat.translation.messages import error
from adamcompat.translation.names import Catalogue

SUFFIXES = (".py", ".ipynb")
# A model is given its optimizer here, perhaps by a name that is put together.
_COMPILES = re.compile(rb"\.\s*compile\s*\(")
# From here on starting processes pays.
_MANY = 200

__all__ = ["TARGETS", "Outcome", "find", "migrate_file", "migrate_files", "write"]


def find(paths: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    """Yield the files to look at: files as they are named, and in folders every .py and .ipynb.

    Hidden folders, virtual environments, __pycache__ and node_modules are passed over, and links to folders are not
    followed. A folder that cannot be listed is yielded itself.

    Args:
        paths: a file or folder, or several.

    Returns:
        The files, one after the other.

    Raises:
        TypeError: an argument is no path.
        FileNotFoundError: a path does not exist.
    """
    return _find(_several(paths))


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Return files without those that are named a second time, as by ``a.py`` and ``./b/../a.py``.

    A link beside its file is another name, which has its own place in a repository.

    Args:
        paths: the files.

    >>> [path.as_posix() for path in distinct([Path("a.py"), Path("b/../a.py"), Path("./a.py").absolute()])]
    ['a.py']
    """
    found: dict[str, Path] = {}
    for path in paths:
        # The folder without links, for `..` leads out of the folder that a link leads to.
        name = os.path.join(os.path.realpath(path.parent), path.name) if path.name != ".." else os.path.realpath(path)  # noqa: PTH118
        found.setdefault(name, path)
    return list(found.values())


def _several(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return paths as such; one that stands alone is one of them."""
    many = [paths] if isinstance(paths, (str, bytes, os.PathLike)) or not isinstance(paths, Iterable) else paths
    return [path_of(path, "a path") for path in many]


def _find(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except OSError:
            yield path
            continue
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a folder on the way is closed
            yield path
            continue
        closed: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=closed.append):
            here = Path(folder)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and name not in ("__pycache__", "node_modules")
                and not os.path.exists(here / name / "pyvenv.cfg")  # noqa: PTH110 - likewise
            )
            yield from (here / name for name in sorted(names) if name.endswith(SUFFIXES))
        yield from (Path(problem.filename) for problem in closed)


def migrate_file(path: str | Path, to: str, aliases: str | Path | None = None) -> Outcome:
    """Read and migrate one file; nothing is written. Whatever is wrong with the file is a finding.

    Args:
        path: a .py or .ipynb file.
        to: shim, mindspore or tensorflow.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        The texts before and after, and the findings. Both texts are empty where the file was not read, or has nothing
        to do with Adam.

    Raises:
        TypeError: `path` is no path.
        ValueError: an unknown target, or a mistake in the file of aliases.
        ModuleNotFoundError: aliases are given, and PyYAML is missing.
    """
    path = path_of(path, "path")
    check_target(to)
    if why := _reason(path):
        return Outcome(path, (Finding(error("cannot-read", why)),))
    try:
        data = path.read_bytes()
    except (OSError, MemoryError) as problem:
        return Outcome(path, (Finding(error("cannot-read", _said(problem))),))
    catalogue = known(aliases)
    if not _may_mention(data, catalogue):
        return Outcome(path)
    notebook = path.suffix == ".ipynb"
    try:
        text = _decoded(data, path)
    except (SyntaxError, UnicodeError, LookupError) as problem:
        reason = error("does-not-parse", f"cannot be decoded: {problem}")
        made = in_text(data.decode("latin-1"), catalogue, reason)
        return Outcome(path, (Finding(reason),), constructions=tuple(made))
    try:
        done = (migrated_notebook if notebook else migrated)(text, to, catalogue)
    except Exception as problem:
        # One odd file must not end the run of a folder.
        said = f"{type(problem).__name__} in adamcompat: {_said(problem)}; left alone, please report it"
        reason = error("not-rewritten", said)
        return Outcome(path, (Finding(reason),), text, text, tuple(in_text(text, catalogue, reason)))
    return Outcome(path, tuple(done.findings), text, done.text, tuple(done.constructions))


@lru_cache(maxsize=4)
def _mentions(names: frozenset[str], homes: frozenset[str]) -> re.Pattern[bytes]:
    """Return the pattern of a file with an Adam: the name of a class, or code that looks one up in its module."""
    named = "|".join(["adam", *sorted(re.escape(name) for name in names if "adam" not in name.lower())])
    home = "|".join(sorted({re.escape(home.rpartition(".")[2]) for home in homes}))
    look_up = rf"optimizers\s*(?:\.\s*(?:get|deserialize)\b|import)|(?:getattr|vars)\s*\(\s*[\w.]*\b(?:{home})\b"
    return re.compile(f"{named}|{look_up}".encode(), re.IGNORECASE)


def _may_mention(data: bytes, catalogue: Catalogue) -> bool:
    """Return whether a file has to be read: it names Adam, looks optimizers up, or compiles a model of Keras."""
    mentions = _mentions(catalogue.class_names, catalogue.homes)
    if mentions.search(data) or (_COMPILES.search(data) and b"keras" in data.lower()):
        return True
    # Python reads letters of other widths and styles as these.
    plain = data if data.isascii() else unicodedata.normalize("NFKC", data.decode(errors="replace")).encode()
    return plain is not data and mentions.search(plain) is not None


def _reason(path: Path) -> str | None:
    """Return a text that says why a path is no file that can be read, or None; a pipe would be waited for, forever."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            next(path.iterdir(), None)
            return "a folder"
    except (OSError, RuntimeError) as problem:
        return _said(problem)
    return None if stat.S_ISREG(mode) else "not a regular file"


def _said(problem: BaseException) -> str:
    return (problem.strerror if isinstance(problem, OSError) else "") or str(problem) or type(problem).__name__


def _decoded(data: bytes, path: Path) -> str:
    """Return the text of a file, which gives the same bytes when it is written again.

    Raises:
        SyntaxError, UnicodeError, LookupError: there is no such text.
    """
    encoding = _encoding(data, path)
    text = data.decode(encoding)
    if text.encode(encoding) != data:
        raise UnicodeError(f"{encoding} would not give the same bytes again")
    return text


def _encoding(data: bytes, path: Path) -> str:
    return "utf-8" if path.suffix == ".ipynb" else tokenize.detect_encoding(io.BytesIO(data).readline)[0]


def migrate_files(
    paths: str | Path | Sequence[str | Path], to: str, aliases: str | Path | None = None
) -> Iterator[Outcome]:
    """Migrate many files; nothing is written. Whatever is wrong with a file is a finding.

    Where there are many, several processes share them. A file that ends its process is left alone, with a finding.

    Args:
        paths: .py and .ipynb files; one may stand alone.
        to: shim, mindspore or tensorflow.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        What `migrate_file` returns for each file, in the order of the files.

    Raises:
        TypeError: an argument is no path.
        ValueError: an unknown target, or a mistake in the file of aliases.
        ModuleNotFoundError: aliases are given, and PyYAML is missing.
    """
    check_target(to)
    return _migrate_files(_several(paths), to, aliases)


def _migrate_files(paths: Sequence[Path], to: str, aliases: str | Path | None) -> Iterator[Outcome]:
    work = partial(migrate_file, to=to, aliases=aliases)
    workers = min(processors(), 8)
    if len(paths) < _MANY or workers == 1:
        yield from map(work, paths)
        return
    left = list(paths)
    try:
        with ProcessPoolExecutor(workers) as pool:
            for outcome in pool.map(work, paths, chunksize=16):
                del left[0]
                yield outcome
    except BrokenProcessPool:
        # A process died, of whichever file; each of the others gets one of its own.
        yield from (_alone(work, path) for path in left)


def _alone(work: Callable[[Path], Outcome], path: Path) -> Outcome:
    """Migrate one file in a process of its own, which the file may end."""
    try:
        with ProcessPoolExecutor(1) as pool:
            return pool.submit(work, path).result()
    except BrokenProcessPool:
        return Outcome(path, (Finding(error("cannot-read", "the process that read it ended abruptly; left alone")),))


def write(outcome: Outcome) -> Outcome:
    """Replace a file by its migrated text: as a whole or not at all, with its mode and encoding.

    A symbolic link stays one: the file that it leads to is replaced.

    Args:
        outcome: what `migrate_file` returned for the file.

    Returns:
        The outcome; with another finding, and unchanged, where the file could not be written or has changed meanwhile.

    Raises:
        MemoryError: there is not enough memory for the file.
        TypeError: `outcome` is none.
    """
    if not isinstance(outcome, Outcome):
        raise TypeError(f"outcome must be what migrate_file returns; got {told(outcome)}")
    try:
        old = outcome.path.read_bytes()
        encoding = _encoding(old, outcome.path)
        if outcome.before.encode(encoding) != old:
            raise OSError("the file was changed meanwhile")
        data = outcome.after.encode(encoding)
        with replacing(outcome.path) as partial_file:
            partial_file.write_bytes(data)
    except (OSError, RuntimeError, SyntaxError, UnicodeError) as problem:
        finding = Finding(error("cannot-write", f"left alone: {problem}"))
        return outcome.unchanged(*outcome.findings, finding)
    return outcome
