"""Tell what an expression that an optimizer is to train holds, as far as source code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from enum import Enum

from adamcompat.translation.source import Source

#: How models of each calling convention list what is trained.
LISTS = {"apply_gradients": ".trainable_variables", "call": ".trainable_params()", "step": ".parameters()"}
# The methods among them, and what may stand around such lists: one of them, or several.
_ALL = [text.strip(".()") for text in LISTS.values() if text.endswith("()")]
_AROUND = ("list", "tuple", "ParameterTuple")
_JOINING = ("chain",)
# Methods by which a list grows.
_GROWING = ("append", "extend", "insert")


class Trained(Enum):
    """Hold what is certain of some parameters.

    ALL: everything that a model trains. SOME: parameters that are named or selected. GROUPS: dictionaries
    with settings of their own. OPEN: a name that the code gives no value. UNKNOWN: only running it would tell.
    """

    ALL = "all"
    SOME = "some"
    GROUPS = "groups"
    OPEN = "open"
    UNKNOWN = "unknown"


def trained(node: ast.expr, nodes: Sequence[ast.AST]) -> Trained:
    """Read an expression.

    Args:
        node: the expression.
        nodes: every node of the code around it.
    """
    return _Reader(nodes).read(node)


class _Reader:
    """Reads expressions of one module; a name that is being read already tells nothing new."""

    def __init__(self, nodes: Sequence[ast.AST]) -> None:
        self.nodes = nodes
        self.reading: set[str] = set()

    def read(self, node: ast.expr) -> Trained:
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Dict):
            return Trained.GROUPS
        if isinstance(node, (ast.List, ast.Tuple)):
            return self._first_of([self.read(item) for item in node.elts], Trained.GROUPS) or Trained.SOME
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return Trained.GROUPS if self.read(node.elt) is Trained.GROUPS else Trained.SOME
        if isinstance(node, ast.BinOp):
            return self._either([node.left, node.right])
        if isinstance(node, ast.IfExp):
            return self._either([node.body, node.orelse])
        if isinstance(node, ast.Starred):
            return self.read(node.value)
        if isinstance(node, ast.Call):
            return self._call(node)
        return Trained.UNKNOWN

    def _call(self, node: ast.Call) -> Trained:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if isinstance(node.func, ast.Attribute) and name in _ALL and not node.args and not node.keywords:
            return Trained.ALL
        if name in _AROUND and len(node.args) == 1:
            return self.read(node.args[0])
        if name in _JOINING and node.args:
            return self._either(node.args)
        if name == "filter" and len(node.args) == 2:
            return Trained.GROUPS if self.read(node.args[1]) is Trained.GROUPS else Trained.SOME
        if name == "dict":
            return Trained.GROUPS
        return self._function(name)

    def _function(self, name: str) -> Trained:
        """Return what a function of the same module returns."""
        if not name or name in self.reading:
            return Trained.UNKNOWN
        self.reading.add(name)
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        bodies = [node for node in self.nodes if isinstance(node, kinds) and node.name == name]
        returned = [item.value for body in bodies for item in ast.walk(body) if isinstance(item, ast.Return)]
        found = self._either([value for value in returned if value is not None])
        self.reading.discard(name)
        return found

    def _name(self, name: str) -> Trained:
        if name in self.reading:
            return Trained.UNKNOWN
        values, certain = list(_given(name, self.nodes)), not _given_otherwise(name, self.nodes)
        if not values:
            return Trained.OPEN if certain else Trained.UNKNOWN
        self.reading.add(name)
        found = self._either(values)
        self.reading.discard(name)
        return found if certain or found is Trained.GROUPS else Trained.UNKNOWN

    def _either(self, values: Sequence[ast.expr]) -> Trained:
        """Return what several values have in common; groups, where one of them is."""
        found = [self.read(value) for value in values]
        if groups := self._first_of(found, Trained.GROUPS):
            return groups
        # A list that begins empty and grows holds what is put into it.
        return found[0] if found and len(set(found)) == 1 else Trained.UNKNOWN

    @staticmethod
    def _first_of(found: Sequence[Trained], wanted: Trained) -> Trained | None:
        return wanted if wanted in found else None


def relisted(node: ast.expr, source: Source, before: str, after: str) -> str:
    """Return the text of an expression in which models list what they train as another framework's do.

    Args:
        node: the expression.
        source: where it stands.
        before, after: the calling conventions of the two.

    >>> text = "list(a.parameters()) + [b.bias]"
    >>> relisted(ast.parse(text, mode="eval").body, Source(text), "step", "call")
    'list(a.trainable_params()) + [b.bias]'
    """
    start, end = source.span(node)
    text, old = source.text[start:end], LISTS[before]
    places = [
        (source.span(item.func.value)[1] - start, source.span(item)[1] - start)
        for item in ast.walk(node)
        if isinstance(item, ast.Call)
        and isinstance(item.func, ast.Attribute)
        and f".{item.func.attr}()" == old
        and not (item.args or item.keywords)
    ]
    for first, last in sorted(places, reverse=True):
        text = f"{text[:first]}{LISTS[after]}{text[last:]}"
    return text


def _given(name: str, nodes: Sequence[ast.AST]) -> Iterator[ast.expr]:
    """Return what a name is assigned, and what its list grows by."""
    for node in nodes:
        if isinstance(node, ast.Assign) and any(_is(target, name) for target in node.targets):
            yield node.value
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)) and _is(node.target, name):
            if node.value is not None:
                yield node.value
        elif isinstance(node, ast.Call) and _grows(node, name):
            yield node.args[-1]


def _grows(call: ast.Call, name: str) -> bool:
    """Return whether a call puts something into the list of that name."""
    method = call.func
    return isinstance(method, ast.Attribute) and method.attr in _GROWING and _is(method.value, name) and bool(call.args)


def _given_otherwise(name: str, nodes: Sequence[ast.AST]) -> bool:
    """Return whether a name also gets a value that cannot be read: an argument, an import, a loop."""
    plain: set[ast.expr] = set()
    stores: set[ast.expr] = set()
    for node in nodes:
        if isinstance(node, ast.Assign):
            plain.update(node.targets)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            plain.add(node.target)
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            stores.add(node)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            if any((alias.asname or alias.name.partition(".")[0]) == name for alias in node.names):
                return True
        elif (isinstance(node, ast.arg) and node.arg == name) or getattr(node, "name", None) == name:
            return True
    return not stores <= plain


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
