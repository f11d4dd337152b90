"""Read one module of source code: its tree, the meanings of its names, and the places that name an Adam."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property

from adamcompat.translation.arguments import arguments, assigned_once
from adamcompat.translation.bindings import Bindings, root_of
from adamcompat.translation.convert import not_taken
from adamcompat.translation.messages import Message
from adamcompat.translation.names import KNOWN, Catalogue, Signature, choose
from adamcompat.translation.source import Source, parse

IGNORE = "adamcompat: ignore"
# An Adam in text that is not read as code.
MENTION = re.compile(r"\badam(?!compat)", re.IGNORECASE)

Import = ast.Import | ast.ImportFrom
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_SHARED = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


@dataclass(frozen=True, slots=True)
class Use:
    """Hold a place that names an Adam.

    Attributes:
        node: the name or attribute.
        signature: the class that it means.
        name: the full dotted name of the class.
        call: the call of which it is the callee, or None.
        misfits: messages on arguments of the call that the class does not take.
    """

    node: ast.Name | ast.Attribute
    signature: Signature
    name: str
    call: ast.Call | None
    misfits: tuple[Message, ...] = ()

    @property
    def bound_by_from(self) -> bool:
        """Return whether the class has a name of its own here, rather than being an attribute of something."""
        return isinstance(self.node, ast.Name)


@dataclass
class Module:
    """Hold a parsed module. `Module.parse` makes it.

    Attributes:
        code: the source.
        nodes: the nodes of its syntax tree.
        bindings: the meanings of its names.
        values: the expressions that its names are assigned, for names with one assignment.
        parents: the node around each node.
        calls: every call.
        imports: every import statement, in the order of the text.
        uses: the places that name an Adam.
        unclear: the places that may name an Adam or something else.
        loose: the places with an Adam's name of which no import tells whose it is.
        unlocated: the places that name an Adam where the text says something else: inside an f-string, whose parts have
            no places of their own before Python 3.12.
        others: the places that name an Adam which is not known here, with their dotted names.
        passed: the places that name an Adam on a line that is to be left alone.
    """

    code: Source
    nodes: list[ast.AST]
    bindings: Bindings
    values: dict[str, ast.expr]
    parents: dict[ast.AST, ast.AST]
    calls: list[ast.Call] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    unclear: list[ast.expr] = field(default_factory=list)
    loose: list[ast.expr] = field(default_factory=list)
    unlocated: list[ast.expr] = field(default_factory=list)
    others: list[tuple[ast.expr, str]] = field(default_factory=list)
    passed: list[ast.expr] = field(default_factory=list)
    _ignored: set[int] = field(default_factory=set)

    @property
    def catalogue(self) -> Catalogue:
        """Return the classes that are known."""
        return self.bindings.catalogue

    @classmethod
    def parse(cls, text: str, catalogue: Catalogue = KNOWN) -> Module:
        """Parse source code.

        Args:
            text: the source.
            catalogue: the classes that are known.

        Raises:
            SyntaxError, ValueError: it is not valid Python.
            RecursionError, MemoryError: it is nested too deeply.
        """
        nodes, parents = _walk(parse(text))
        bindings = Bindings.of(nodes, catalogue=catalogue)
        module = cls(Source(text), nodes, bindings, assigned_once(nodes, bindings.bound), parents)
        if IGNORE in text:
            lines = enumerate(module.code.lines, 1)
            module._ignored = {n for n, line in lines if IGNORE in line and "#" in line.partition(IGNORE)[0]}
        named: list[ast.Name | ast.Attribute] = []
        for node in nodes:
            if isinstance(node, (ast.Name, ast.Attribute)):
                # A name may stand for anything; an attribute is what it is called.
                named_so = isinstance(node, ast.Name) or "dam" in node.attr or node.attr in catalogue.class_names
                if isinstance(node.ctx, ast.Load) and named_so:
                    named.append(node)
            elif isinstance(node, ast.Call):
                module.calls.append(node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                module.imports.append(node)
        module.imports.sort(key=lambda node: (node.lineno, node.col_offset))
        for name in named:
            module._classify(name)
        return module

    def _classify(self, node: ast.Name | ast.Attribute) -> None:
        meanings = self.bindings.meanings(node)
        if not meanings:
            self._look_at_loose(node)
            return
        if not meanings & self.catalogue.classes.keys():
            self._look_at_other(node, meanings)
            return
        if self._passes(node):
            return
        name = self.bindings.resolve(node)
        if name is None or self.bindings.ambiguous(node):
            self.unclear.append(node)
            return
        if not self.located(node):
            self.unlocated.append(node)
            return
        parent = self.parents.get(node)
        call = parent if isinstance(parent, ast.Call) and parent.func is node else None
        keywords = [keyword.arg for keyword in call.keywords if keyword.arg] if call is not None else []
        signature = choose(self.catalogue.classes[name], len(call.args) if call is not None else 0, keywords)
        misfits = not_taken(arguments(call, self.code) or (), signature) if call is not None else []
        self.uses.append(Use(node, signature, name, call, tuple(misfits)))

    def _look_at_loose(self, node: ast.Name | ast.Attribute) -> None:
        """Keep a place that nobody can tell about: ``Adam(...)`` without an import, ``x.Adam(...)``."""
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        free = isinstance(node, ast.Attribute) or not self.bindings.bound[node.id]
        if name in self.catalogue.class_names and free and not self._passes(node):
            self.loose.append(node)

    def _look_at_other(self, node: ast.Name | ast.Attribute, meanings: set[str]) -> None:
        parent = self.parents.get(node)
        for name in sorted(name for name in meanings if "dam" in name):
            last = name.rpartition(".")[2]
            part = isinstance(parent, ast.Attribute) and not last[:1].isupper()
            known = self.catalogue.elsewhere(name) is not None and not part
            if (
                (known or last in self.catalogue.class_names)
                and not self.asks_for_type(node)
                and not self._passes(node)
            ):
                self.others.append((node, name))
                return

    def _passes(self, node: ast.expr) -> bool:
        """Return whether a place is to be left alone, and keep it among those that are."""
        if self.ignored(node):
            self.passed.append(node)
        return self.ignored(node)

    def ignored(self, node: ast.expr | ast.stmt) -> bool:
        """Return whether a comment on the node's first line asks to leave it alone."""
        return node.lineno in self._ignored

    def located(self, node: ast.expr) -> bool:
        """Return whether a node's place in the text holds that node."""
        try:
            (found,) = parse(f"({self.source(node)}\n)").body
        except (SyntaxError, ValueError, IndexError):
            return False
        return isinstance(found, ast.Expr) and ast.dump(found.value) == ast.dump(node)

    def source(self, node: ast.expr | ast.stmt) -> str:
        """Return the text of a node."""
        return self.code.segment(node)

    def ancestors(self, node: ast.AST) -> list[ast.AST]:
        """Return the nodes around a node, innermost first."""
        found: list[ast.AST] = []
        while node in self.parents:
            node = self.parents[node]
            found.append(node)
        return found

    @cached_property
    def _functions(self) -> dict[ast.AST, ast.AST | None]:
        found: dict[ast.AST, ast.AST | None] = {}
        for node in self.nodes:
            parent = self.parents.get(node)
            # A node stands behind the one around it.
            found[node] = parent if parent is None or isinstance(parent, _FUNCTIONS) else found[parent]
        return found

    def function(self, node: ast.AST) -> ast.AST | None:
        """Return the function in which a node stands, or None."""
        return self._functions[node]

    @cached_property
    def stores(self) -> dict[tuple[ast.AST | None, str], list[int]]:
        """Return the lines in which each name gets a value: by function, and under None all of them."""
        found: dict[tuple[ast.AST | None, str], list[int]] = defaultdict(list)
        for node, name in self.bindings.places:
            line = getattr(node, "lineno", 1)
            found[None, name].append(line)
            if (function := self._functions[node]) is not None:
                found[function, name].append(line)
        return found

    def makes(self, node: ast.expr) -> bool:
        """Return whether a place makes an Adam, or hands on the class that makes one.

        One that asks for a type, reads an attribute of the class or gives it another name, which is followed, does not.
        """
        parent = self.parents.get(node)
        if isinstance(parent, ast.Call) and parent.func is node:
            return True
        if isinstance(parent, ast.Attribute) or self.asks_for_type(node):
            return False
        targets = parent.targets if isinstance(parent, ast.Assign) else []
        followed = self.bindings.followed
        return not targets or not all(isinstance(item, ast.Name) and item.id in followed for item in targets)

    def asks_for_type(self, node: ast.expr) -> bool:
        """Return whether a name stands in isinstance() or an annotation; ours is a subclass, so both stay true."""
        child: ast.AST = node
        for parent in self.ancestors(node):
            if isinstance(parent, ast.Call):
                return isinstance(parent.func, ast.Name) and parent.func.id in ("isinstance", "issubclass")
            if isinstance(parent, (ast.arg, ast.AnnAssign)) and parent.annotation is child:
                return True
            if isinstance(parent, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return parent.returns is child
            if isinstance(parent, ast.stmt):
                return False
            child = parent
        return False

    def binders(self, name: str) -> list[Import]:
        """Return the import statements that give a name its value; those of the module's top level first.

        Where the top level has one, those inside functions are left out. A name that only stands for another is brought
        by the imports of that one.

        Args:
            name: a name of the module.
        """
        names, found = [name], []
        for item in names:
            found += [
                node
                for node in self.imports
                if any((alias.asname or alias.name.partition(".")[0]) == item for alias in node.names)
            ]
            names += [other for other in sorted(self.bindings.followed_from.get(item, ())) if other not in names]
        top = [node for node in found if node.col_offset == 0]
        return top[:1] or found

    def bringers(self, node: ast.expr) -> list[Import]:
        """Return the import statements that bring the name of an expression; star imports, where no other does.

        Args:
            node: a name, or an attribute of one.
        """
        stars = [item for item in self.imports if any(alias.name == "*" for alias in item.names)]
        return self.binders(root_of(node)) or stars


def _walk(tree: ast.AST) -> tuple[list[ast.AST], dict[ast.AST, ast.AST]]:
    """Return every node but Load, Add and the like, which all places share, and the node around each."""
    found: list[ast.AST] = []
    parents: dict[ast.AST, ast.AST] = {}
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _SHARED):
                parents[child] = node
                waiting.append(child)
    return found, parents
