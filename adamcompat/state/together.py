"""Match layers whose weights go together, and match by order, where such a layer counts as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from adamcompat.state import advice, naming
from adamcompat.state.advice import ORDER, some
from adamcompat.state.compounds import Block, Frame, blocks_of, counterparts, notes_on, paired
from adamcompat.state.layouts import Layouts
from adamcompat.state.pairing import Pair
from adamcompat.state.sides import Sides
from adamcompat.state.terms import Shape


class Together:
    """Match the recurrent layers and the attention of both sides.

    Attributes:
        sides: the parameters of both sides, and what has been decided.
        ours: the layers of the source; none where both sides have one framework, or a framework is not known.
        theirs: the layers of the target.
        notes: what training will do otherwise than the training that the state came from.
    """

    def __init__(self, sides: Sides, layouts: Layouts) -> None:
        self.sides = sides
        one, other = sides.conventions
        self.ours: list[Block] = []
        self.theirs: list[Block] = []
        self.notes: list[str] = []
        self._fits: dict[tuple[frozenset[str], frozenset[str]], bool] = {}
        if one is not None and other is not None and one != other:
            self.ours = _blocks(sides.source, sides.source_alone, one)
            self.theirs = _blocks(sides.target, sides.target_alone, other)
        self._frame = Frame(sides.source, sides.target, layouts.pattern)

    def join(self, given: Sequence[tuple[str, str]]) -> None:
        """Match layers as wholes: by the caller's word, then by names, then by shapes where one way only is possible.

        Args:
            given: pairs of names from the caller. Those that stand for no layer are noted as pairs of parameters.
        """
        singles = []
        for name, partner in given:
            mine = [block for block in self.ours if name in block.names]
            its = [block for block in self.theirs if partner in block.names]
            if mine and its:
                self._join(mine, its, "rename")
            else:
                singles.append((name, partner))
        self.sides.take([pair for pair in singles if pair[0] not in self.sides.settled], "rename")
        self._join_all()

    def _join_all(self) -> None:
        # By names both must be sure of each other; by shapes it is enough that one has no other choice.
        for by_name in (True, False):
            while True:
                mine, its, fits = self._choices(by_name=by_name)
                times = Counter(j for found in fits for j in found)
                sure = [
                    (i, j)
                    for i, found in enumerate(fits)
                    for j in found
                    if (len(found) == 1) + (times[j] == 1) >= 1 + by_name
                ]
                if not sure:
                    break
                self._join(mine[sure[0][0]], its[sure[0][1]], "name" if by_name else "shape")
        self._leave_open(mine, its, fits)
        for block in mine:
            self._say_why_not(block, mine, its)

    def _say_why_not(self, block: list[Block], mine: list[list[Block]], its: list[list[Block]]) -> None:
        """Say why a layer does not fit the one of the same name, or the only one that is left of its kind."""
        same = [other for other in its if self.sides.same_layer(block[0].layer, other[0].layer)]
        kinds = {one.kind.name for one in block}
        alike = [[group for group in side if kinds & {one.kind.name for one in group}] for side in (mine, its)]
        if len(same) == 1:
            self._join(block, same[0], "name")
        elif len(alike[0]) == len(alike[1]) == 1:
            self._join(block, alike[1][0], "kind")

    def _choices(self, *, by_name: bool) -> tuple[list[list[Block]], list[list[Block]], list[list[int]]]:
        """Return the layers that are left on either side, and for each of ours the places of those that it may be."""
        left, free = set(self.sides.left), set(self.sides.free)
        mine = _distinct([block for block in self.ours if block.names - set(self.sides.source_alone) <= left])
        its = _distinct([block for block in self.theirs if block.names - set(self.sides.target_alone) <= free])
        fits = [
            [
                j
                for j, other in enumerate(its)
                if (not by_name or self.sides.same_layer(block[0].layer, other[0].layer)) and self._fit(block, other)
            ]
            for block in mine
        ]
        return mine, its, fits

    def _fit(self, ours: list[Block], theirs: list[Block]) -> bool:
        key = ours[0].names, theirs[0].names
        if key not in self._fits:
            self._fits[key] = ours[0].backwards == theirs[0].backwards and not isinstance(
                self._paired(ours, theirs, ""), str
            )
        return self._fits[key]

    def _leave_open(self, mine: list[list[Block]], its: list[list[Block]], fits: list[list[int]]) -> None:
        """Note as a problem which layers may be which."""
        texts = []
        for block, found in zip(mine, fits, strict=True):
            if found:
                labels = some(its[j][0].label for j in found)
                texts.append(f"the {block[0].kind.name} layer of {block[0].label} may be that of {labels}")
                self.sides.settle(block[0].names, frozenset().union(*(its[j][0].names for j in found)))
        if texts:
            self.sides.problems.append(advice.undecided(texts))

    def _join(self, ours: list[Block], theirs: list[Block], evidence: str) -> None:
        """Match two layers, or note why they do not fit."""
        if ours[0].names <= self.sides.settled or theirs[0].names <= self.sides.settled_targets:
            return
        found = self._paired(ours, theirs, evidence)
        if isinstance(found, str):
            labels = f"{ours[0].label} and {theirs[0].label}"
            self.sides.problems.append(f"the layers of {labels} were matched by {evidence}, but do not fit: {found}")
        else:
            one, other, pairs = found
            self.sides.together += pairs
            self.notes += notes_on(one, other, pairs)
        self.sides.settle(ours[0].names, theirs[0].names)

    def _paired(self, ours: list[Block], theirs: list[Block], evidence: str) -> tuple[Block, Block, list[Pair]] | str:
        """Return two layers and their pairs, or why there are none; of kinds that look alike the one that fits."""
        reasons = []
        for one in ours:
            for other in theirs:
                if one.kind is other.kind:
                    try:
                        return one, other, paired(one, other, self._frame, evidence)
                    except ValueError as error:
                        reasons.append(str(error))
        return reasons[0] if reasons else f"one is {ours[0].kind.name}, the other {theirs[0].kind.name}"

    # The first to the first.

    def by_order(self) -> None:
        """Match the parameters that are left by their order; a layer whose weights go together counts as one."""
        mine: list[str | list[Block]] = _units(self.sides.left, self.ours)
        its: list[str | list[Block]] = _units(self.sides.free, self.theirs)
        one, other = self.sides.conventions
        if one is not None and not any(map(naming.is_name, self.sides.left)):
            mine = self._as_wanted(self.sides.left, its, one)
        elif other is not None and not any(map(naming.is_name, self.sides.free)):
            its = self._as_wanted(self.sides.free, mine, other)
        if len(mine) != len(its):
            self.sides.problems.append(
                f"by order: the state has {len(mine)} parameters and the target {len(its)}: "
                f"{some(map(_label, mine))} and {some(map(_label, its))}"
            )
            self.sides.settle(self.sides.left, self.sides.free)
            return
        for number, (unit, partner) in enumerate(zip(mine, its, strict=True)):
            if isinstance(unit, list) and isinstance(partner, list):
                self._join(unit, partner, ORDER)
                continue
            if isinstance(unit, list) or isinstance(partner, list) or not self.sides.compatible(unit, partner):
                self.sides.problems.append(
                    f"by order: parameter {number} is {_label(unit)!r} here and {_label(partner)!r} in the target, "
                    f"which are different weights of a layer; pass rename={{source name: target name}}"
                )
                self.sides.settle(_names(unit), _names(partner))
                continue
            self.sides.chosen[unit] = partner, ORDER

    def _as_wanted(self, names: list[str], wanted: list[str | list[Block]], framework: str) -> list[str | list[Block]]:
        """Return numbered names of a framework as the other side has them: a layer takes as many as it has weights."""
        found: list[str | list[Block]] = []
        rest = list(names)
        for unit in wanted:
            if isinstance(unit, str):
                found += rest[:1]
                rest = rest[1:]
                continue
            blocks = []
            count = 0
            for block in unit:
                weights = dict(zip(counterparts(block, framework), rest, strict=False))
                count = len(weights)
                blocks.append(Block(block.kind, framework, (), weights, block.backwards))
            if count:
                found.append(blocks)
            rest = rest[count:]
        return [*found, *rest]


def _blocks(shapes: Mapping[str, Shape], alone: Mapping[str, Shape], framework: str) -> list[Block]:
    """Return the layers of one side that have no weight without a partner.

    One of two weights that are added up may be without a partner: it need not be alone for that.
    """
    return [block for block in blocks_of(shapes, framework) if block.names.isdisjoint(set(alone) - block.addends)]


def _distinct(blocks: Sequence[Block]) -> list[list[Block]]:
    """Return the blocks with those of the same parameters together: of several kinds that look alike one will fit."""
    found: dict[frozenset[str], list[Block]] = {}
    for block in blocks:
        found.setdefault(block.names, []).append(block)
    return [*found.values()]


def _units(names: Sequence[str], blocks: Sequence[Block]) -> list[str | list[Block]]:
    """Return parameters in their order; those of one layer that go together are one, where the first of them is."""
    groups = _distinct(blocks)
    found: list[str | list[Block]] = []
    for name in names:
        group = next((group for group in groups if name in group[0].names), None)
        if group is None:
            found.append(name)
        elif group not in found:
            found.append(group)
    return found


def _names(unit: str | list[Block]) -> Iterable[str]:
    return [unit] if isinstance(unit, str) else unit[0].names


def _label(unit: str | list[Block]) -> str:
    return unit if isinstance(unit, str) else unit[0].label
