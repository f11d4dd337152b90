"""List where a module makes an Adam, and what became of each place: rewritten, explained or refused."""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from adamcompat.migrate.editor import Editor
from adamcompat.migrate.findings import place
from adamcompat.migrate.module import Module, Use
from adamcompat.translation.bindings import root_of
from adamcompat.translation.messages import Message, Severity, info
from adamcompat.translation.names import Catalogue

#: Instead of a dialect: no import tells whose Adam it is, and an Adam that no dialect describes.
UNKNOWN, ANOTHER = "unknown", "another Adam"
# What the shim says of an import statement beside what it says of one of its names.
_OF_OTHERS = ("import-replaced", "legacy-class", "import-kept")


class Fate(str, Enum):
    """Tell what became of a place that makes an Adam."""

    REWRITTEN = "rewritten"
    EXPLAINED = "explained"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Construction:
    """Describe a place that makes an Adam, or hands its class on.

    Attributes:
        source: the class, as it is written there.
        dialect: whose Adam it is, by its title.
        fate: rewritten; explained, which is kept with a remark; or refused, which is kept with an error.
        reasons: the remarks on it.
        line, column: where, counted from 1.
        cell: the cell of a notebook, counted from 1, in which `line` counts; else None.
    """

    source: str
    dialect: str
    fate: Fate
    reasons: tuple[Message, ...]
    line: int
    column: int
    cell: int | None = None

    def where(self, path: Path) -> str:
        """Return the place as editors and terminals link it."""
        return place(path, self.line, self.column, self.cell)

    @property
    def decisive(self) -> str:
        """Return the code of the remark that decided its fate: the first of the gravest."""
        order = list(Severity)
        gravest = max(self.reasons, key=lambda message: order.index(message.severity), default=None)
        return "unexplained" if gravest is None else gravest.code

    def as_data(self) -> dict[str, Any]:
        """Return the construction as data that JSON can hold."""
        reasons = [{"code": item.code, "severity": item.severity.value, "text": item.text} for item in self.reasons]
        here = {"line": self.line, "column": self.column, "cell": self.cell}
        return here | {"source": self.source, "dialect": self.dialect, "fate": self.fate.value, "reasons": reasons}


def constructions(module: Module, editor: Editor, own: Collection[str], failed: Message | None) -> list[Construction]:
    """Return the places of a module that make an Adam, each with what became of it, in the order of the lines.

    Args:
        module: the module.
        editor: holds the edits and the remarks of its migration.
        own: the dialects that are the target's own.
        failed: why none of the edits is made, where that is so.
    """
    return _Survey(module, editor, own, failed).found()


