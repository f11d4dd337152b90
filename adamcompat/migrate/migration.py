"""`migrate`: files and folders at once, with a result that shows itself."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import adamcompat.fragments as fragments
from adamcompat.extras import how_to_install
from adamcompat.kinds import told
from adamcompat.migrate.files import distinct, find, migrate_files, write
from adamcompat.migrate.findings import Outcome
from adamcompat.migrate.text import check_target
from adamcompat.translation.aliases import known
from adamcompat.translation.messages import Severity

# So many findings and lines of changes are shown in notebooks, which keep what is shown.
_LISTED, _LINES = 200, 1000
_ORDER = [severity.value for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)]


@dataclass(frozen=True, slots=True, repr=False)
class Migration:
    """Hold what became of some files, or would; ``print`` shows the changes and the findings.

    Attributes:
        to: what the calls were rewritten to.
        written: whether the files were replaced.
        looked_at: how many files were looked at.
        outcomes: of the files that are changed, or of which something is to be said.
    """

    to: str
    written: bool
    looked_at: int
    outcomes: tuple[Outcome, ...]

    @property
    def changed(self) -> tuple[Outcome, ...]:
        """Return the outcomes of the files that are changed, or would be."""
        return tuple(outcome for outcome in self.outcomes if outcome.changed)

    @property
    def failed(self) -> bool:
        """Return whether something is left that cannot be done here."""
        return any(outcome.failed for outcome in self.outcomes)

    @property
    def diff(self) -> str:
        """Return all changes as a unified diff that patch and git apply take."""
        return "".join(text for outcome in self.outcomes for text in diff_of(outcome))

    @property
    def _summary(self) -> str:
        files = "1 file" if self.looked_at == 1 else f"{self.looked_at} files"
        done = "changed" if self.written else "to change"
        left = sum(outcome.unclear for outcome in self.outcomes)
        more = f", {left} to look at (WARNING, ERROR)" if left else ""
        return f"{files} looked at, {len(self.changed) or 'none'} {done}{more}"

    @property
    def _findings(self) -> list[tuple[str, str]]:
        return [(one.where(item.path), str(one.message)) for item in self.outcomes for one in item.findings]

    def __str__(self) -> str:
        lines = [f"{place}: {message}" for place, message in self._findings]
        return "\n".join([*self.diff.splitlines(), *lines, self._summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        findings, lines = self._findings, self.diff.splitlines(keepends=True)
        if len(findings) > _LISTED:
            # What cannot be done must not be among what is left out.
            findings.sort(key=lambda finding: _ORDER.index(finding[1].partition(" ")[0]))
        left = [f"and {len(findings) - _LISTED} more findings"] if len(findings) > _LISTED else []
        cut = [f"and {len(lines) - _LINES} more lines of changes"] if len(lines) > _LINES else []
        marks = ["no" if message.startswith("ERROR") else "" for _, message in findings[:_LISTED]]
        return fragments.shown(
            fragments.line(self._summary, "no" if self.failed else ""),
            fragments.code("".join(lines[:_LINES])) if lines else "",
            *(fragments.line(f"{more}; print shows them", "less") for more in cut),
            fragments.table(("place", "finding"), findings[:_LISTED], marks) if findings else "",
            *(fragments.line(f"{more}; print shows them", "less") for more in left),
        )


def migrate(
    paths: str | Path | Iterable[str | Path],
    to: str,
    *,
    write: bool = False,
    aliases: str | Path | None = None,
) -> Migration:
    """Rewrite the use of Adam in files, folders and notebooks; without `write` only show what would change.

    Args:
        paths: a .py or .ipynb file, a folder, or several of these.
        to: shim, mindspore or tensorflow.
        write: whether the files are replaced, each as a whole or not at all.
        aliases: a file that describes classes of other libraries; see docs/translate.md.

    Returns:
        The changes, and what was found.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an unknown target, or a mistake in the file of aliases.
        FileNotFoundError: a path does not exist.
        ModuleNotFoundError: LibCST is not installed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "train.py").write_text("import keras\\nopt = keras.optimizers.Adam()\\n")
    ...     found = migrate(folder, "shim")
    >>> print(found.diff.splitlines()[-1])
    +opt = adamcompat.tensorflow.Adam()
    """
    check_target(to)
    if not isinstance(write, bool):
        raise TypeError(f"write must be True or False; got {told(write)}")
    looked_at, outcomes = begun(paths, to, write=write, aliases=aliases)
    kept = tuple(outcome for outcome in outcomes if outcome.changed or outcome.findings)
    return Migration(to, write, looked_at, kept)


def begun(
    paths: str | Path | Iterable[str | Path], to: str, *, write: bool, aliases: str | Path | None
) -> tuple[int, Iterator[Outcome]]:
    """Return how many files there are, and what becomes of each as it is asked for.

    Args:
        paths: files and folders.
        to: shim, mindspore or tensorflow.
        write: whether a file is replaced before its outcome is given.
        aliases: a file that describes classes of other libraries.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an unknown target, or a mistake in the file of aliases.
        FileNotFoundError: a path does not exist.
        ModuleNotFoundError: LibCST is not installed, or PyYAML for a file of aliases.
    """
    known(aliases)
    files = distinct(find(paths))
    if find_spec("libcst") is None:
        raise ModuleNotFoundError(f"migrate needs LibCST: {how_to_install('migrate')}", name="libcst")
    outcomes = migrate_files(files, to, aliases)
    return len(files), map(_written, outcomes) if write else outcomes


def _written(outcome: Outcome) -> Outcome:
    return write(outcome) if outcome.changed else outcome


def _header(name: str) -> str:
    """Return a name as patch and git read it from the head of a diff.

    >>> _header("a/b.py"), _header("a/b c.py"), _header('a/b\\n"c.py')
    ('a/b.py', 'a/b c.py\\t', '"a/b\\\\n\\\\"c.py"')
    """
    if re.search(r'[\x00-\x1f\x7f"\\]', name):
        named = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
        return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', lambda c: named.get(c[0], f"\\{ord(c[0]):03o}"), name) + '"'
    # Behind a name with spaces a tab says where it ends.
    return f"{name}\t" if " " in name else name


def diff_of(outcome: Outcome) -> Iterator[str]:
    """Yield the lines of a unified diff that patch and git apply take.

    Args:
        outcome: of one file.

    Yields:
        Lines with their ends; none where nothing is changed.
    """
    if not outcome.changed:
        return
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (outcome.before, outcome.after))
    name = outcome.path.as_posix().lstrip("/")
    for line in difflib.unified_diff(before, after, _header(f"a/{name}"), _header(f"b/{name}")):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
