"""One module of source code: its tree, what its names stand for, and where its nodes are in the text."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass, field

from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.arguments import assigned_once
from adamcompat.translation.names import CATALOGUE, Bindings, Signature, choose

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
IGNORE = "adamcompat: ignore"

Import = ast.Import | ast.ImportFrom


@dataclass(frozen=True, slots=True)
class Use:
    """A place that names an Adam.

    Attributes:
        node: the name or attribute.
        signature: the class that it means.
        name: its full dotted name.
        call: the call of which it is the callee, if any.
    """

    node: ast.Name | ast.Attribute
    signature: Signature
    name: str
    call: ast.Call | None

    @property
    def bound_by_from(self) -> bool:
        """Whether the class itself has a name here, rather than being an attribute of something."""
        return isinstance(self.node, ast.Name)


@dataclass
class Module:
    """A parsed module. Use `Module.parse`.

    Attributes:
        text: the source.
        tree: its syntax tree.
        bindings: what its names stand for.
        values: what they are assigned, for those with one assignment.
        parents: the node around each node.
        bound: how often each name is given a value, by whatever means.
        first_bound: the first line in which that happens.
        calls: every call.
        imports: every import statement.
        uses: the places that name an Adam.
        unclear: the places that may name an Adam or something else.
        unlocated: the places that name an Adam where the text says something else: inside an f-string,
            whose parts have no places of their own before Python 3.12.
        others: the places that name an Adam which is not known here, with their dotted names.
    """

    text: str
    tree: ast.Module
    bindings: Bindings
    values: dict[str, ast.expr]
    parents: dict[ast.AST, ast.AST]
    bound: Counter[str] = field(default_factory=Counter)
    first_bound: dict[str, int] = field(default_factory=dict)
    calls: list[ast.Call] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    unclear: list[ast.expr] = field(default_factory=list)
    unlocated: list[ast.expr] = field(default_factory=list)
    others: list[tuple[ast.expr, str]] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> Module:
        """Parse source code.

        Raises:
            SyntaxError, ValueError: it is not valid Python.
        """
        tree = ast.parse(text)
        nodes, parents = _walk(tree)
        module = cls(text, tree, Bindings.of(nodes), assigned_once(nodes), parents)
        for match in _LINE.finditer(text):
            module._starts.append(match.start())
            module._lines.append(match.group())
        named: list[ast.Name | ast.Attribute] = []
        for node in nodes:
            if isinstance(node, ast.Call):
                module.calls.append(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                module.imports.append(node)
                for alias in node.names:
                    module._bind(alias.asname or alias.name.partition(".")[0], node.lineno)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                module._bind(node.name, node.lineno)
            elif isinstance(node, ast.arg):
                module._bind(node.arg, node.lineno)
            elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
                module._bind(node.id, node.lineno)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load):
                named.append(node)
        module.imports.sort(key=lambda node: (node.lineno, node.col_offset))
        for name in named:
            module._classify(name)
        return module

    def _bind(self, name: str, line: int) -> None:
        self.bound[name] += 1
        self.first_bound[name] = min(line, self.first_bound.get(name, line))

    def _classify(self, node: ast.Name | ast.Attribute) -> None:
        if not self.bindings.meanings(node) or self.ignored(node):
            return
        if self.bindings.ambiguous(node):
            self.unclear.append(node)
            return
        name = self.bindings.resolve(node)
        if name is None:
            return
        candidates = CATALOGUE.get(name)
        if candidates is None:
            if name.rpartition(".")[2] in _CLASS_NAMES and not name.startswith("."):
                self.others.append((node, name))
            return
        if not self.located(node):
            self.unlocated.append(node)
            return
        parent = self.parents.get(node)
        call = parent if isinstance(parent, ast.Call) and parent.func is node else None
        keywords = [keyword.arg for keyword in call.keywords if keyword.arg] if call is not None else []
        signature = choose(candidates, len(call.args) if call is not None else 0, keywords)
        self.uses.append(Use(node, signature, name, call))

    def ignored(self, node: ast.expr | ast.stmt) -> bool:
        """Whether a comment on the node's first line asks to leave it alone."""
        line = self._lines[node.lineno - 1]
        return IGNORE in line and "#" in line.partition(IGNORE)[0]

    def located(self, node: ast.expr) -> bool:
        """Whether a node's place in the text holds that node."""
        try:
            found = ast.parse(f"({self.source(node)}\n)", mode="eval").body
        except (SyntaxError, ValueError, IndexError):
            return False
        return ast.dump(found) == ast.dump(node)

    def offset(self, line: int, column: int) -> int:
        """The position in the text of a node's line and column, which counts bytes of UTF-8."""
        text = self._lines[line - 1]
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Where a node stands in the text."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def source(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]

    def column(self, node: ast.expr | ast.stmt) -> int:
        """A node's column in characters, counted from 1."""
        return self.offset(node.lineno, node.col_offset) - self._starts[node.lineno - 1] + 1

    def line(self, number: int) -> str:
        """A line, counted from 1, with its end."""
        return self._lines[number - 1]

    def line_end(self, number: int) -> int:
        """The position behind a line's text, before its end-of-line characters."""
        return self._starts[number - 1] + len(self._lines[number - 1].rstrip("\r\n"))

    @property
    def newline(self) -> str:
        """The end of line that the module uses."""
        return next((end for end in ("\r\n", "\n", "\r") if any(line.endswith(end) for line in self._lines)), "\n")

    def ancestors(self, node: ast.AST) -> list[ast.AST]:
        """The nodes around a node, innermost first."""
        found: list[ast.AST] = []
        while node in self.parents:
            node = self.parents[node]
            found.append(node)
        return found

    def binders(self, name: str) -> list[Import]:
        """The import statements that give a name its value; those of the module's top level first.

        Where the top level has one, those inside functions are left out.
        """
        found = [
            node
            for node in self.imports
            if any((alias.asname or alias.name.partition(".")[0]) == name for alias in node.names)
        ]
        top = [node for node in found if node.col_offset == 0]
        return top[:1] or found


def _walk(tree: ast.AST) -> tuple[list[ast.AST], dict[ast.AST, ast.AST]]:
    """Every node but Load and Store, which all places share, and the node around each."""
    found: list[ast.AST] = []
    parents: dict[ast.AST, ast.AST] = {}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr_context):
                parents[child] = node
                waiting.append(child)
    return found, parents


_CLASS_NAMES = {dialect.target.rpartition(".")[2] for dialect in MAPPING.dialects.values()}
