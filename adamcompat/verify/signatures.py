"""Read what a class takes: from its signature and, where a decorator hides that, from its source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from adamcompat.verify.observation import REQUIRED, Taken


def _source(kind: type[Any], method: str) -> ast.FunctionDef | None:
    """Return the definition of a method in the source of its class, whatever decorators made of it."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return None
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return next((node for node in body if isinstance(node, ast.FunctionDef) and node.name == method), None)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def parameters(kind: type[Any], method: str = "__init__") -> tuple[tuple[Taken, ...], bool]:
    """Return the parameters of a method after self, and whether it ends in ``**kwargs``.

    Args:
        kind: the class.
        method: the name of the method.

    >>> class Example:
    ...     def __init__(self, rate=0.1, *, name=None, **kwargs): ...
    >>> [(taken.name, taken.default) for taken in parameters(Example)[0]], parameters(Example)[1]
    ([('rate', 0.1), ('name', None)], True)
    """
    found = list(inspect.signature(getattr(kind, method)).parameters.values())[1:]
    named, extra = _split(found)
    if named or not any(parameter.kind is parameter.VAR_POSITIONAL for parameter in found):
        return named, extra
    definition = _source(kind, method)
    if definition is None:
        return (), extra
    arguments = definition.args.args[1:]
    defaults = [REQUIRED] * (len(arguments) - len(definition.args.defaults))
    defaults += [_literal(node) for node in definition.args.defaults]
    taken = tuple(Taken(a.arg, default) for a, default in zip(arguments, defaults, strict=True))
    return taken, definition.args.kwarg is not None


def function(target: Callable[..., Any]) -> tuple[tuple[Taken, ...], bool]:
    """Return the parameters of a function, and whether it ends in ``**kwargs``."""
    return _split(list(inspect.signature(target).parameters.values()))


def _split(found: Sequence[inspect.Parameter]) -> tuple[tuple[Taken, ...], bool]:
    named = [p for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    taken = tuple(Taken(p.name, REQUIRED if p.default is p.empty else p.default) for p in named)
    return taken, any(p.kind is p.VAR_KEYWORD for p in found)


def keywords(kind: type[Any]) -> tuple[Taken, ...]:
    """Return what a class takes through ``**kwargs``, with the defaults that stand there.

    That is what it and its bases read from them by name, and what its bases name in their own signatures.

    >>> class Example:
    ...     def __init__(self, rate=0.1, **kwargs):
    ...         self.rate = kwargs.get("lr", rate)
    >>> keywords(Example)  # doctest: +SKIP
    (Taken(name='lr', default=None, stands_for='rate'),)
    """
    found: dict[str, Taken] = {}
    signature = {taken.name for taken in parameters(kind)[0]}
    for base in kind.__mro__:
        definition = _source(base, "__init__")
        if definition is None or definition.args.kwarg is None:
            continue
        own = {argument.arg for argument in definition.args.args}
        for node in ast.walk(definition):
            taken = _reads(node, definition.args.kwarg.arg, own)
            if taken is not None:
                found.setdefault(taken.name, taken)
        # What a base names in its own signature comes through the **kwargs of the class.
        defaults = definition.args.defaults
        for argument, node in zip(definition.args.args[-len(defaults) :] if defaults else (), defaults, strict=True):
            if argument.arg not in signature:
                found.setdefault(argument.arg, Taken(argument.arg, _literal(node)))
    return tuple(found.values())


def _reads(node: ast.AST, kwargs: str, own: set[str]) -> Taken | None:
    """Return what ``kwargs.get(name, default)`` or ``kwargs.pop(name, default)`` reads; None for any other node."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
        return None
    where, name = node.func.value, node.args[0]
    reads = isinstance(where, ast.Name) and where.id == kwargs and node.func.attr in ("get", "pop")
    if not (reads and isinstance(name, ast.Constant) and isinstance(name.value, str)):
        return None
    default = node.args[1] if len(node.args) > 1 else ast.Constant(None)
    if isinstance(default, ast.Name) and default.id in own:
        return Taken(name.value, None, default.id)
    return Taken(name.value, _literal(default))


def texts(kind: type[Any], anchor: str) -> tuple[str, ...]:
    """Return the strings of the longest list in the source of a class and its bases that holds `anchor`.

    Args:
        kind: the class.
        anchor: a string that stands in the list.
    """
    best: tuple[str, ...] = ()
    for base in kind.__mro__:
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
                values = tuple(e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str))
                if anchor in values and len(values) > len(best):
                    best = values
    return best
