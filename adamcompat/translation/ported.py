"""Find the parts of an expression of parameters that another framework's models may not have."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence

from adamcompat.translation.trained import AROUND, JOINING, LISTS, is_listing

# What an optimizer of another framework can ask of a parameter, too, by how models list them there.
_ASKED = {LISTS["call"]: ("requires_grad",)}
# Functions whose result can be read once.
_ITERATORS = (*JOINING, "filter", "from_iterable", "islice", "iter", "map", "reversed", "zip")
_NAMED = (ast.Name, ast.Attribute, ast.Subscript)


class Parts:
    """Find the parts of expressions that are not certain to be right in another framework."""

    def __init__(self, before: str, after: str, keys: Collection[str]) -> None:
        """Find parts by these facts.

        Args:
            before: how the models of the one framework list what they train, a value of `LISTS`.
            after: how those of the other do.
            keys: the keys that hold the parameters of a group.
        """
        self.before = before
        self.asked = _ASKED.get(after, ())
        self.keys = keys

    def of(self, node: ast.expr) -> Iterator[ast.expr]:
        """Yield the parts of an expression that are neither models' lists nor lists of weights by name.

        Args:
            node: an expression of parameters or groups.
        """
        if is_listing(node, self.before):
            return
        entries = list(self.entries(node))
        if entries:
            for entry in entries:
                yield from self.of(entry)
        elif isinstance(node, (ast.List, ast.Tuple)):
            for item in node.elts:
                if not isinstance(item, _NAMED) or is_listing(item, self.before):
                    yield from self.of(item)
        elif isinstance(node, ast.Starred):
            yield from self.of(node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            yield from [*self.of(node.left), *self.of(node.right)]
        elif isinstance(node, ast.IfExp):
            yield from [*self.of(node.body), *self.of(node.orelse)]
        elif isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            yield from self.comprehended(node)
        elif isinstance(node, ast.Call):
            yield from self.called(node)
        else:
            yield node

    def entries(self, node: ast.expr) -> Iterator[ast.expr]:
        """Yield the parameters of a group that is written out; nothing for another expression.

        Args:
            node: any expression.
        """
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if key is None or (isinstance(key, ast.Constant) and key.value in self.keys):
                    yield value
        elif isinstance(node, ast.Call) and _last(node) == "dict":
            yield from node.args
            yield from (keyword.value for keyword in node.keywords if keyword.arg is None or keyword.arg in self.keys)

    def comprehended(self, node: ast.ListComp | ast.GeneratorExp) -> Iterator[ast.expr]:
        """Yield the uncertain part of a comprehension: all of it, unless it selects from a model's list.

        Args:
            node: the comprehension.
        """
        first = node.generators[0]
        plain = len(node.generators) == 1 and isinstance(first.target, ast.Name)
        if plain and isinstance(first.target, ast.Name) and all(self.selects(i, first.target.id) for i in first.ifs):
            if isinstance(node.elt, ast.Name) and node.elt.id == first.target.id:
                yield from self.of(first.iter)
                return
            if is_listing(node.elt, self.before) and isinstance(first.iter, (ast.List, ast.Tuple, ast.Name)):
                return
        yield node

    def called(self, node: ast.Call) -> Iterator[ast.expr]:
        """Yield the uncertain parts of a call: all of it, unless it puts models' lists together.

        Args:
            node: the call.
        """
        name = _last(node)
        if name in (*AROUND, *JOINING, "from_iterable", "iter") and node.args and not node.keywords:
            for item in node.args:
                yield from self.of(item)
        elif name == "filter" and len(node.args) == 2 and isinstance(node.args[0], ast.Lambda):
            test = node.args[0]
            if len(test.args.args) == 1 and self.selects(test.body, test.args.args[0].arg):
                yield from self.of(node.args[1])
            else:
                yield node
        else:
            yield node

    def selects(self, node: ast.expr, name: str) -> bool:
        """Return whether a condition only reads an attribute that parameters have in the other framework, too.

        Args:
            node: the condition.
            name: the name that stands for a parameter in it.
        """
        of_it = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
        return of_it and isinstance(node, ast.Attribute) and node.attr in self.asked


def read_once(node: ast.expr, values: Mapping[str, ast.expr], nodes: Sequence[ast.AST]) -> bool:
    """Return whether an expression is certainly an iterator, which gives its items once.

    Args:
        node: the expression.
        values: the expressions that names are assigned, for names with one assignment.
        nodes: every node of the code around it.

    >>> [read_once(ast.parse(text, mode="eval").body, {}, ()) for text in ("filter(f, p)", "[*p]", "(i for i in p)")]
    [True, False, True]
    """
    if isinstance(node, ast.Name):
        value = values.get(node.id)
        return value is not None and not isinstance(value, ast.Name) and read_once(value, {}, nodes)
    if isinstance(node, ast.IfExp):
        return read_once(node.body, values, nodes) or read_once(node.orelse, values, nodes)
    if isinstance(node, ast.GeneratorExp):
        return True
    if not isinstance(node, ast.Call):
        return False
    bodies = [item for item in nodes if isinstance(item, ast.FunctionDef) and item.name == _last(node)]
    made = isinstance(node.func, ast.Name) and any(isinstance(i, ast.Yield | ast.YieldFrom) for i in _within(bodies))
    return made or (_last(node) in _ITERATORS and not bodies)


def _within(bodies: Sequence[ast.AST]) -> Iterator[ast.AST]:
    for body in bodies:
        yield from ast.walk(body)


def _last(call: ast.Call) -> str:
    """Return the last part of the name of a called function."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
