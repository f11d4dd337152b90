"""Read the arguments of a call as they stand in source code, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adamcompat.translation.source import Source


class _Unknown:
    """Stand for the value of an expression that only running it would tell."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()


@dataclass(frozen=True, slots=True)
class Argument:
    """Hold one argument of a call.

    Attributes:
        keyword: its keyword, or None where it is positional.
        text: the expression as it is written.
        value: its value where it is a literal, else UNKNOWN.
        node: the expression, parsed.
        position: which argument of the call it is, counted from 0.
    """

    keyword: str | None
    text: str
    value: Any
    node: ast.expr
    position: int


# Built-in functions that return a number.
_NUMBERS = {"abs", "float", "int", "max", "min", "pow", "round"}


def literal(node: ast.expr) -> Any:
    """Return the value of a literal, else UNKNOWN.

    Args:
        node: any expression.
    """
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return UNKNOWN


def arguments(call: ast.Call, source: Source) -> tuple[Argument, ...] | None:
    """Return the arguments of a call, or None where it unpacks a sequence or dictionary.

    Args:
        call: the call.
        source: the text in which it stands.
    """
    found: list[Argument] = []
    entries: Iterator[tuple[str | None, ast.expr]] = (
        *((None, node) for node in call.args),
        *((keyword.arg, keyword.value) for keyword in call.keywords),
    ).__iter__()
    for position, (name, node) in enumerate(entries):
        if isinstance(node, ast.Starred) or (name is None and position >= len(call.args)):
            return None
        found.append(Argument(name, text_of(node, source), literal(node), node, position))
    return tuple(found)


def text_of(node: ast.expr, source: Source) -> str:
    """Return the text of an expression such that it may stand behind a keyword.

    Args:
        node: the expression.
        source: the text in which it stands.

    Returns:
        The text as it is written; in parentheses where it needs them.
    """
    text = source.segment(node) or ast.unparse(node)
    return f"({text})" if isinstance(node, (ast.NamedExpr, ast.Yield, ast.YieldFrom)) else text


def form(node: ast.expr, values: Mapping[str, ast.expr]) -> str:
    """Return how a learning rate is given: number | list | callable | call | groups | unknown.

    Args:
        node: the expression.
        values: the expressions that the names of the module are assigned, for names with one assignment.
    """
    if isinstance(node, ast.Name) and node.id in values:
        return form(values[node.id], {})
    if isinstance(node, (ast.List, ast.Tuple)):
        return "groups" if any(isinstance(item, ast.Dict) for item in node.elts) else "list"
    if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
        return "groups" if isinstance(node.elt, ast.Dict) else "list"
    if isinstance(node, ast.Constant):
        return "number"
    if isinstance(node, ast.UnaryOp):
        return "number" if form(node.operand, values) == "number" else "unknown"
    if isinstance(node, ast.BinOp):
        sides = {form(node.left, values), form(node.right, values)}
        return "list" if "list" in sides else "number" if sides == {"number"} else "unknown"
    if isinstance(node, ast.Lambda):
        return "callable"
    if isinstance(node, ast.Call):
        return "number" if isinstance(node.func, ast.Name) and node.func.id in _NUMBERS else "call"
    return "unknown"


def assigned_once(nodes: Iterable[ast.AST], bound: Mapping[str, int]) -> dict[str, ast.expr]:
    """Return the names that a module gives a value exactly once, by a plain assignment.

    Args:
        nodes: the nodes of the module.
        bound: how often each name gets a value, by whatever means.

    Returns:
        The names, with the expressions that they are assigned.
    """
    found: dict[str, ast.expr] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = node.value
    return {name: value for name, value in found.items() if bound.get(name) == 1}
