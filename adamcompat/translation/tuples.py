"""Take tuples in source code apart, and write them: one parameter here may be several there."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from adamcompat.hyperparameters import exception
from adamcompat.mapping import lens
from adamcompat.mapping.facts import TupleFact
from adamcompat.translation.arguments import UNKNOWN, Argument, literal, text_of
from adamcompat.translation.conversion import Context, NewArgument, Value, Whole
from adamcompat.translation.messages import Message, error
from adamcompat.translation.names import Signature


class _Written:
    """Show an expression in a message as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def defaults(fact: TupleFact) -> list[Value]:
    """Return the elements of a tuple that a call does not give, with their defaults."""
    return [Value(element, repr(element.default), element.default) for element in fact.elements]


def take_apart(
    fact: TupleFact, given: Argument, source: Signature, context: Context, say: Callable[[Message], None]
) -> list[Value]:
    """Return the elements of a tuple as it stands in a call.

    Elements that are written out are taken as they are. Of a name or an attribute ``b`` they are ``b[0]``, ``b[1]`` and
    so on. Of any other expression they can only be passed on together.

    Args:
        fact: the parameter.
        given: the argument of the call for it.
        source: the class that is called.
        context: the code around the call.
        say: takes a message.

    Returns:
        One value for each element; none, with a message, where the argument is known to be no tuple of that length.
    """
    items = _items(given.node)
    known = _known(given, context)
    if known is not UNKNOWN:
        dialect = source.dialect
        try:
            lens.parts(fact, known, dialect)
        except (exception(dialect.errors.wrong_type), exception(dialect.errors.out_of_range)) as problem:
            say(error("invalid-call", f"{source.title}: {problem}"))
            return []
    if items is not None:
        return [
            Value(element, text_of(item, context.source), literal(item), item, given.position)
            for element, item in zip(fact.elements, items, strict=True)
        ]
    plain = _is_plain(given.node)
    count = len(fact.elements)
    return [
        Value(
            element,
            f"{given.text}[{place}]" if plain else f"({given.text})[{place}]",
            UNKNOWN,
            ast.Subscript(given.node, ast.Constant(place), ast.Load()),
            given.position,
            Whole(fact.name, given.text, place, count, plain),
        )
        for place, element in enumerate(fact.elements)
    ]


def _items(node: ast.expr) -> list[ast.expr] | None:
    """Return the elements of a tuple or list that is written out, else None."""
    written = isinstance(node, (ast.Tuple, ast.List)) and not any(isinstance(item, ast.Starred) for item in node.elts)
    return node.elts if written and isinstance(node, (ast.Tuple, ast.List)) else None


def _known(given: Argument, context: Context) -> Any:
    """Return what a value is known to be without running it: a literal, or a tuple of its elements' texts."""
    node = context.values.get(given.node.id, given.node) if isinstance(given.node, ast.Name) else given.node
    value, items = literal(node), _items(node)
    if value is UNKNOWN and items is not None:
        return tuple(_Written(ast.unparse(item)) for item in items)
    return value


def _is_plain(node: ast.expr) -> bool:
    """Return whether an expression means the same each time it is written: a name, or attributes of one."""
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_plain(node.value))


def put_together(
    target: Signature, new: dict[str, NewArgument], carried: Mapping[str, Value], say: Callable[[Message], None]
) -> None:
    """Write one tuple in place of its elements; an element that was not written has its default.

    Args:
        target: the class to call.
        new: its arguments so far, by the names of parameters and elements. A tuple takes the place of its elements.
        carried: the values that they come from, by the same names.
        say: takes a message.
    """
    together: set[str] = set()
    for fact in target.accepted:
        if not isinstance(fact, TupleFact):
            continue
        written = {element.name: new.pop(element.name) for element in fact.elements if element.name in new}
        if not written:
            if fact.required:
                say(error("invalid-call", f"{target.title} needs {fact.name!r}"))
            continue
        whole = _whole(fact, written, carried)
        if whole is not None:
            together |= set(written)
            text = whole.text
        else:
            texts = []
            for element in fact.elements:
                if element.name not in written and element.required:
                    say(error("invalid-call", f"{target.title} needs a value for {element.name!r}"))
                texts.append(written[element.name].text if element.name in written else repr(element.default))
            text = f"({', '.join(texts)})"
        found = [argument.position for argument in written.values() if argument.position is not None]
        positions = tuple(dict.fromkeys(found))
        new[fact.name] = NewArgument(fact.name, text, positions[0] if positions else None, positions[1:])
    lost = {
        value.whole.name: value.whole.text
        for name, value in carried.items()
        if value.whole is not None and not value.whole.plain and name not in together
    }
    for name, text in lost.items():
        say(
            error(
                "tuple-expression",
                f"{name}={text}: {target.title} takes its elements one by one, and only a tuple that is written out or "
                f"has a name can be taken apart; give it a name first",
            )
        )


def _whole(fact: TupleFact, written: Mapping[str, NewArgument], carried: Mapping[str, Value]) -> Whole | None:
    """Return the expression that is the whole tuple already, or None.

    There is one where all elements come from it, in this order.
    """
    wholes = [carried[element.name].whole if element.name in written else None for element in fact.elements]
    first = wholes[0]
    if first is None or first.count != len(wholes):
        return None
    same = all(one is not None and (one.name, one.place) == (first.name, i) for i, one in enumerate(wholes))
    return first if same else None
