"""Count what `adamcompat migrate` makes of the Adams in repositories, and write docs/coverage.md.

    python scripts/migrate_coverage.py OWNER/NAME=FOLDER ...             checkouts
    python scripts/migrate_coverage.py OWNER/NAME@COMMIT=FOLDER ...      files without a .git
    python scripts/migrate_coverage.py FOLDER                            every FOLDER/OWNER/NAME that is a checkout

The exit status is 1 if a place has no reason, or a file made adamcompat fail.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from adamcompat.files import replacing
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.migrate import find, migrate_files
from adamcompat.migrate.constructions import Fate
from adamcompat.migrate.report import Report
from adamcompat.migrate.rules import RULES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "coverage.md"
START, END = "<!-- measured by scripts/migrate_coverage.py -->\n", "<!-- end -->\n"
OF_TENSORFLOW = {MAPPING.dialects[name].title for name in RUNTIMES["tensorflow"].originals} | {
    dialect.title for dialect in MAPPING.dialects.values() if dialect.protocol == "apply_gradients"
}


@dataclass(frozen=True)
class Repository:
    """The files of a repository at a commit."""

    name: str
    commit: str
    folder: Path


@dataclass(frozen=True)
class Row:
    """What a migration makes of a repository."""

    repository: Repository
    report: Report
    faults: tuple[str, ...]


def repositories(words: Iterable[str]) -> Iterator[Repository]:
    """Return the repositories that the command line names.

    Raises:
        ValueError: a word names no folder, or a folder's commit is not known.
    """
    for word in words:
        named, equals, place = word.rpartition("=")
        if equals:
            name, _, commit = named.partition("@")
            yield _repository(name, commit, Path(place))
            continue
        if not Path(word).is_dir():
            raise ValueError(f"{word} is neither a folder of checkouts nor OWNER/NAME=FOLDER")
        for folder in sorted(path.parent for path in Path(word).glob("*/*/.git")):
            yield _repository(f"{folder.parent.name}/{folder.name}", "", folder)


def _repository(name: str, commit: str, folder: Path) -> Repository:
    if not folder.is_dir():
        raise ValueError(f"{folder}, given for {name}, is no folder")
    if not commit:
        if not (folder / ".git").exists():
            raise ValueError(f"{folder} is no checkout; write {name}@COMMIT={folder}")
        told = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        commit = told.stdout.strip()
    return Repository(name, commit, folder)


def measure(repository: Repository, to: str) -> Row:
    """Return what becomes of a repository's Adams."""
    report, faults = Report(to), []
    for outcome in migrate_files(list(find([repository.folder])), to):
        report.add(outcome)
        said = (finding.message.text for finding in outcome.findings)
        faults += [f"{outcome.path}: {text}" for text in said if " in adamcompat: " in text]
    faults += [
        f"{place.where(path)}: no reason"
        for path, place in report.places
        if place.fate is not Fate.REWRITTEN and not place.reasons
    ]
    return Row(repository, report, tuple(faults))


def other_framework(report: Report) -> str:
    """Return the native target that is no home of most of a repository's Adams."""
    of_tensorflow = sum(fates.total() for title, fates in report.dialects.items() if title in OF_TENSORFLOW)
    return "mindspore" if 2 * of_tensorflow > len(report.places) else "tensorflow"


def page(rows: Sequence[Row]) -> Iterator[str]:
    """Return the lines between the markers."""
    yield from _table(
        ("repository", "commit", "`--to`", "files", *_COUNTS),
        (
            (
                row.repository.name,
                f"`{row.repository.commit[:10]}`",
                row.report.to,
                row.report.files,
                *_counts(row.report.total),
            )
            for row in rows
        ),
    )
    dialects: dict[tuple[str, bool], Counter[Fate]] = {}
    reasons: dict[tuple[Fate, str], Counter[bool]] = {}
    for row in rows:
        native = row.report.to != "shim"
        for name, fates in row.report.dialects.items():
            dialects.setdefault((name, native), Counter()).update(fates)
        for fate in (Fate.EXPLAINED, Fate.REFUSED):
            for code, number in row.report.reasons(fate).items():
                reasons.setdefault((fate, code), Counter())[native] += number
    yield "\nBy the class that is used, in all of them:\n"
    ordered = sorted(dialects.items(), key=lambda item: (item[0][1], -item[1].total(), item[0]))
    yield from _table(
        ("class", "`--to`", *_COUNTS),
        ((name, "the other framework" if native else "shim", *_counts(fates)) for (name, native), fates in ordered),
    )
    yield "\nWhy places are explained or refused:\n"
    most = sorted(reasons.items(), key=lambda item: (item[0][0].value, -item[1].total(), item[0][1]))
    yield from _table(
        ("fate", "code", "shim", "native", "meaning"),
        ((fate.value, f"`{code}`", n[False], n[True], RULES[code]) for (fate, code), n in most),
    )


_COUNTS = ("found", *(fate.value for fate in Fate))


def _counts(fates: Counter[Fate]) -> tuple[int, ...]:
    return (fates.total(), *(fates[fate] for fate in Fate))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def write(path: Path, lines: Iterable[str]) -> None:
    """Put lines between the markers of a page.

    Raises:
        ValueError: the page has no such markers.
    """
    text = path.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"{path} lacks the lines {START.strip()} and {END.strip()}, between which the tables stand")
    with replacing(path) as new:
        new.write_text(before + START + "\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")


def main() -> int:
    """Measure, write the page, and name what must not be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="+", metavar="NAME=FOLDER", help="or a folder of checkouts")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/coverage.md")
    options = parser.parse_args()
    started = time.perf_counter()
    rows: list[Row] = []
    try:
        for repository in repositories(options.repositories):
            shim = measure(repository, "shim")
            rows += [shim, measure(repository, other_framework(shim.report))]
        if not rows:
            raise ValueError("there is no checkout OWNER/NAME in the folders given")
        write(options.page, page(rows))
    except (ValueError, OSError) as problem:
        parser.error(str(problem))
    faults = [fault for row in rows for fault in row.faults]
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    files = sum(row.report.files for row in rows)
    sys.stderr.write(f"{len(rows) // 2} repositories, {files} files read, {time.perf_counter() - started:.0f} s\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
