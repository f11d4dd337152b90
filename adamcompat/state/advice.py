"""Tell a user why parameters cannot be matched: every problem in one text, each with the way out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, permutations

from adamcompat.state import naming
from adamcompat.state.terms import Shape, StateError

ORDER = "order"
_SHOWN, _LISTED = 8, 40
_SUGGESTED = 3
_IN_ORDER = f"rename={ORDER!r} (in a map: `rename: {ORDER}`)"


def gathered(problems: Sequence[str]) -> StateError:
    """Return one error that holds all problems.

    Args:
        problems: the texts, at least one. One alone is the error's whole text. Of several, the first 40 are listed, and
            the others are counted.
    """
    if len(problems) == 1:
        return StateError(problems[0])
    listed = "\n".join("- " + problem.replace("\n", "\n  ") for problem in problems[:_LISTED])
    more = f"\n- and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
    return StateError(f"the parameters cannot be matched, for {len(problems)} reasons:\n{listed}{more}")


def some(names: Iterable[str]) -> str:
    """Return names as text: the first eight, and the number of the others.

    Args:
        names: of parameters or of anything else. Without any, the text is "none".
    """
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return (", ".join(listed[:_SHOWN]) or "none") + more


def lines(texts: Sequence[str]) -> str:
    """Return texts as indented lines: the first 40, and the number of the others."""
    more = [f"  and {len(texts) - _LISTED} more"] if len(texts) > _LISTED else []
    return "\n".join([*(f"  {text}" for text in texts[:_LISTED]), *more])


def undecided(texts: Sequence[str]) -> str:
    """Return the text of a problem: names and shapes leave open which parameter is which.

    Args:
        texts: one line for each parameter or layer, with the partners that it may have.
    """
    return (
        f"names and shapes leave open which parameter is which:\n{lines(texts)}\npass rename={{source name: target "
        f"name}} for some of them, or {_IN_ORDER} if both models list their parameters in the same order"
    )


def without_partner(alone: Mapping[str, Shape], lonely: Mapping[str, Shape]) -> str:
    """Return the text of a problem: parameters are left over on one side or on both.

    Args:
        alone: names and shapes of the parameters of the state that have no partner.
        lonely: names and shapes of the parameters of the target that have no partner. Either this or `alone` holds at
            least one.
    """
    texts = [
        f"{name} {shape} of the state has none in the target{_as_many(name, shape, lonely) if place < _LISTED else ''}"
        for place, (name, shape) in enumerate(alone.items())
    ]
    texts += [f"{name} {shape} of the target has none in the state" for name, shape in lonely.items()]
    odd = repr([*alone, *lonely][0])
    text = (
        f"parameters without a partner:\n{lines(texts)}\nload state of the same model; if it is, pass rename={{source "
        f"name: target name}}, or alone=[{odd}, ...] for what has no partner there (in a map: `alone: [...]`)"
    )
    if not all(map(naming.is_name, (*alone, *lonely))):
        text += f"; numbered names say nothing: {_IN_ORDER} matches them if both models list them in the same order"
    return text


def _as_many(name: str, shape: Shape, others: Mapping[str, Shape]) -> str:
    """Return a hint at the parameters that fit once axes are joined or taken apart; an empty text if there are none."""
    hints = []
    for other, theirs in others.items():
        found = patterns(shape, theirs)
        if found:
            hints.append(f"{other} (layout={{{name!r}: {' or '.join(map(repr, found))}}})")
    more = f" or {len(hints) - _SUGGESTED} more" if len(hints) > _SUGGESTED else ""
    return f"; with other axes it may be {' or '.join(hints[:_SUGGESTED])}{more}" if hints else ""


def misfit(name: str, shape: Shape, partner: str, theirs: Shape, evidence: str, how: str) -> str:
    """Return the text of a problem: two parameters belong together, and no layout takes one to the other.

    Args:
        name: the parameter of the state.
        shape: its shape.
        partner: the parameter of the target.
        theirs: the partner's shape.
        evidence: why the two were matched: "name", "shape", "order" or "rename".
        how: the layouts that were tried, as words after "do not fit", for example ``in the layout 'dense'``.

    Returns:
        The problem with a way out. Where the numbers of elements are equal, the layouts that would fit are named.
    """
    text = (
        f"{name!r} of shape {shape} and {partner!r} of shape {theirs} were matched by {evidence}, but do not fit {how}"
    )
    if math.prod(shape) != math.prod(theirs):
        return (
            f"{text}: {math.prod(shape)} and {math.prod(theirs)} elements; load state of the same model, or pass "
            f"rename={{source name: target name}}, or alone=[{name!r}, {partner!r}] if they are no partners"
        )
    found = patterns(shape, theirs) or [
        str(order) for order in permutations(range(len(shape))) if tuple(shape[axis] for axis in order) == theirs
    ]
    if not found:
        return f"{text}; load state of the same model, or pass rename={{source name: target name}}"
    shown = " or ".join(found if found[0].startswith("(") and "->" not in found[0] else map(repr, found))
    return (
        f"{text}; pass layout={{{name!r}: {shown}}}, whichever is right, or rename={{source name: target name}} if "
        f"they are no partners"
    )


def patterns(source: Shape, target: Shape) -> list[str]:
    """Return the likely layouts, in letters, of two shapes of which one has joined axes that the other keeps apart.

    Args:
        source: the shape of the state's tensor.
        target: the shape of the tensor that it becomes.

    Returns:
        At most three patterns as `layout.rearranged` takes them. There are none where the shapes have equally many axes
        or different numbers of elements, where one has no axes, or where one has more than five.

    >>> patterns((8, 2, 4), (8, 8))
    ['a b c -> a (b c)', 'a b c -> (b c) a']
    >>> patterns((8, 6), (2, 3, 8))
    ['a (b c) -> b c a']
    """
    fine, coarse = (source, target) if len(source) > len(target) else (target, source)
    if len(fine) == len(coarse) or not coarse or len(fine) > 5 or math.prod(fine) != math.prod(coarse):
        return []
    letters = "abcde"[: len(fine)]
    found = []
    for groups in _groupings(letters):
        if len(groups) == len(coarse):
            sizes = [math.prod(fine[letters.index(letter)] for letter in group) for group in groups]
            if tuple(sizes) == coarse:
                joined = " ".join(group if len(group) == 1 else f"({' '.join(group)})" for group in groups)
                found.append((" ".join(letters), joined) if fine is source else (joined, " ".join(letters)))
    # The letters are those of the side that is written first.
    return [_relettered(one, other) for one, other in found][:_SUGGESTED]


def _groupings(letters: str) -> Iterator[tuple[str, ...]]:
    """Yield the ways to join neighbouring letters; the groups come in every order, the letters of each in their own."""
    for count in range(1, len(letters)):
        for cuts in combinations(range(1, len(letters)), count - 1):
            groups = [letters[a:b] for a, b in zip((0, *cuts), (*cuts, len(letters)), strict=True)]
            yield from permutations(groups)


def _relettered(one: str, other: str) -> str:
    seen = list(dict.fromkeys(letter for letter in one if letter.isalpha()))
    table = str.maketrans(dict(zip(seen, "abcde", strict=False)))
    return f"{one} -> {other}".translate(table)
