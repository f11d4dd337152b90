"""Rewrite calls and import statements with LibCST, so that comments and layout survive."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Collection, Sequence
from typing import Any

import libcst as cst

from adamcompat.translation.conversion import NewArgument

_Space = cst.BaseParenthesizableWhitespace
# Calls up to this length cannot be too deep.
_SHORT = 2000
_DEEP = 500


def call(text: str, callee: str, arguments: Sequence[NewArgument]) -> str:
    """Return a call with another callee and other arguments, laid out as it was.

    Args:
        text: the source of the call.
        callee: the new callee.
        arguments: the new arguments; those that come from an argument of the call keep its comments.

    Returns:
        The source of the new call.

    >>> print(call("Adam(1e-3,  # peak\\n     amsgrad=True)", "nn.Adam", [
    ...     NewArgument(None, "params", None), NewArgument("learning_rate", "1e-3", 0)]))
    nn.Adam(params,
         learning_rate=1e-3  # peak
         )
    """
    _check(text)
    old = cst.parse_expression(text)
    assert isinstance(old, cst.Call)
    changed = old.with_changes(func=cst.parse_expression(callee), **_Layout(old).arguments(arguments))
    return _code(changed, text)


def _check(text: str) -> None:
    """Refuse text that LibCST's parser cannot take: it nests where Python does not, and ends the process.

    Raises:
        RecursionError: conditions, strings in a row or loops in a comprehension are too many.
    """
    if len(text) < _SHORT:
        return
    nested = row = longest = 0
    for token in tokenize.generate_tokens(io.StringIO(f"({text})").readline):
        nested += token.type == tokenize.NAME and token.string in ("and", "or", "for")
        row = row + 1 if token.type == tokenize.STRING else row * (token.type in (tokenize.NL, tokenize.COMMENT))
        longest = max(longest, row)
    if max(nested, longest) > _DEEP:
        raise RecursionError("an expression is nested too deeply")


class _Layout:
    """Describe the layout of a call's arguments, and which comments belong to which of them.

    A comment on an argument's line belongs to it, a comment on lines of its own to the argument below.
    """

    def __init__(self, old: cst.Call) -> None:
        gaps = [old.whitespace_before_args, *map(_gap, old.args)]
        broken = [gap for gap in gaps if isinstance(gap, cst.ParenthesizedWhitespace)]
        self.comments = [_line(gap) for gap in gaps[1:]]
        self.lines = [_lines(gap) for gap in gaps]
        #: In front of the first argument, between two and behind the last.
        self.opening: _Space = gaps[0]
        first = broken[:1] if gaps[0] in broken else [gap for gap in gaps[1:-1] if gap in broken][:1]
        self.between: _Space = first[0] if first else cst.SimpleWhitespace(" ")
        self.closing: _Space = gaps[-1] if old.args else gaps[0]
        #: The line break to use where a comment asks for one.
        self.any_break = next(iter(broken), None)
        self.trailing_comma = bool(old.args) and isinstance(old.args[-1].comma, cst.Comma)

    def arguments(self, arguments: Sequence[NewArgument]) -> dict[str, Any]:
        """Return the changes to a call that gives it other arguments."""
        new: list[cst.Arg] = []
        positions = [argument.position for argument in arguments]
        for index, argument in enumerate(arguments):
            last = index == len(arguments) - 1
            comment = self._comment(argument) if argument.position not in positions[index + 1 :] else None
            below = self.lines[-1] if last else self._above(arguments[index + 1], positions[: index + 1])
            gap = self._space(self.closing if last else self.between, comment, below)
            comma = not last or self.trailing_comma
            keyword = cst.Name(argument.keyword) if argument.keyword is not None else None
            new.append(
                cst.Arg(
                    value=cst.parse_expression(argument.text),
                    keyword=keyword,
                    equal=_EQUAL if keyword is not None else cst.MaybeSentinel.DEFAULT,
                    comma=cst.Comma(whitespace_after=gap) if comma else cst.MaybeSentinel.DEFAULT,
                    whitespace_after_arg=cst.SimpleWhitespace("") if comma else gap,
                )
            )
        if not new:
            return {"args": [], "whitespace_before_args": cst.SimpleWhitespace("")}
        opening = self._space(self.opening, _line(self.opening), self._above(arguments[0], ()))
        return {"args": new, "whitespace_before_args": opening}

    def _comment(self, argument: NewArgument) -> cst.Comment | None:
        """Return the comments of the arguments that a new one comes from, as one comment; or None."""
        if argument.position is None:
            return None
        found = [self.comments[position] for position in (argument.position, *argument.beside)]
        texts = [comment.value for comment in found if comment is not None]
        return cst.Comment("  ".join(texts)) if texts else None

    def _above(self, argument: NewArgument, before: Sequence[int | None]) -> Sequence[cst.EmptyLine]:
        """Return the lines above the arguments that a new one comes from, once for each of them.

        Where a new argument before it comes from the same one, the lines stand there.
        """
        if argument.position is None or argument.position in before:
            return ()
        return [line for position in (argument.position, *argument.beside) for line in self.lines[position]]

    def _space(self, like: _Space, comment: cst.Comment | None, lines: Sequence[cst.EmptyLine]) -> _Space:
        """Return whitespace like some other, with these comments."""
        if comment is None and not lines and not isinstance(like, cst.ParenthesizedWhitespace):
            return like
        space = like if isinstance(like, cst.ParenthesizedWhitespace) else self.any_break
        assert space is not None, "a comment without a line break"
        first = cst.TrailingWhitespace(
            whitespace=cst.SimpleWhitespace("  " if comment is not None else ""),
            comment=comment,
            newline=space.first_line.newline,
        )
        return space.with_changes(first_line=first, empty_lines=list(lines))


_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def _gap(argument: cst.Arg) -> _Space:
    """Return the whitespace behind an argument and its comma."""
    return argument.comma.whitespace_after if isinstance(argument.comma, cst.Comma) else argument.whitespace_after_arg


def _line(space: _Space) -> cst.Comment | None:
    """Return the comment on the line of the argument before, or None."""
    return space.first_line.comment if isinstance(space, cst.ParenthesizedWhitespace) else None


def _lines(space: _Space) -> Sequence[cst.EmptyLine]:
    """Return the empty lines and comments above the argument behind."""
    return space.empty_lines if isinstance(space, cst.ParenthesizedWhitespace) else ()


def without_aliases(text: str, names: Collection[str]) -> str:
    """Return a ``from ... import`` statement without some of its names.

    Args:
        text: the source of the statement.
        names: the names to leave out, as the statement binds them; at least one other must be left.

    >>> without_aliases("from keras.optimizers import (SGD, Adam as A)", {"A"})
    'from keras.optimizers import (SGD)'
    """
    line = cst.parse_statement(text)
    assert isinstance(line, cst.SimpleStatementLine)
    statement = line.body[0]
    assert isinstance(statement, cst.ImportFrom)
    assert not isinstance(statement.names, cst.ImportStar)
    kept = [alias for alias in statement.names if _bound(alias) not in names]
    if kept[-1] is not statement.names[-1]:
        kept[-1] = kept[-1].with_changes(comma=statement.names[-1].comma)
    return _code(statement.with_changes(names=kept), text)


def _code(node: cst.CSTNode, text: str) -> str:
    """Return the text of a node, with the line ends of the text that it was made from."""
    newline = next((end for end in ("\r\n", "\n", "\r") if end in text), "\n")
    return cst.Module([], default_newline=newline).code_for_node(node)


def _bound(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name