class _Survey:
    """Look at each place of one module once."""

    def __init__(self, module: Module, editor: Editor, own: Collection[str], failed: Message | None) -> None:
        self.module = module
        self.editor = editor
        self.own = own
        self.failed = failed
        # Where something is replaced, in order, and how far one of those up to it reaches.
        spans = sorted((edit.start, edit.end) for edit in editor.edits if edit.end > edit.start)
        self.starts = [start for start, _ in spans]
        self.ends = list(accumulate((end for _, end in spans), max))
        self.renewed = self._renewed()

    def found(self) -> list[Construction]:
        """Return the constructions."""
        module = self.module
        fates: dict[ast.expr, Construction] = {}
        for use in module.uses:
            if module.makes(use.node):
                fates[use.node] = self._use(use)
        for node in module.unclear:
            if module.makes(node):
                fates[node] = self._kept(node, self._title(node), self._said(node))
        for node in module.loose:
            if module.makes(node):
                fates[node] = self._kept(node, UNKNOWN, self._said(node))
        for node, name in module.others:
            if module.makes(node):
                fates[node] = self._kept(node, ANOTHER, self._said(node) or [_already(name)])
        for node in module.unlocated:
            fates[node] = self._kept(node, self._title(node), self._said(node))
        for node in module.passed:
            if module.makes(node):
                text = "a comment on its line asks to leave it alone"
                fates[node] = self._kept(node, self._title(node), [info("passed-over", text)])
        for form in self.editor.forms:
            said = self._said(form.node)
            if self._edited(form.node):
                fates[form.node] = self._at(form.node, form.dialect.title, Fate.REWRITTEN, said)
            else:
                fates[form.node] = self._kept(form.node, form.dialect.title, said or [_already("the string")])
        return sorted(fates.values(), key=lambda item: (item.line, item.column))

    def _use(self, use: Use) -> Construction:
        """Return what became of a place whose class is known."""
        title = use.signature.title
        said = self._said(use.node, use.call)
        if use.signature.adapter is not None:
            return self._kept(use.node, use.signature.dialect.title, [*said, _already(use.name)])
        whole = use.call if use.call is not None else use.node
        named_anew = use.bound_by_from and root_of(use.node) in self.renewed
        if named_anew or self._edited(use.node) or self._edited(whole):
            return self._at(use.node, title, Fate.REWRITTEN, said)
        return self._kept(use.node, title, said or self._said_elsewhere(use) or self._silent(use))

    def _silent(self, use: Use) -> list[Message]:
        """Return why nothing had to be said of a place."""
        if use.signature.dialect.name in self.own:
            return [_already(use.name)]
        if any(self.module.ignored(node) for node in self.module.bringers(use.node)):
            return [info("passed-over", "a comment on the line of its import asks to leave it alone")]
        return []

    def _said_elsewhere(self, use: Use) -> list[Message]:
        """Return what was said of the place where a name gets its class, or else of other places that use the name."""
        name = root_of(use.node)
        roots = {name, *self.module.bindings.followed_from.get(name, ())}
        values = [self.module.values[root] for root in roots if root in self.module.values]
        said = self._said(*self.module.bringers(use.node), *values)
        said = [message for message in said if message.code not in _OF_OTHERS]
        if said or not use.bound_by_from:
            return said
        others = [other for other in self.module.uses if root_of(other.node) in self.module.bindings.followers(name)]
        return [message for other in others for message in self._said(other.node, other.call)]

    def _renewed(self) -> set[str]:
        """Return the names that stand for another class now, as their import or what they are assigned is changed."""
        first = set(self.editor.renewed)
        for use in self.module.uses:
            parent = self.module.parents.get(use.node)
            if isinstance(parent, ast.Assign) and self._edited(use.node):
                first |= {item.id for item in parent.targets if isinstance(item, ast.Name)}
        return {name for one in first for name in self.module.bindings.followers(one)}

    def _edited(self, node: ast.expr) -> bool:
        """Return whether an edit writes something else in place of a node, or of what is around it."""
        start, end = self.module.code.span(node)
        before = bisect_right(self.starts, start)
        return before > 0 and self.ends[before - 1] >= end

    def _said(self, *nodes: ast.AST | None) -> list[Message]:
        return [message for node in nodes if node is not None for message in self.editor.said.get(node, ())]

    def _title(self, node: ast.expr) -> str:
        """Return the title of the first class that a node may mean."""
        meanings = sorted(self.module.bindings.meanings(node))
        classes = [self.module.catalogue.classes[name] for name in meanings if name in self.module.catalogue.classes]
        return classes[0][0].dialect.title if classes else ANOTHER if meanings else UNKNOWN

    def _kept(self, node: ast.expr, title: str, said: Iterable[Message]) -> Construction:
        reasons = list(said)
        refused = any(message.severity is Severity.ERROR for message in reasons)
        return self._at(node, title, Fate.REFUSED if refused else Fate.EXPLAINED, reasons)

    def _at(self, node: ast.expr, title: str, fate: Fate, said: Iterable[Message]) -> Construction:
        reasons = tuple(said)
        if self.failed is not None and fate is Fate.REWRITTEN:
            fate, reasons = Fate.REFUSED, (self.failed,)
        source = ast.unparse(node)
        return Construction(source, title, fate, reasons, node.lineno, self.module.code.column(node))


def _already(name: str) -> Message:
    return info("already-there", f"{name} is the target's own already")


def in_text(text: str, catalogue: Catalogue, reason: Message, cell: int | None = None) -> list[Construction]:
    """Return what looks like the making of an Adam in text that is not read as code; all of it is refused.

    Args:
        text: the text.
        catalogue: the classes that are known.
        reason: why it is not read.
        cell: the cell of a notebook, if it is one.
    """
    found: list[Construction] = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in _calls(catalogue.class_names).finditer(line.partition("#")[0]):
            place = (number, match.start() + 1, cell)
            found.append(Construction(match[1], UNKNOWN, Fate.REFUSED, (reason,), *place))
    return found


@lru_cache(maxsize=4)
def _calls(names: frozenset[str]) -> re.Pattern[str]:
    """Return what a call of a class looks like; its definition looks alike."""
    return re.compile(rf"(?<!def )(?<!class )(?<![\w.])((?:\w+\.)*(?:{'|'.join(sorted(names))}))\s*\(")
