"""`verify`: whether a mapping tells the truth about the frameworks that are installed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import adamcompat.fragments as fragments
from adamcompat.extras import how_to_install
from adamcompat.kinds import path_of, told
from adamcompat.mapping.model import Mapping
from adamcompat.mapping.runtimes import ORIGINALS
from adamcompat.mapping.tables import MAPPING
from adamcompat.verify.counts import by_framework, difference, source_of, summary
from adamcompat.verify.judge import DIFFERS, STRICTER, UNMEASURED, Verdict, judge
from adamcompat.verify.observation import Observation

# How much MindSpore writes.
_LOGGED = "GLOG_v"
_MARKS = {DIFFERS: "no", STRICTER: "less", UNMEASURED: "less"}


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """Hold what was measured; notebooks show all facts, ``print`` the counts and what differs.

    Attributes:
        verdicts: one on every fact of the dialects whose frameworks were measured.
        absent: the frameworks that were not, and why.
    """

    verdicts: tuple[Verdict, ...]
    absent: dict[str, str]

    @property
    def differs(self) -> tuple[Verdict, ...]:
        """Return the facts in which a framework is otherwise than the mapping says."""
        return tuple(verdict for verdict in self.verdicts if verdict.state == DIFFERS)

    @property
    def agrees(self) -> bool:
        """Return whether something was measured, and nothing of it differs."""
        return bool(self.verdicts) and not self.differs

    @property
    def _counts(self) -> list[str]:
        lines = by_framework(self.verdicts)
        return lines + [f"{name}: {reason}" for name, reason in self.absent.items()]

    @property
    def _verdict(self) -> str:
        if not self.verdicts:
            return "Nothing was measured."
        return summary(self.verdicts)

    def __str__(self) -> str:
        lines = [self._verdict, *(f"  {text}" for text in self._counts)]
        return "\n".join([*lines, *(f"  {difference(one)}" for one in self.differs)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark = "yes" if self.agrees else "no" if self.differs else ""
        parts = [fragments.line(self._verdict, mark), fragments.several(self._counts)]
        parts += [_table(self.differs)] if self.differs else []
        parts += [fragments.folded(f"all {len(self.verdicts)} facts", _table(self.verdicts))] if self.verdicts else []
        return fragments.shown(*parts)


def _table(verdicts: Sequence[Verdict]) -> str:
    rows = [(one.path, one.mapping, one.observed, source_of(one), one.state) for one in verdicts]
    titles = ("fact", "mapping", "observed", "framework", "verdict")
    return fragments.table(titles, rows, [_MARKS.get(one.state, "") for one in verdicts])


def verify(runtime: str | None = None, *, mapping: str | Path | None = None) -> Verification:
    """Measure the installed frameworks, and return whether the mapping tells the truth about them.

    It takes about half a minute for each framework, which is imported.

    Args:
        runtime: tensorflow, mindspore or torch; None means all that are installed.
        mapping: another mapping.yaml; None means the built-in one.

    Returns:
        A verdict on every fact; its `agrees` says whether all is well.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an unknown runtime, or a mistake in the file.
        OSError: the file cannot be read.
        ModuleNotFoundError: the runtime that was asked for, or PyYAML for a file, is not installed.
        ImportError: a framework cannot be imported.

    >>> verify("numpy")
    Traceback (most recent call last):
    ValueError: unknown runtime 'numpy'; known: tensorflow, mindspore, torch
    """
    facts = read_mapping(mapping)
    observations, absent = observe(runtime)
    return Verification(tuple(judge(facts, observations)), absent)


def read_mapping(file: str | Path | None) -> Mapping:
    """Return the built-in mapping, or that of a file.

    Raises:
        TypeError: `file` is no path.
        ValueError: a mistake in the file.
        OSError: it cannot be read.
        ModuleNotFoundError: PyYAML is not installed.

    >>> read_mapping(None) is MAPPING
    True
    """
    if file is None:
        return MAPPING
    path = path_of(file, "mapping")
    if find_spec("yaml") is None:
        text = f"a mapping is read from YAML, and PyYAML is not installed: {how_to_install('files')}"
        raise ModuleNotFoundError(text, name="yaml")
    found: Mapping = import_module("adamcompat.mapping.loader").load(path)
    return found


def observe(
    runtime: str | None, waiting: Callable[[str], AbstractContextManager[object]] = lambda name: nullcontext()
) -> tuple[list[Observation], dict[str, str]]:
    """Measure the installed frameworks.

    Args:
        runtime: the only one to measure; None means all that are installed.
        waiting: called with the name of each; what it returns is open while that one is measured.

    Returns:
        What was seen; and the frameworks that are not installed, with what is missing.

    Raises:
        TypeError: `runtime` is no text.
        ValueError: it is unknown.
        ModuleNotFoundError: it is not installed.
        ImportError: a framework cannot be imported.
    """
    if runtime is not None and not isinstance(runtime, str):
        raise TypeError(f"runtime must be one of {', '.join(ORIGINALS)}, or None for all; got {told(runtime)}")
    if runtime is not None and runtime not in ORIGINALS:
        raise ValueError(f"unknown runtime {runtime!r}; known: {', '.join(ORIGINALS)}")
    seen: list[Observation] = []
    absent: dict[str, str] = {}
    for name in [runtime] if runtime is not None else ORIGINALS:
        framework = ORIGINALS[name]
        if missing := framework.missing():
            absent[name] = f"{' and '.join(missing)} not installed: {how_to_install(name)}"
            continue
        with _quiet():
            try:
                part = framework.load("verify")
            except ImportError as error:
                raise ImportError(f"{name} cannot be used here: {error}", name=error.name) from error
            with waiting(name):
                seen += part.observe()
    if runtime in absent:
        raise ModuleNotFoundError(f"{runtime}: {absent[runtime]}", name=runtime)
    return seen, absent


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MindSpore from writing what it says of mistakes that are made on purpose; it reads this when imported."""
    unset = _LOGGED not in os.environ
    os.environ.setdefault(_LOGGED, "4")
    try:
        yield
    finally:
        if unset:
            del os.environ[_LOGGED]
