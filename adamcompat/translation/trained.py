"""Tell which parameters an expression of an optimizer's call holds, as far as source code does."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from enum import Enum

from adamcompat.mapping.model import Dialect
from adamcompat.mapping.runtimes import RUNTIMES
from adamcompat.mapping.tables import MAPPING
from adamcompat.translation.names import Signature
from adamcompat.translation.source import Source

#: How models of each calling convention list what is trained.
LISTS = {"apply_gradients": ".trainable_variables", "call": ".trainable_params()", "step": ".parameters()"}
# Other names of these lists.
_ALSO = {".trainable_variables": ("trainable_weights",)}
#: What may stand around such lists: one of them, or several.
AROUND = ("list", "tuple", "ParameterTuple")
JOINING = ("chain",)
# Methods by which a list grows.
_GROWING = ("append", "extend", "insert")


class Trained(Enum):
    """Grade what is certain of the parameters that an expression holds.

    ALL: everything that a model trains. SOME: parameters that are named or selected. GROUPS: dictionaries
    with settings of their own. OPEN: a name that the code gives no value. UNKNOWN: only running it would tell.
    """

    ALL = "all"
    SOME = "some"
    GROUPS = "groups"
    OPEN = "open"
    UNKNOWN = "unknown"


def trained(node: ast.expr, nodes: Sequence[ast.AST]) -> Trained:
    """Return what is certain of the parameters that an expression holds.

    Args:
        node: the expression.
        nodes: every node of the code around it.
    """
    return _Reader(nodes).read(node)


class _Reader:
    """Read expressions of one module; a name that is being read already tells nothing new."""

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
        if any(is_listing(node, listed) for listed in LISTS.values()):
            return Trained.ALL
        if isinstance(node, ast.Call):
            return self._call(node)
        return Trained.UNKNOWN

    def _call(self, node: ast.Call) -> Trained:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in AROUND and len(node.args) == 1:
            return self.read(node.args[0])
        if name in JOINING and node.args:
            return self._either(node.args)
        if name == "filter" and len(node.args) == 2:
            return Trained.GROUPS if self.read(node.args[1]) is Trained.GROUPS else Trained.SOME
        if name == "dict":
            return Trained.GROUPS
        return self._function(name)

    def _function(self, name: str) -> Trained:
        """Return what is certain of the results of a function of the same module."""
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
        """Return what is certain of each of several values; groups, where one of them is."""
        found = [self.read(value) for value in values]
        if groups := self._first_of(found, Trained.GROUPS):
            return groups
        # A list that begins empty and grows holds what is put into it.
        return found[0] if found and len(set(found)) == 1 else Trained.UNKNOWN

    @staticmethod
    def _first_of(found: Sequence[Trained], wanted: Trained) -> Trained | None:
        return wanted if wanted in found else None


def home(signature: Signature) -> Dialect:
    """Return the dialect of the framework whose parameters a class takes.

    Args:
        signature: an original, or one of adamcompat's classes.

    >>> from adamcompat.translation.names import KNOWN
    >>> home(KNOWN.classes["adamcompat.tensorflow.TorchStyleAdam"][0]).library
    'Keras 3'
    """
    originals = RUNTIMES[signature.adapter.runtime].originals if signature.adapter is not None else ()
    return MAPPING.dialects[originals[0]] if originals else signature.dialect


def listing(signature: Signature) -> str:
    """Return how models of the framework of a class list what is trained; "" where it has no models.

    Args:
        signature: the class.

    Returns:
        A value of `LISTS`, such as ``.parameters()``, or "".
    """
    return LISTS.get(home(signature).protocol, "")


def is_listing(node: ast.AST, listed: str) -> bool:
    """Return whether an expression is a model's list of what is trained.

    Args:
        node: any expression.
        listed: how such lists are written, a value of `LISTS`.

    >>> is_listing(ast.parse("net.parameters()", mode="eval").body, ".parameters()")
    True
    """
    if listed.endswith("()"):
        if not isinstance(node, ast.Call) or node.args or node.keywords:
            return False
        node = node.func
    return isinstance(node, ast.Attribute) and node.attr in (listed.strip(".()"), *_ALSO.get(listed, ()))


def relisted(node: ast.expr, source: Source, before: str, after: str) -> str:
    """Return the text of an expression with models' lists written as those of another framework.

    Args:
        node: the expression.
        source: the text in which it stands.
        before: how models of its own framework list what they train, a value of `LISTS`, or "".
        after: how those of the other framework do, or "".

    Returns:
        The new text; the text as it is written where `before` or `after` is empty.

    >>> text = "list(a.parameters()) + [b.bias]"
    >>> relisted(ast.parse(text, mode="eval").body, Source(text), ".parameters()", ".trainable_params()")
    'list(a.trainable_params()) + [b.bias]'
    """
    start, end = source.span(node)
    text = source.text[start:end]
    if not (before and after):
        return text
    places = [
        (_dot(item, source) - start, source.span(item)[1] - start)
        for item in ast.walk(node)
        if isinstance(item, ast.expr) and is_listing(item, before)
    ]
    for first, last in sorted(places, reverse=True):
        text = f"{text[:first]}{after}{text[last:]}"
    return text


def _dot(node: ast.expr, source: Source) -> int:
    """Return the position where the model of such a list ends; the model may stand in parentheses."""
    named = node.func if isinstance(node, ast.Call) else node
    assert isinstance(named, ast.Attribute)
    return source.text.rindex(".", source.span(named.value)[1], source.span(named)[1])


def _given(name: str, nodes: Sequence[ast.AST]) -> Iterator[ast.expr]:
    """Yield the expressions that a name is assigned, and those that its list grows by."""
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
