"""Collect the edits and findings of one module, and write the imports that the edits need."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING

from adamcompat.migrate.findings import Edit, Finding, apply
from adamcompat.migrate.module import Import, Module
from adamcompat.translation.messages import Message

if TYPE_CHECKING:
    from adamcompat.migrate.strings import StringForm


class Editor:
    """Collect the edits of one module.

    Args:
        module: the module, as it was read.

    Attributes:
        edits: the edits so far, those of import statements aside.
        findings: the findings so far.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.edits: list[Edit] = []
        self.findings: list[Finding] = []
        #: What is said of each node.
        self.said: dict[ast.AST, list[Message]] = {}
        #: The strings that make an Adam, or may.
        self.forms: list[StringForm] = []
        #: The names that another statement imports now, as another class.
        self.renewed: set[str] = set()
        self._lines: dict[Import, list[str]] = {}
        self._moved: dict[ast.ImportFrom, dict[str, str]] = {}

    def say(self, node: ast.expr | ast.stmt, message: Message, of: ast.expr | None = None) -> None:
        """Add a remark on a node to the findings.

        Args:
            node: where to say it.
            message: what to say.
            of: what it is said of, where that is another node.
        """
        self.said.setdefault(node if of is None else of, []).append(message)
        self.findings.append(Finding(message, node.lineno, self.module.code.column(node)))

    def replace(self, node: ast.expr, new: str) -> None:
        """Write another expression in place of a node."""
        self.edits.append(Edit(*self.module.code.span(node), new))

    def need(self, line: str, after: Iterable[Import]) -> None:
        """Have an import line written behind some import statements, unless the module has it.

        Args:
            line: the line, without indentation or end.
            after: the statements; where there are none, the first import of the module.
        """
        for statement in list(after) or self.module.imports[:1]:
            lines = self._lines.setdefault(statement, [])
            if line not in lines and not self._has(line):
                lines.append(line)

    def _has(self, line: str) -> bool:
        return any(node.col_offset == 0 and self.module.source(node) == line for node in self.module.imports)

    def move(self, statement: ast.ImportFrom, name: str, new: str) -> None:
        """Take a name out of a statement, and import it by another line.

        Args:
            statement: the statement that binds the name.
            name: the name, as the statement binds it.
            new: the import line that takes its place; empty where the name is not needed any more.
        """
        self._moved.setdefault(statement, {})[name] = new
        if new:
            self.renewed.add(name)

    def moves(self, statement: Import) -> bool:
        """Return whether names are taken out of a statement."""
        return statement in self._moved

    def result(self) -> str:
        """Return the edited text of the module.

        Raises:
            ValueError: two edits overlap.
        """
        edits = list(self.edits)
        above: set[str] = set()
        for statement in sorted({*self._lines, *self._moved}, key=lambda node: (node.lineno, node.col_offset)):
            needed = [line for line in self._lines.get(statement, []) if line not in above]
            if isinstance(statement, ast.ImportFrom) and statement in self._moved:
                edits.append(self._rewritten(statement, needed))
            elif needed:
                edits.append(self._below(statement, needed))
            above |= set(needed) if not statement.col_offset else set()
        return apply(self.module.code.text, edits)

    def _below(self, statement: Import, lines: list[str]) -> Edit:
        """Return the edit that writes lines below a statement; behind it, where others share its line."""
        code = self.module.code
        assert statement.end_lineno is not None
        start, end = code.span(statement)
        line_end = code.line_end(statement.end_lineno)
        before = code.text[start - code.column(statement) + 1 : start]
        if before.strip() or code.text[end:line_end].partition("#")[0].strip():
            return Edit(end, end, "".join(f"; {line}" for line in lines))
        return Edit(line_end, line_end, "".join(f"{code.newline}{before}{line}" for line in lines))

    def _rewritten(self, statement: ast.ImportFrom, needed: list[str]) -> Edit:
        """Return the edit that takes the moved names out of a statement, and writes lines in front of it."""
        from adamcompat.migrate.rewrite import without_aliases

        assert statement.end_lineno is not None
        names = self._moved[statement]
        new = [line for line in dict.fromkeys([*needed, *names.values()]) if line and not self._has(line)]
        if {alias.asname or alias.name for alias in statement.names} - set(names):
            new.append(without_aliases(self.module.source(statement), names))
        code = self.module.code
        start, end = code.span(statement)
        line_end = code.line_end(statement.end_lineno)
        before = code.text[start - code.column(statement) + 1 : start]
        alone = not before.strip() and not code.text[end:line_end].partition("#")[0].strip()
        if not new and alone:
            return Edit(start - len(before), line_end + len(code.newline), "")
        return Edit(start, end, (f"{code.newline}{before}" if alone else "; ").join(new or ["pass"]))
