"""Search for partners by what the caller says, then by names, then by shapes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from adamcompat.state import advice, naming
from adamcompat.state.advice import ORDER, some
from adamcompat.state.layouts import Layouts
from adamcompat.state.pairing import Layout, Matching, Rename
from adamcompat.state.sides import Sides
from adamcompat.state.terms import Shape
from adamcompat.state.together import Together


class Matcher:
    """Find the partner of each parameter.

    Args:
        source: the shape of each parameter of the state by its name, in order.
        target: the shape of each parameter of the target by its name, in order.
        source_convention: the framework whose layouts the source has; None where that is not known.
        target_convention: the framework whose layouts the target has; None where that is not known.
        layout: the layout that the caller gives, as for `matching.match`.
        alone: names, or patterns of names, of parameters that have no partner.
    """

    def __init__(
        self,
        source: Mapping[str, Shape],
        target: Mapping[str, Shape],
        source_convention: str | None,
        target_convention: str | None,
        layout: Layout | None,
        alone: Sequence[str],
    ) -> None:
        self.sides = Sides(source, target, (source_convention, target_convention))
        self.layouts = Layouts(self.sides, layout)
        self.sides.source_alone, self.sides.target_alone = self._alone(alone)
        self.together = Together(self.sides, self.layouts)

    def run(self, rename: Rename | None) -> Matching:
        """Return the matching.

        Args:
            rename: the names that the caller gives, as for `matching.match`.

        Raises:
            StateError: a parameter has no partner or several, or its layout does not fit or is ambiguous. The text
                lists all problems.
        """
        sides = self.sides
        if rename == ORDER:
            self.together.by_order()
        else:
            self.together.join(self._given(rename))
        self._by_name()
        self._by_shape()
        singles = [self.layouts.pair(name, *found) for name, found in sides.chosen.items()]
        pairs = [pair for pair in singles if pair is not None] + sides.together
        places = {name: place for place, name in enumerate(sides.source)}
        pairs.sort(key=lambda pair: places[pair.source])
        notes = [*self.together.notes, *self.layouts.check_flattened(pairs)]
        if not sides.problems:
            self.layouts.check_used(pairs)
        if sides.problems:
            raise advice.gathered(sides.problems)
        return Matching(
            tuple(pairs), tuple(sides.source_alone.items()), tuple(sides.target_alone.items()), tuple(notes)
        )

    # What the caller says.

    def _alone(self, patterns: Sequence[str]) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Return the names and shapes of the parameters that have no partner by the caller's word, for either side."""
        if (
            isinstance(patterns, str)
            or not isinstance(patterns, Iterable)
            or not all(isinstance(pattern, str) for pattern in patterns)
        ):
            self.sides.problems.append(f"alone must be a list of names of parameters, got {patterns!r}")
            return {}, {}
        sides = [
            {name: shape for name, shape in shapes.items() if any(_is_meant(name, pattern) for pattern in patterns)}
            for shapes in (self.sides.source, self.sides.target)
        ]
        for pattern in patterns:
            if not any(_is_meant(name, pattern) for side in sides for name in side):
                known = f"the state has {some(self.sides.source)}; the target has {some(self.sides.target)}"
                self.sides.problems.append(f"alone: neither side has a parameter {pattern!r}; {known}")
        return sides[0], sides[1]

    def _given(self, rename: Rename | None) -> list[tuple[str, str]]:
        """Return the pairs of names that the caller gives."""
        if rename is None or rename == ORDER:
            return []
        pairs: list[tuple[Any, Any]] = [*rename.items()] if isinstance(rename, Mapping) else self._replaced(rename)
        found: list[tuple[str, str]] = []
        for name, partner in pairs:
            if name not in self.sides.source:
                self.sides.problems.append(
                    f"rename: the state has no parameter {name!r}; it has {some(self.sides.source)}"
                )
            elif not isinstance(partner, str):
                self.sides.problems.append(
                    f"rename: {name!r} becomes {partner!r}, which is no name; if it has no partner, pass "
                    f"alone=[{name!r}]"
                )
            elif partner not in self.sides.target:
                known = some(self.sides.target)
                self.sides.problems.append(
                    f"rename: {name!r} becomes {partner!r}, which the target does not have; it has {known}"
                )
            elif name in self.sides.source_alone or partner in self.sides.target_alone:
                self.sides.problems.append(
                    f"rename: {name!r} becomes {partner!r}, but alone says that one has no partner"
                )
            else:
                found.append((name, partner))
        return found

    def _replaced(self, rename: object) -> list[tuple[str, str]]:
        rules = [rename] if _is_rule(rename) else rename
        if not isinstance(rules, Sequence) or isinstance(rules, str) or not all(map(_is_rule, rules)):
            self.sides.problems.append(
                f"rename must be a dictionary, (pattern, replacement), a list of such pairs, or {ORDER!r}; "
                f"got {rename!r}"
            )
            return []
        pairs = []
        for name in self.sides.source:
            new, hits = name, 0
            for pattern, replacement in rules:
                try:
                    new, times = re.subn(pattern, replacement, new)
                except (re.error, IndexError) as error:
                    self.sides.problems.append(f"rename: {pattern!r} to {replacement!r}: {error}")
                    return []
                hits += times
            if hits:
                pairs.append((name, new))
        if not pairs:
            self.sides.problems.append(
                f"rename: no pattern occurs in any name; the state has {some(self.sides.source)}"
            )
        return pairs

    # What names say.

    def _by_name(self) -> None:
        free = set(self.sides.free)
        for name in self.sides.left:
            module, weight = self.sides.parts[name]
            if name in free and naming.is_name(name) and self.sides.steady.issuperset(module or (weight,)):
                self.sides.chosen[name] = name, "name"
        left, rest = self.sides.left, self.sides.free
        partners = {name: [partner for partner in rest if self.sides.correspond(name, partner)] for name in left}
        times = Counter(partner for found in partners.values() for partner in found)
        for name, found in partners.items():
            if len(found) == 1 and times[found[0]] == 1:
                self.sides.chosen[name] = found[0], "name"

    # What shapes say.

    def _by_shape(self) -> None:
        """Choose partners that can be chosen in one way only, until nothing is left.

        Where there is exactly one way to pair all parameters, some parameter always has exactly one candidate.
        """
        by_size: dict[int, list[str]] = {}
        for partner in self.sides.free:
            by_size.setdefault(math.prod(self.sides.target[partner]), []).append(partner)
        fits = {
            name: [
                partner
                for partner in by_size.get(math.prod(self.sides.source[name]), ())
                if self.sides.compatible(name, partner) and self.layouts.options(name, partner)
            ]
            for name in self.sides.left
        }
        while self.sides.left:
            free, layers = set(self.sides.free), self._layers()

            def may_be(name: str, partner: str) -> bool:
                one, other = self.sides.parts[name][0], self.sides.parts[partner][0]
                return partner in free and layers.get(one, other) == other  # noqa: B023

            candidates = {
                name: [partner for partner in fits[name] if may_be(name, partner)] for name in self.sides.left
            }
            times = Counter(partner for found in candidates.values() for partner in found)
            sure = [
                (name, partner)
                for name, found in candidates.items()
                for partner in found
                if len(found) == 1 or times[partner] == 1
            ]
            if not sure:
                self._stuck(candidates)
                return
            for name, partner in sure:
                if name not in self.sides.chosen and partner in free:
                    self.sides.chosen[name] = partner, "shape"
                    free.remove(partner)
        if self.sides.free:
            self.sides.problems.append(
                advice.without_partner({}, {name: self.sides.target[name] for name in self.sides.free})
            )

    def _layers(self) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Return the layers that are known to be partners: one of their weights is, and they have as many weights."""
        sizes = Counter(self.sides.parts[name][0] for name in self.sides.source)
        target_sizes = Counter(self.sides.parts[name][0] for name in self.sides.target)
        pairs = (
            (self.sides.parts[name][0], self.sides.parts[partner][0])
            for name, (partner, _) in self.sides.chosen.items()
        )
        return {one: other for one, other in pairs if sizes[one] == target_sizes[other]}

    def _stuck(self, candidates: Mapping[str, Sequence[str]]) -> None:
        wanted = {partner for found in candidates.values() for partner in found}
        alone = {name: self.sides.source[name] for name, found in candidates.items() if not found}
        lonely = {name: self.sides.target[name] for name in self.sides.free if name not in wanted}
        if alone or lonely:
            self.sides.problems.append(advice.without_partner(alone, lonely))
        shown = {partner: f"{partner} {shape}" for partner, shape in self.sides.target.items()}
        texts = [
            f"{name} {self.sides.source[name]} may be {some(shown[partner] for partner in found)}"
            for name, found in candidates.items()
            if found
        ]
        if texts:
            self.sides.problems.append(advice.undecided(texts))


def _is_meant(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _is_rule(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)
