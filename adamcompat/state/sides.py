"""Keep what is known of both sides while partners are searched, and what has been decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from adamcompat.state import naming
from adamcompat.state.advice import some
from adamcompat.state.pairing import Pair
from adamcompat.state.terms import Shape


class Sides:
    """The parameters of both sides.

    Attributes:
        source, target: shapes by name, in order.
        conventions: of the source and of the target.
        problems: what stands in the way; gathered, and said at the end.
        chosen: partner and evidence of each parameter that has one.
        together: pairs of layers whose weights are matched together.
        settled, settled_targets: names of the source and of the target that are in `together`, or of which a problem
            has been told.
        source_alone, target_alone: what the caller says to have no partner.
    """

    def __init__(
        self, source: Mapping[str, Shape], target: Mapping[str, Shape], conventions: tuple[str | None, str | None]
    ) -> None:
        self.problems: list[str] = []
        self.source = {name: tuple(shape) for name, shape in source.items()}
        self.target = {name: tuple(shape) for name, shape in target.items()}
        self.conventions = conventions
        self.kinds = {name: naming.layers_of(name, conventions[0]) for name in source}
        self.target_kinds = {name: naming.layers_of(name, conventions[1]) for name in target}
        self.parts = {name: naming.split(name) for name in (*source, *target)}
        one, other = naming.numbered(source), naming.numbered(target)
        # Parts of names that mean the same on either side: those that no count of layers can have shifted.
        self.steady = {part for common, parts in one.items() if other.get(common) == parts for part in parts}
        self.chosen: dict[str, tuple[str, str]] = {}
        self.together: list[Pair] = []
        self.settled: set[str] = set()
        self.settled_targets: set[str] = set()
        self.source_alone: dict[str, Shape] = {}
        self.target_alone: dict[str, Shape] = {}

    @property
    def left(self) -> list[str]:
        """Names of the source that are still to be matched."""
        done = {*self.chosen, *self.settled, *self.source_alone}
        return [name for name in self.source if name not in done]

    @property
    def free(self) -> list[str]:
        """Names of the target that are still to be matched."""
        done = {*(target for target, _ in self.chosen.values()), *self.settled_targets, *self.target_alone}
        return [name for name in self.target if name not in done]

    def take(self, pairs: Sequence[tuple[str, str]], evidence: str) -> None:
        """Note pairs that the caller gives."""
        for partner, times in Counter(partner for _, partner in pairs).items():
            if times > 1:
                both = [name for name, other in pairs if other == partner]
                self.problems.append(f"rename: {some(both)} all become {partner!r}")
        self.chosen.update({name: (partner, evidence) for name, partner in pairs})

    def settle(self, names: Iterable[str], targets: Iterable[str]) -> None:
        """Take note of parameters of which nothing is left to be said."""
        self.settled.update(names)
        self.settled_targets.update(targets)
        for alone, settled in ((self.source_alone, self.settled), (self.target_alone, self.settled_targets)):
            for name in settled & alone.keys():
                del alone[name]

    def compatible(self, name: str, partner: str) -> bool:
        """Return whether two names may stand for the same weight."""
        one, other = self.kinds[name], self.target_kinds[partner]
        return not one or not other or bool(one & other)

    def same_layer(self, module: tuple[str, ...], other: tuple[str, ...]) -> bool:
        """Return whether two layers have the same name, as far as both tell it."""
        depth = min(len(module), len(other))
        return bool(depth) and module[-depth:] == other[-depth:] and self.steady.issuperset(module[-depth:])

    def correspond(self, name: str, partner: str) -> bool:
        """Return whether two names stand for the same weight of a layer of the same name."""
        (module, weight), (other_module, other_weight) = self.parts[name], self.parts[partner]
        if not self.same_layer(module, other_module):
            return False
        known = bool(self.kinds[name] & self.target_kinds[partner])
        return known or (weight == other_weight and self.compatible(name, partner))
