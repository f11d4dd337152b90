"""Hold the result of matching, the partners of two models, and put tensors together by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import adamcompat.fragments as fragments
from adamcompat.state.layout import Transform
from adamcompat.state.terms import Shape, Tensor

Replacement: TypeAlias = tuple[str, str]
Rename: TypeAlias = Mapping[str, str] | Replacement | Sequence[Replacement] | str
LayoutName: TypeAlias = str | tuple[int, ...]
Layout: TypeAlias = LayoutName | Mapping[str, LayoutName]
# Which of how many equal parts along the first axis.
Part: TypeAlias = tuple[int, int]

# Roles whose values are added up where a layer sees only the sum of two weights. Both get the gradient of the sum, so
# that the moments of one are those of the sum.
_ADDED = ("parameter", "average")


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold one parameter, or a part of one, and its partner.

    Attributes:
        source: the name of the parameter of the state.
        target: the name of its partner.
        transform: how the tensor is brought from one to the other.
        evidence: why the two belong together: "name", "shape", "order" or "rename".
        source_part: the index, from 0, and the number of equal parts along the first axis of the source's tensor; None
            for all of it.
        target_part: the same for the target's tensor.
        addend: whether one of the two is a weight of which the layer sees only the sum with another one: what it has
            is added to the parameter of the other framework, and what it gets is zero.
    """

    source: str
    target: str
    transform: Transform
    evidence: str
    source_part: Part | None = None
    target_part: Part | None = None
    addend: bool = False

    @property
    def inverse(self) -> Pair:
        """Return the pair that leads back."""
        back = self.transform.inverse
        return Pair(self.target, self.source, back, self.evidence, self.target_part, self.source_part, self.addend)

    def piece(self, tensor: Tensor) -> NDArray[Any]:
        """Return the part of the source's tensor that the target gets, in the target's layout."""
        array = np.asarray(tensor)
        return self.transform.apply(array if self.source_part is None else _part(array, self.source_part))


@dataclass(frozen=True, slots=True, repr=False)
class Matching:
    """Hold partners for all parameters, to be looked at and then passed to `AdamState.load_into`.

    ``print(matching)`` shows a table: names and shapes on either side, the layout (``dense (1,0)`` is
    ``numpy.transpose(array, (1, 0))`` by the rule for dense layers) and why the two were matched.

    Attributes:
        pairs: the partners. A parameter that is put together from several, or divided, is in several pairs.
        source_alone: names and shapes of the parameters of the source that have no partner: they are left behind.
        target_alone: those of the target: their parameters stay as they are, and their moments begin at zero.
        notes: what training from here will do otherwise than the training that the state came from.
    """

    pairs: tuple[Pair, ...]
    source_alone: tuple[tuple[str, Shape], ...] = ()
    target_alone: tuple[tuple[str, Shape], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def by_target(self) -> dict[str, Pair]:
        """Return the pairs by the name of their target; for a target that is put together the last pair."""
        return {pair.target: pair for pair in self.pairs}

    @property
    def of_targets(self) -> dict[str, tuple[Pair, ...]]:
        """Return all pairs of each target that has partners."""
        found: dict[str, tuple[Pair, ...]] = {}
        for pair in self.pairs:
            found[pair.target] = (*found.get(pair.target, ()), pair)
        return found

    @property
    def inverse(self) -> Matching:
        """Return the matching that leads back; it has no notes."""
        return Matching(tuple(pair.inverse for pair in self.pairs), self.target_alone, self.source_alone)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the rows of the table: source, target, layout and evidence as text, pairs first, then the others."""
        of_targets = self.of_targets
        rows = [
            (
                f"{_labelled(pair.source, pair.source_part, pair.transform.source)} {pair.transform.source}",
                f"{_labelled(pair.target, pair.target_part, pair.transform.shape)} {pair.transform.shape}",
                _told(pair, of_targets[pair.target]),
                f"by {pair.evidence}",
            )
            for pair in self.pairs
        ]
        rows += [(f"{name} {shape}", "-", "left behind", "alone") for name, shape in self.source_alone]
        rows += [("-", f"{name} {shape}", "moments of zero", "alone") for name, shape in self.target_alone]
        return rows

    def __repr__(self) -> str:
        return "\n".join([str(self) or "Matching of nothing", *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        rows = self.rows()
        marks = ["less" if row[3] == "alone" else "" for row in rows]
        found = fragments.table(("from", "to", "layout", "because of"), rows, marks)
        return fragments.shown(found if rows else fragments.line("Matching of nothing"), fragments.several(self.notes))

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(3)] if rows else []
        return "\n".join(
            f"{source:<{widths[0]}} -> {target:<{widths[1]}}  {layout:<{widths[2]}}  {evidence}"
            for source, target, layout, evidence in rows
        )


def pieces_for(pairs: Sequence[Pair], role: str) -> Iterator[Pair]:
    """Yield the pairs of one target that its tensor of a role is made of.

    Args:
        pairs: all pairs of the target.
        role: the kind of tensor in mapping.yaml, such as "parameter" or "first_moment".

    Yields:
        First the pairs that are put one after the other, in their order; then, for parameters and averages, those that
        are added. Without any, the tensor is zero.
    """
    yield from sorted((pair for pair in pairs if not pair.addend), key=lambda pair: pair.target_part or (0, 1))
    if role in _ADDED and not all(pair.addend for pair in pairs):
        yield from (pair for pair in pairs if pair.addend)


def put_together(pairs: Sequence[Pair], role: str, tensors: Mapping[str, Tensor]) -> NDArray[Any] | None:
    """Put together a target's tensor of a role.

    Args:
        pairs: all pairs of the target.
        role: the kind of tensor in mapping.yaml, such as "parameter" or "first_moment".
        tensors: the source's tensors of this role by parameter name.

    Returns:
        The tensor in the target's layout, with the pieces one after the other along the first axis, plus the addends.
        None where it is zero.
    """
    wanted = [*pieces_for(pairs, role)]
    if not wanted:
        return None
    whole = [pair.piece(tensors[pair.source]) for pair in wanted if not pair.addend]
    array = whole[0] if len(whole) == 1 else np.concatenate(whole)
    for pair in wanted:
        if pair.addend:
            array = array + pair.piece(tensors[pair.source])
    return array


def shape_of(shape: Shape, part: Part | None) -> Shape | None:
    """Return the shape of a part of a tensor, or of all of it.

    Args:
        shape: of the whole tensor.
        part: the index and the number of equal parts along the first axis; None for all of it.

    Returns:
        The shape; None where the first axis cannot be divided like that.
    """
    if part is None:
        return shape
    if not shape or shape[0] % part[1]:
        return None
    return (shape[0] // part[1], *shape[1:])


def _part(array: NDArray[Any], part: Part) -> NDArray[Any]:
    index, count = part
    rows = len(array) // count
    return array[index * rows : (index + 1) * rows]


def _told(pair: Pair, siblings: Sequence[Pair]) -> str:
    """Return what becomes of a tensor, as text."""
    if not pair.addend:
        return str(pair.transform)
    return "zero: the other holds the sum" if all(other.addend for other in siblings) else "parameter added"


def _labelled(name: str, part: Part | None, shape: Shape) -> str:
    if part is None:
        return name
    rows = shape[0]
    return f"{name}[{part[0] * rows}:{(part[0] + 1) * rows}]"
